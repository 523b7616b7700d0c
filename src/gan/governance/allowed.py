"""Whether something may be passed on: the terms of the data, and what the search for copies found."""

from collections.abc import Mapping, Sequence
from typing import Any

from gan.errors import GanError
from gan.families.registry import families
from gan.sampling.snapshot import Snapshot
from gan.terms import ACTS, ASK, NO, Terms

MOST_COPIES = 0.02  # upper bound of the share of copies, above which there is a warning
WAYS = {"share_weights": "leave them out with --no-weights", "share_synthetic": "leave them out with --n 0"}


def acts_of(snapshot: Snapshot, *, weights: bool, images: bool) -> list[str]:
    """The acts that an export of ``snapshot`` needs, of `gan.terms.ACTS`; one that shows patients passes on real images
    as well. `GanError` for the family that copies them."""
    if families()[snapshot.family].model.copies:
        raise GanError(f"the family {snapshot.family} gives real images back, which are not exported")
    acts = ["share_weights"] * weights + ["share_synthetic"] * images
    return acts + ["share_images"] * (snapshot.shows_patients and not snapshot.task)


def allowed(terms: Terms, acts: Sequence[str]) -> list[str]:
    """Warnings of acts that have to be asked for; `GanError` if one is not allowed, or nothing is declared."""
    if not terms.declared:
        names = f" of {', '.join(terms.undeclared)}" if terms.undeclared else ""
        raise GanError(
            f"the terms of the data{names} are not declared: set `terms` in its row of the config and run snakemake all"
        )
    for act in acts:
        if terms.allows(act) == NO:
            way = WAYS.get(act, "such a row shows patients")
            raise GanError(f"the terms of the data ({terms.line()}) do not allow to pass on {ACTS[act]}; {way}")
    asked = [ACTS[act] for act in acts if terms.allows(act) == ASK]
    return [f"ask those who gave the data before you pass on {' or '.join(asked)}"] if asked else []


def copied(copies: Mapping[str, Any]) -> list[str]:
    """Warnings of ``copies.json``; of a cell without it that nobody has looked."""
    if "copies" not in copies:
        reason = f": {copies['left_out']}" if "left_out" in copies else ""
        return [f"copies of patients were not searched for{reason}"]
    high = copies["high"]
    if high is None or high > MOST_COPIES:
        most = "unknown" if high is None else f"{100 * high:.2g} %"
        share = f"{100 * copies['copies']:.2g} %"
        return [f"copies of patients: {share} of the images, upper bound {most}, above {MOST_COPIES:.0%}"]
    return []
