"""Convolutions of volumes in bfloat16, which some releases of cuDNN compute wrong (9.8 to 9.10), against float64."""

from collections.abc import Iterator

import torch

from gan.check.kernels import LAYOUTS, OF_DERIVATIVES, TOLERANCE, Case, draw, errors
from gan.check.rows import Row
from gan.ops.convolution import convolve

SHAPES = ((2, 16, 8, 8, 8), (1, 32, 5, 8, 12), (2, 3, 7, 6, 5))  # few channels and odd sizes too
FORMATS = {"contiguous": "conv3d", "channels_last": "conv3d channels_last_3d"}


def compare(device: torch.device) -> Iterator[Row]:
    """Two rows for each memory format: of all values, of all derivatives."""
    dtype = torch.bfloat16
    for layout, subject in FORMATS.items():
        torch.manual_seed(0)
        found = []
        for shape in SHAPES:
            for stride, padding in ((1, 1), (2, 1)):
                weight = draw(8, shape[1], 3, 3, 3, dtype=dtype, device=device) / shape[1] ** 0.5
                inputs = [LAYOUTS[layout](part) for part in (draw(*shape, dtype=dtype, device=device), weight)]
                found.append(errors(_case(stride, padding, inputs)))
        yield Row(subject, "values", "bfloat16", max(each[0] for each in found), TOLERANCE[dtype])
        worst = max(max(each[1:]) for each in found)
        yield Row(subject, "derivatives", "bfloat16", worst, OF_DERIVATIVES * TOLERANCE[dtype])


def _case(stride: int, padding: int, inputs: list[torch.Tensor]) -> Case:
    def op(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return convolve(x, weight, stride=stride, padding=padding)

    return Case(op, op, inputs)
