"""The report of a configured data set as text, and its table of subjects."""

from collections import Counter

import pandas as pd

from gan.cells import SPLITS, counted
from gan.config.datasets import sides
from gan.inspect.dataset import Report
from gan.inspect.show_folder import grids, intensities, warnings_of
from gan.inspect.text import count, headed, joined, span, table
from gan.inspect.width import sentences

MOST = 30  # subjects listed one by one


def render(report: Report) -> str:
    """What the data set holds, the slices of each subject, and what the splits will be."""
    row, subjects = report.row, by_subject(report)
    lines = [
        f"data set {report.name}: {count(len(report.splits), 'subject')}, contrasts {', '.join(row['contrasts'])}"
        + (f", mask {row['mask']}" if row["mask"] else ""),
        f"from {report.origin}" + ("" if report.whole else f", {len(subjects)} of the subjects were read"),
        _cut(report),
    ]
    if report.look:
        lines += headed("contrasts", grids(report.look.seen, row["contrasts"] + [row["mask"]] * bool(row["mask"])))
        lines += headed("intensities", intensities(report.look.seen, row["contrasts"]))
    lines += [] if row["volumes"] else headed(f"{counted(row)} of each subject", _subjects(subjects))
    lines += headed("not kept", _reasons(report))
    lines += headed("splits", _splits(report, subjects))
    lines += headed("look at", _warnings(report, subjects))
    lines += headed("95 % intervals to expect (docs/data.md: how this is estimated)", _widths(report, subjects))
    return "\n".join(lines)


def _cut(report: Report) -> str:
    """What an image of the store is."""
    row, size = report.row, " x ".join(map(str, sides(report.row)))
    if spec := row["volumes"]:
        meta = report.store.meta if report.store else report.look.ledger.meta() if report.look else {}
        spacing = " x ".join(f"{mm:.4g}" for mm in meta["spacing"])
        return (
            f"whole volumes of {size} voxels of {spacing} mm, box about the {spec['centre']}, intensity map "
            f"{row['intensity']['map']}"
        )
    spec = row["slices"]
    cut = "pictures" if row["layout"] == "images" else f"{spec['axis']} slices"
    return (
        f"{cut} of {size} pixels, intensity map {row['intensity']['map']}; one is kept when more than "
        f"{spec['fraction']:g} of its pixels are above {spec['threshold']:g} of 255"
    )


def by_subject(report: Report) -> pd.DataFrame:
    """A row per subject: split, label, candidates, kept, largest fraction, why the others are not kept."""
    groups = report.index.groupby("subject", sort=True)
    of = pd.DataFrame({"split": groups["split"].first(), "candidates": groups.size(), "kept": groups["kept"].sum()})
    of["largest_fraction"] = groups["fraction"].max()
    left = report.index[~report.index["kept"].astype(bool)]
    reasons = {subject: Counter(rows["reason"]) for subject, rows in left.groupby("subject")}
    of["not_kept"] = ["; ".join(f"{n} {why}" for why, n in reasons.get(name, Counter()).items()) for name in of.index]
    return of.reset_index()


def _subjects(subjects: pd.DataFrame) -> list[str]:
    """Those with the fewest slices one by one, the others together."""
    order = subjects.sort_values(["kept", "subject"]).head(MOST)
    rows = [
        [of.subject, of.split, of.kept, of.candidates, of.not_kept]  # type: ignore[attr-defined]
        for of in order.itertuples()
    ]
    lines = table(["subject", "split", "kept", "of", "not kept, and why"], rows)
    rest = subjects.drop(order.index)
    if len(rest):
        lines.append(f"and {len(rest)} more, which keep {span(rest['kept'].tolist())} each (subjects.csv has all)")
    return lines


def _reasons(report: Report) -> list[str]:
    index, images = report.index, counted(report.row)
    left = index.loc[~index["kept"].astype(bool), "reason"]
    if left.empty:
        return []
    kinds = Counter("copy of another picture" if why.startswith("copy of") else why for why in left)
    return [f"{number} of {len(index)} {images}: {why}" for why, number in kinds.most_common()]


def _splits(report: Report, subjects: pd.DataFrame) -> list[str]:
    """Subjects, and kept slices of those that were read, of each split, by class where there are classes."""
    of_split = Counter(report.splits.values())
    kept = report.index[report.index["kept"].astype(bool)]
    rows = []
    for split in SPLITS:
        if not of_split[split]:
            continue
        mine = kept[kept["split"] == split]
        with_slices = len(set(mine["subject"]))
        classes = Counter(mine["label"])
        text = ", ".join(f"{name} {number}" for name, number in sorted(classes.items()) if name)
        rows.append([split, of_split[split], with_slices if report.whole else "", len(mine), text])
    images = counted(report.row)
    read = images if report.whole else f"{images} of those read"
    return table(["split", "subjects", f"with {images}", read, f"{images} of each class"], rows)


def _warnings(report: Report, subjects: pd.DataFrame) -> list[str]:
    lines = [f"refused: {reason}" for reason in report.refused[:5]]
    if len(report.refused) > 5:
        lines.append(f"and {len(report.refused) - 5} more reasons")
    if empty := subjects.loc[subjects["kept"] == 0, "subject"].tolist():
        largest = subjects.loc[subjects["kept"] == 0, "largest_fraction"].max()
        lines.append(
            f"{count(len(empty), 'subject keeps', 'subjects keep')} no slice ({joined(empty)}), the largest fraction "
            f"is {largest:.3f}; lower slices.fraction or slices.threshold to keep them"
        )
    if report.look and (lost := report.look.ledger.lost()):
        lines.append(f"{count(len(lost), 'subject loses', 'subjects lose')} labels of the mask: {joined(lost)}")
    if report.look:
        lines += warnings_of(report.look.seen, report.row)
    return lines


def _widths(report: Report, subjects: pd.DataFrame) -> list[str]:
    """Whether scores are possible, and how wide their intervals will be."""
    if report.too_few:
        return [f"no scores: {report.too_few}"]
    parts = report.row["split"]
    if not (parts["val"] and parts["test"]):
        return ["no scores: split.val or split.test is 0"]
    test = subjects[subjects["split"] == "test"]
    number = sum(kept > 0 for kept in test["kept"]) if report.whole else Counter(report.splits.values())["test"]
    return [f"{count(number, 'subject')} in the test split:", *sentences(number)]
