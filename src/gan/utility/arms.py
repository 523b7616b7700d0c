"""The arms of a comparison: which images a network is trained on, and nothing else, differs between them."""

from collections.abc import Sequence

from gan.errors import GanError
from gan.utility.images import Labelled, Real, as_generated, scramble
from gan.utility.options import ARMS, REAL


def sources(
    arm: str,
    train: Real,
    seed: int,
    *,
    held: Real | None = None,
    made: Labelled | None = None,
    largest: int = 0,
    by_image: bool = False,
) -> Sequence[tuple[Labelled, float]]:
    """The images of ``arm`` and their share of each batch; those that are not real come last.

    train, held: the training and the validation patients; made: generated images; largest: label of the masks;
    by_image: whether each image of a patient has a class of its own.
    """
    if arm == REAL:
        return [(train.images, 1.0)]
    share = ARMS[arm].share
    if arm == "oracle":
        made = as_generated(train.images, largest, seed)
    elif arm == "scrambled":
        made = scramble(train, seed, by_image)
    elif arm == "held":
        made = held.images if held else None
    if made is None or not len(made):
        raise GanError(f"utility.arms: {arm} has no images; leave it out")
    return [(train.images, 1 - share), (made, share)]
