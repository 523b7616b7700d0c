"""The outcome of every candidate slice: the index of a store, its splits, the summary per subject."""

from typing import Any

import numpy as np
import pandas as pd

from gan.data import notices, splits
from gan.data.cut.common import Encoded, Item
from gan.data.cut.whole import offset
from gan.data.found import channels, has, leaves
from gan.errors import GanError

EQUAL = 0.01  # relative: voxel sizes of whole volumes
NAMED = 20  # subjects without a slice in one line of the log; subjects.csv has all


class Ledger:
    """Collects the outcome of every candidate slice, in the order of the store."""

    def __init__(self, row: dict[str, Any]):
        self.row = row
        self.pictures = row["layout"] == "images"
        self.whole = bool(row.get("volumes"))
        self.shown: list[tuple[Item, Encoded]] = []
        self._columns: list[dict[str, np.ndarray]] = []
        self._items: list[tuple[Item, Encoded]] = []
        self._digests: list[bytes] = []
        self._seen: dict[bytes, tuple[Item, int]] = {}
        self._leaks: list[str] = []

    def add(self, item: Item, result: Encoded) -> np.ndarray:
        """Record ``result``; returns which of its images are to be stored, bool [K]."""
        kept = result.kept.copy()
        reasons = np.full(len(kept), "", dtype=object)
        if not self.whole:
            reasons[~kept] = f"fraction <= {self.row['slices']['fraction']:g}"
        store = np.ones(len(result.images), dtype=bool)
        if self.pictures:
            for place, (candidate, digest) in enumerate(zip(np.flatnonzero(kept), result.digests, strict=True)):
                other = self._copy_of(item, int(result.slices[candidate]), digest)
                if other:
                    store[place], kept[candidate], reasons[candidate] = False, False, f"copy of {other}"
        self._digests += [digest for digest, stored in zip(result.digests, store, strict=True) if stored]
        columns = {"slice": result.slices, "position": result.positions, "fraction": result.fractions}
        if leaves(self.row):
            there = zip(channels(self.row), item.files, strict=True)
            columns |= {has(name): np.full(len(kept), path is not None) for name, path in there}
        self._columns.append({**columns, "kept": kept, "reason": reasons, "label": result.labels})
        # Without the images, which would fill the memory.
        self._items.append((item, result._replace(images=result.images[:0].copy(), kept=kept, tiles={})))
        if result.tiles:
            self.shown.append((item, result._replace(images=result.images[:0].copy(), kept=kept)))
        return store

    def _copy_of(self, item: Item, number: int, digest: bytes) -> str:
        """The earlier picture with the same pixels, or empty; in another split or class it is a leak."""
        other, earlier = self._seen.setdefault(digest, (item, number))
        if (other, earlier) == (item, number):
            return ""
        if other.split != item.split or other.label != item.label:
            self._leaks.append(f"{item.files[0]}: the same image as {other.files[0]}, in another split or class")
        return f"{other.subject} slice {earlier}"

    def table(self) -> pd.DataFrame:
        """All candidates without split and row, unchecked."""
        counts = [len(columns["slice"]) for columns in self._columns]
        index = pd.DataFrame(
            {
                "subject": np.repeat([item.subject for item, _ in self._items], counts),
                **{name: np.concatenate([of[name] for of in self._columns]) for name in self._columns[0]},
            }
        )
        scans = [item.scan for item, _ in self._items]
        if any(scans):
            index.insert(1, "scan", np.repeat(scans, counts))
        return index

    def index(self) -> pd.DataFrame:
        """The index of the store, checked."""
        if self._leaks:
            raise GanError(f"{notices.first(self._leaks)}; remove one of each pair")
        index = self.table()
        if not any(index["kept"]):
            spec = self.row["slices"]
            filter_ = f"fraction {spec['fraction']:g} above threshold {spec['threshold']:g}"
            raise GanError(
                f"no slice passes the filter ({filter_}); the largest fraction is {index['fraction'].max():.4f}: "
                "lower slices.fraction or slices.threshold, or change intensity"
            )
        self._check_voxels()
        assigned = self._splits()
        index["split"] = [assigned[subject] for subject in index["subject"].tolist()]
        index["row"] = np.where(index["kept"], index["kept"].cumsum() - 1, -1)
        splits.check(index)
        splits.check_copies(index, dict(enumerate(self._digests)), self.whole)
        return index

    def _check_voxels(self) -> None:
        """`GanError` if stored voxels differ in size: of whole volumes that are not resampled."""
        if not self.whole:
            return
        (first, usual), *others = [(item, result.frame.spacing) for item, result in self._items]
        for item, spacing in others:
            if not np.allclose(spacing, usual, rtol=EQUAL):
                mine, its = (" x ".join(f"{mm:.4g}" for mm in of) for of in (spacing, usual))
                raise GanError(
                    f"subject {item.subject}: voxels of {mine} mm, of {first.subject} {its} mm; volumes.fit pad keeps "
                    "them as they are, so all need one size: set it to resize, with a spacing"
                )

    def _subject_labels(self) -> dict[str, str]:
        """Labels of subjects only: the splits must not depend on the filter, as the labels of slices do."""
        found: dict[str, set[str]] = {}
        for item, _ in self._items:
            found.setdefault(item.subject, set()).add(item.label)
        return {subject: "|".join(sorted(names)) for subject, names in found.items()}

    def _splits(self) -> dict[str, str]:
        brought: dict[str, str] = {}
        for item, _ in self._items:
            if brought.setdefault(item.subject, item.split) != item.split:
                both = f"{brought[item.subject]} and {item.split}"
                raise GanError(f"subject {item.subject}: in {both}; a subject belongs to one split, move its files")
        fixed = {subject: split for subject, split in brought.items() if split in ("val", "test")}
        return splits.assign(self._strata(), self.row["split"], fixed)

    def _strata(self) -> dict[str, str]:
        """What the splits share out evenly: labels of subjects, and what each one lacks."""
        strata = self._subject_labels()
        if leaves(self.row):
            for item, _ in self._items:
                strata[item.subject] += "|" + "".join("01"[path is not None] for path in item.files)
        return strata

    def subjects(self, index: pd.DataFrame) -> pd.DataFrame:
        """A summary per subject; for volumes with the limits of the intensity map in the scanner's units.

        Where a subject keeps no slice it has the column ``largest_fraction``, where subjects have several scans
        ``scans`` (shape, spacing and limits are those of the first), where contrasts may be missing the kept slices
        that have each (``has_t1``), where something is noted ``notes``.
        """
        groups = index.groupby("subject", sort=True)
        table = pd.DataFrame(
            {
                "label": pd.Series(self._subject_labels()).rename_axis("subject"),
                "split": groups["split"].first(),
                "candidates": groups.size(),
                "kept": groups["kept"].sum(),
                "mean_fraction": groups["fraction"].mean(),
            }
        )
        for name in [has(contrast) for contrast in channels(self.row) if leaves(self.row)]:
            table[name] = (index[name] & index["kept"]).groupby(index["subject"]).sum()
        if set(index["subject"]) - set(index.loc[index["kept"], "subject"]):
            table["largest_fraction"] = groups["fraction"].max()
        table = table.reset_index()
        if self.pictures:
            return table
        details = pd.DataFrame([self._details(*pair) for pair in self._items]).drop_duplicates("subject")
        if "scan" in index:
            scans = index.drop_duplicates(["subject", "scan"])["subject"].tolist()
            table["scans"] = [scans.count(subject) for subject in table["subject"]]
        if any((notes := self._notes()).values()):
            details["notes"] = [notes[subject] for subject in details["subject"]]
        return table.merge(details, on="subject")

    def _notes(self) -> dict[str, str]:
        """The notes of each subject's scans."""
        notes: dict[str, list[str]] = {}
        for item, result in self._items:
            said = filter(None, (item.notes, result.notes))
            notes.setdefault(item.subject, []).extend(f"{item.scan} {note}".strip() for note in said)
        return {subject: "; ".join(said) for subject, said in notes.items()}

    def warn(self) -> None:
        """One line of the log each: subjects without a kept slice, values that the intensity map makes black, labels
        that whole volumes have lost."""
        if gone := self.lost():
            notices.warn(
                f"{len(gone)} of {len(self._items)} subjects lose labels of the mask, which are smaller than a stored "
                f"voxel or outside of the box: {notices.some(gone, NAMED)}; smaller voxels keep them"
            )
        largest: dict[str, float] = {}
        kept: set[str] = set()
        for (item, _), columns in zip(self._items, self._columns, strict=True):
            largest[item.subject] = max(largest.get(item.subject, 0.0), float(columns["fraction"].max()))
            kept |= {item.subject} if columns["kept"].any() else set()
        if empty := [f"{subject} ({largest[subject]:.3f})" for subject in sorted(largest) if subject not in kept]:
            notices.warn(
                f"{len(empty)} of {len(largest)} subjects keep no slice, none has a fraction above "
                f"{self.row['slices']['fraction']:g}; the largest fraction of each: {notices.some(empty, NAMED)}; "
                "lower slices.fraction or slices.threshold to keep them"
            )
        negative = [
            f"{' '.join(filter(None, (item.subject, item.scan)))}: {result.notes}"
            for item, result in self._items
            if result.notes
        ]
        if negative:
            notices.warn(
                f"{len(negative)} of {len(largest)} subjects have values below 0, which intensity.map percentile makes "
                f"black ({notices.some(negative, 3)}); set intensity.map to minmax, or to window with low below 0"
            )

    def lost(self) -> list[str]:
        """The subjects whose whole volumes lose labels of the mask, with these labels."""
        lost = [(item, ", ".join(map(str, result.lost))) for item, result in self._items if result.lost]
        return [f"{item.subject} ({labels})" for item, labels in lost]

    def _details(self, item: Item, result: Encoded) -> dict[str, Any]:
        kind = ("volume_shape", "voxel_spacing") if self.whole else ("slice_shape", "pixel_spacing")
        shape = result.shape[::-1] if self.whole else result.shape[1:]  # x, y, z as in volumes.csv
        spacing = "x".join(f"{mm:.6g}" for mm in result.frame.spacing)
        details: dict[str, Any] = {"subject": item.subject, kind[0]: "x".join(map(str, shape)), kind[1]: spacing}
        if self.whole:
            details |= dict(zip(("offset_x", "offset_y", "offset_z"), offset(result.frame), strict=True))
            details["share_cut"] = result.cut
            details |= {"labels_lost": " ".join(map(str, result.lost))} if result.lost else {}
        for contrast, ends in zip(self.row["contrasts"], result.limits, strict=True):
            if ends is not None:
                details |= {f"low_{contrast}": ends[0], f"high_{contrast}": ends[1]}
        for contrast, (degrees, mm, correlation) in item.moved.items():
            details |= {f"degrees_{contrast}": degrees, f"mm_{contrast}": mm, f"correlation_{contrast}": correlation}
        return details

    def meta(self) -> dict[str, Any]:
        """Facts of the data for ``store.json``: class names; mm of a stored pixel, the median over subjects."""
        labels = sorted({name for _, result in self._items for name in result.labels} - {""})
        spacing = np.median([result.frame.spacing for _, result in self._items], axis=0)
        return {"labels": labels, "spacing": None if self.pictures else [round(float(mm), 6) for mm in spacing]}
