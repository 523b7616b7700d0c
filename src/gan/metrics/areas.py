"""How much of an image each label of its mask covers."""

import numpy as np
from numpy.typing import NDArray


def label_areas(masks: NDArray[np.integer], largest: int) -> NDArray[np.float64]:
    """Areas [n, largest] of the labels 1 to ``largest`` of label images [n, H, W] or volumes, in % of each."""
    axes = tuple(range(1, masks.ndim))
    areas = [(masks == label).mean(axes) * 100 for label in range(1, largest + 1)]
    return np.stack(areas, 1) if areas else np.empty((len(masks), 0))
