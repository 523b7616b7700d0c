"""Size and form of a region."""

import numpy as np
from numpy.typing import NDArray

from gan.metrics.radiomics.sums import divided


def of_shape(regions: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Of regions [n, H, W], [n] each: area, in % of the image, and elongation, minor over major axis (1 is round).

    Axes are those of an ellipse with the region's second moments, each pixel a square. 0 for an empty region.
    """
    height, width = regions.shape[1:]
    rows, columns = regions.sum(2, dtype=np.float64), regions.sum(1, dtype=np.float64)
    pixels, y, x = rows.sum(1), np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64)
    middle_y, middle_x = divided(rows @ y, pixels), divided(columns @ x, pixels)
    own = 1 / 12  # variance of a square of side 1
    yy = divided(rows @ y**2, pixels) - middle_y**2 + own
    xx = divided(columns @ x**2, pixels) - middle_x**2 + own
    xy = divided(((regions @ x) * y).sum(1), pixels) - middle_y * middle_x
    middle, half = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    elongation = np.sqrt(((middle - half) / (middle + half)).clip(0))
    return {"area": 100 * pixels / (height * width), "elongation": elongation * (pixels > 0)}
