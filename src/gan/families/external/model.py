"""Images of another program, packed so that they are drawn and scored like samples of a generator."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan.errors import GanError
from gan.families.contract import Dataset, Given, Images, ImageShape, Made
from gan.families.external.options import ExternalOptions
from gan.families.external.reading import read_images
from gan.nn.album import Album


class External(Made):
    """A folder of images as a row of the table."""

    request = Images

    @staticmethod
    def build_kept(options: ExternalOptions, shape: ImageShape) -> Album:
        return Album(shape.channels, shape.size)

    @staticmethod
    def make(options: ExternalOptions, dataset: Dataset, given: Given) -> nn.Module:
        """See `Made.make`. `GanError` for a file that does not fit the data set."""
        if given.folder is None:
            raise GanError("option path is empty; name the folder of the images")
        classes = list(dataset.meta["labels"]) if options.conditional else []
        images, places = read_images(given.folder, dataset.meta, dataset.shape, _window(options), classes)
        album = External.build_kept(options, dataset.shape)
        album.fill(torch.from_numpy(images), torch.from_numpy(np.asarray(places, dtype=np.int64)))
        return album

    @staticmethod
    def draw(kept: nn.Module, request: Any) -> Tensor:
        return kept(request.indices)


def _window(options: ExternalOptions) -> tuple[float, float] | None:
    return None if options.low is None or options.high is None else (options.low, options.high)
