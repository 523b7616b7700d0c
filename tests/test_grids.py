"""Grids: what stands where, and that the eye sees labels as labels."""

import numpy as np
import pytest
from PIL import Image

from gan import grids, scales
from gan.grids import COLOURS, GAP, GAP_GREY


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def test_single_channels_stand_side_by_side_and_the_rest_is_black():
    images = noise(5, 1, 4, 6)
    picture = grids.tile(images, 3)
    assert picture.shape == (8, 18) and picture.dtype == np.uint8
    assert (picture[4:, 6:12] == scales.generated_to_uint8(images[4, 0])).all()
    assert (picture[4:, 12:] == 0).all()


def test_contrasts_of_a_sample_stand_in_a_row_with_a_gap_to_the_next():
    images = noise(4, 3, 4, 6)
    picture = grids.tile(images, 2)
    assert picture.shape == (8, 2 * 18 + GAP)
    assert (picture[:, 18 : 18 + GAP] == GAP_GREY).all()
    for sample, (top, left) in enumerate([(0, 0), (0, 18 + GAP), (4, 0), (4, 18 + GAP)]):
        for channel in range(3):
            cell = picture[top : top + 4, left + 6 * channel : left + 6 * channel + 6]
            assert (cell == scales.generated_to_uint8(images[sample, channel])).all()


def test_a_mask_has_a_colour_for_each_label(tmp_path):
    labels = np.array([[0, 1, 2], [3, 7, 6]])
    images = np.stack([np.zeros((2, 3)), labels / 7 * 2 - 1])[None]
    images[0, 1, 0, 0] = -1.2  # what a generator makes goes beyond
    grids.write_grid(tmp_path / "grid.png", images, 1, labels=7)
    with Image.open(tmp_path / "grid.png") as image:
        picture = np.asarray(image)
    assert (picture[:, :3] == 128).all()
    assert (picture[:, 3:] == COLOURS[[[0, 1, 2], [3, 1, 6]]]).all()
    assert len(np.unique(COLOURS, axis=0)) == len(COLOURS)


@pytest.mark.parametrize(("channels", "width"), [(1, 32), (5, 32), (4, 128), (4, 512)])
def test_the_layout_fits_its_bounds(channels, width):
    rows, columns = grids.layout(channels, (32, width))
    shape = grids.tile(np.zeros((rows * columns, channels, 32, width)), columns).shape
    assert shape[0] <= grids.GRID_HEIGHT and (shape[1] <= grids.GRID_WIDTH or columns == 1)


@pytest.mark.parametrize(("largest", "dtype"), [(3, np.uint8), (300, np.uint16)])
def test_labels_come_back_from_their_place_in_the_range(largest, dtype):
    labels = np.arange(largest + 1)
    found = scales.generated_to_labels((labels / largest * 2 - 1).astype(np.float32) + 0.4 / largest, largest)
    assert found.dtype == dtype and (found == labels).all()


def test_grey_values_are_clipped_and_not_stretched():
    assert scales.generated_to_uint8(np.array([-3.0, -1.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 191, 255, 255]


def test_png_is_lossless_and_says_its_normalisation(tmp_path):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    grids.write_png(tmp_path / "a.png", pixels)
    labels = pixels.astype(np.uint16) * 8  # numbers above 255, as atlases have them
    grids.write_png(tmp_path / "mask.png", labels, "label numbers")
    with Image.open(tmp_path / "mask.png") as image:
        assert (np.asarray(image) == labels).all() and image.info["Description"] == "label numbers"
    with Image.open(tmp_path / "a.png") as image:
        assert (np.asarray(image) == pixels).all()
        assert "linear from [-1, 1] to 0..255" in image.info["Description"]


def test_three_planes_of_a_volume_head_up():
    """Axial, coronal, sagittal: the top of D is up in the last two; what is narrower is filled up with black."""
    depth, height, width = 4, 6, 8
    volume = noise(1, 1, depth, height, width)
    enlarged = grids.tile(volume, 1)
    picture = enlarged[::6, ::6]
    assert picture.shape == (height + 2 * depth, width)
    assert (enlarged == picture.repeat(6, 0).repeat(6, 1)).all(), "each voxel is a square"
    grey = scales.generated_to_uint8(volume[0, 0])
    assert (picture[:height] == grey[2]).all()
    assert (picture[height : height + depth] == grey[::-1, 3]).all()
    assert (picture[height + depth :, :height] == grey[::-1, :, 4]).all()
    assert (picture[height + depth :, height:] == 0).all()


@pytest.mark.parametrize(
    ("channels", "size", "least", "most"),
    [
        *((1, (32,) * 3, 8, 8), (1, (64,) * 3, 8, 8), (4, (64,) * 3, 8, 8)),
        *((1, (128,) * 3, 8, 8), (4, (128,) * 3, 6, 8), (1, (80, 96, 80), 8, 8)),
    ],
)
def test_a_grid_has_few_volumes(channels, size, least, most):
    rows, columns = grids.layout(channels, size)
    assert least <= rows * columns <= most
    shape = grids.tile(np.zeros((rows * columns, channels, *size), np.float32), columns).shape
    assert shape[0] <= 2 * grids.GRID_HEIGHT and shape[1] <= 2 * grids.GRID_WIDTH
    assert shape[1] >= 700
