"""Can a variant be trusted? What its scores, the search for copied patients and its training say, in words.

A warning is said next to the variant's name wherever it could be taken for the best: a generator that copies its
patients, makes few different images, or is far from real may still have the lowest score of all.
"""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from gan.cells import WHOLE, CellFiles, stats
from gan.metrics.facts import PAIRED, fact, title
from gan.report.table import leading_contrast, number

FAR = 3.0  # times the upper end of the floor's interval: farther from real than that is far
ALIKE = 0.05  # by which the lower end of MS-SSIM's interval exceeds that of real patients
FEW = 0.5  # of the effective number of different images that as many real ones have
COPIED = 0.01  # of the generated images are copies at least
FOUND = 0.8  # of the planted copies of a kind are found by a search that does not miss this kind
PROBLEMS = {
    "collapse": "generated images became alike",
    "recall_lost": "recall was lost",
    "codes_collapsed": "the codes of the quantizer collapsed",
    "discriminator_saturated": "the discriminator saturated",
    "ada_runaway": "the augmentation ran away",
    "critic_drift": "the critic drifted",
    "critic_steep": "the critic became steep",
}


@dataclass
class Trust:
    """warnings: what must be said next to the name, as in ``copies patients``; sentences: what is known."""

    warnings: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


def of_variants(
    table: pd.DataFrame, cells: Sequence[CellFiles], leads: Mapping[str, str | None]
) -> dict[tuple[str, str], Trust]:
    """`Trust` by data set and variant; table: `gan.report.table.comparison` of the ``cells``; leads: the metric that
    leads each data set."""
    found = {}
    done = table[table.status == "finished"]
    for dataset, variant in done[["dataset", "variant"]].drop_duplicates().itertuples(index=False):
        rows = done[(done.dataset == dataset) & (done.variant == variant)]
        mine = [cell for cell in cells if (cell.dataset, cell.variant) == (dataset, variant)]
        found[dataset, variant] = _trust(rows, mine, leads.get(dataset))
    return found


def _trust(rows: pd.DataFrame, cells: Sequence[CellFiles], lead: str | None) -> Trust:
    trust = Trust()
    for warning, sentence in (*_distance(rows, lead), *_copies(cells), *_diversity(rows), *_training(cells)):
        trust.warnings += [warning] if warning and warning not in trust.warnings else []
        trust.sentences.append(sentence)
    return trust


Finding = tuple[str | None, str]  # warning and sentence


def _distance(rows: pd.DataFrame, lead: str | None) -> Iterator[Finding]:
    """How far from real by the leading metric."""
    own = rows[(rows.metric == lead) & (rows.contrast == leading_contrast(rows[rows.metric == lead].contrast))]
    if own.empty or pd.isna(own.floor.iloc[0]):
        return
    row, name = own.iloc[0], title(str(lead))
    known = fact(str(lead))
    if known and known.name in PAIRED:
        if row.above_floor == 0:  # the table itself
            return
        if (row.above_floor >= 0) == (known.better < 0):
            yield (
                "is no better than a table of grey levels",
                f"{name} is not better than that of a table of grey levels.",
            )
        else:
            yield None, f"{name} is better than that of a table of grey levels ({number(row.floor)})."
        return
    patients = f"{row.n_floor_subjects} unseen patients"
    if not pd.isna(row.above_floor_low) and row.above_floor_low <= 0:
        yield None, f"By {name} the images cannot be told from those of {patients}."
        return
    limit = row.floor if pd.isna(row.floor_high) else row.floor_high
    if limit <= 0:
        return
    times = f"{number(row.value / limit, 2)} times as far from real as {patients} may be"
    yield ("is far from real" if row.value > FAR * limit else None), f"By {name} the images are {times}."


def _copies(cells: Sequence[CellFiles]) -> Iterator[Finding]:
    """What the search for copied patients found; of several seeds the worst."""
    searches = [found for cell in cells if (found := cell.object("copies.json"))]
    if not searches:
        return
    if reasons := [found["left_out"] for found in searches if "left_out" in found]:
        yield None, f"Copies were not looked for: {reasons[0]}."
        return
    worst = max(searches, key=lambda found: found["copies"])
    share, low, high = (worst[key] for key in ("copies", "low", "high"))
    span = "" if low is None else f" (95 % interval {_percent(low)} to {_percent(high)})"
    # Where real images of other patients are accused as well, as many generated ones prove nothing.
    control, control_low, _ = worst["control"]["either"]
    loose = control_low is not None and control_low > worst["alpha"]
    sure = (share if low is None else low) - (control if loose else 0)
    if sure >= COPIED:
        near = f", nearest to {worst['patients_near']} of {worst['patients']} training patients"
        yield "copies patients", f"{_percent(share)} of the images{span} are copies of training patients{near}."
    elif sure > 0:
        yield "may copy patients", f"Some images may be copies of training patients: {_percent(share)}{span}."
    else:
        most = "" if high is None else f": at most {_percent(high)} of {worst['n_fake']} images"
        yield None, f"No copies of training patients were found{most}."
    if loose:
        yield None, f"The search is loose here: it would accuse {_percent(control)} of real images of other patients."
    missed = [name for name, power in worst["power"]["either"].items() if power < FOUND]
    yield (
        None,
        f"Copies of these kinds may be missed: {', '.join(missed)}."
        if missed
        else "Planted copies of all kinds were found.",
    )


def _diversity(rows: pd.DataFrame) -> Iterator[Finding]:
    """Whether the images differ as real ones do."""
    whole = rows[rows.contrast == WHOLE]
    alike = whole[(whole.metric == "ms_ssim") & (whole.above_floor_low > ALIKE)]
    vendi = whole[whole.metric.astype(str).str.startswith("vendi_")]
    few = vendi[vendi.value < FEW * vendi.floor]
    reasons = []
    if len(alike):
        row = alike.iloc[0]
        reasons.append(f"two of them have an MS-SSIM of {number(row.value)}, two patients {number(row.floor)}")
    if len(few):
        row = few.iloc[0]
        reasons.append(f"as varied as {number(row.value)} different images, real ones as {number(row.floor)}")
    if reasons:
        yield "makes few different images", f"The images are too alike: {'; '.join(reasons)}."
    elif len(vendi) or (whole.metric == "ms_ssim").any():
        yield None, "The images are not more alike than those of real patients."


def _training(cells: Sequence[CellFiles]) -> Iterator[Finding]:
    """What training warned of."""
    events = {row["event"] for cell in cells for row in stats(cell.folder / "stats.jsonl") if row.get("event")}
    if seen := [words for event, words in PROBLEMS.items() if event in events]:
        yield None, f"Training warned: {', '.join(seen)}."


def _percent(share: float) -> str:
    value = 100 * share
    return "0 %" if value == 0 else f"{np.format_float_positional(value, 2, fractional=False, trim='-')} %"
