"""Real volumes that are changed before training: by what, how far, and that nothing else decides it."""

import itertools

import numpy as np
import pytest
import torch
from conftest import SCHEMA
from golden import CASES
from tiny import TinyData, recipe

from gan import study
from gan.errors import GanError
from gan.families.options import AUGMENT_REAL
from gan.families.registry import defaults, options_of, trained
from gan.train.reals import _displacements, changed, spline
from gan.train.trainer import Trainer

SIZE, SPACING = (12, 14, 16), (4.0, 3.0, 2.0)


def ramps(count: int = 1) -> torch.Tensor:
    """The places of the voxels in mm from the centre, (z, y, x) as three channels: to see where each came from."""
    lines = [(torch.arange(side) - (side - 1) / 2) * step for side, step in zip(SIZE, SPACING, strict=True)]
    return torch.stack(torch.meshgrid(*lines, indexing="ij")).expand(count, -1, *SIZE)


def inner(volume: torch.Tensor) -> torch.Tensor:
    return volume[..., 4:-4, 5:-5, 6:-6]


def test_an_affine_map_is_found_again_in_the_places():
    """Scales within a tenth, angles within ten degrees, about the centre, and volumes differ from each other."""
    found = changed(ramps(40), "affine", 0, 0, np.arange(40), SPACING)
    places, seen = inner(ramps())[0].flatten(1), inner(found).flatten(2)
    linear = seen @ torch.linalg.pinv(places)
    torch.testing.assert_close(linear @ places, seen, rtol=0, atol=1e-3)
    scales = 1 / torch.linalg.norm(linear, dim=1)
    assert scales.min() > 0.9 and scales.max() < 1.1 and scales.std() > 0.03
    turned = linear * scales[:, None]
    angles = torch.stack([turned[:, one, other].asin() for one, other in ((0, 1), (0, 2), (1, 2))]).rad2deg()
    assert 8 < angles.abs().max() < 12 and angles.std() > 3
    assert len(torch.unique(linear[:, 0, 0])) == 40


def test_an_elastic_map_moves_the_inside_smoothly_and_the_border_hardly():
    dice = [torch.Generator().manual_seed(seed) for seed in range(20)]
    moves = torch.stack([_displacements((20, 21, 22), each, torch.device("cpu")) for each in dice])
    border = torch.ones(20, 21, 22, dtype=torch.bool)
    border[1:-1, 1:-1, 1:-1] = False
    assert moves[:, border].abs().max() < 7.5 / 6  # of a point a spline reaches the place of the next by a sixth
    assert 3 < moves[:, 8:12, 8:12, 8:12].abs().max() <= 7.5
    assert all(moves.diff(dim=axis).abs().max() < 3 for axis in (1, 2, 3))


def test_splines_are_smooth_weights():
    weights = spline(41)
    torch.testing.assert_close(weights.sum(1), torch.ones(41))
    torch.testing.assert_close(weights @ torch.arange(7.0), torch.linspace(1, 5, 41))  # of a line, the line
    assert weights.min() >= 0 and (weights > 0).sum(1).max() == 4


def test_noise_is_of_the_contrasts_alone_and_a_mask_keeps_its_labels():
    labels = torch.randint(0, 4, (30, 1, *SIZE)) / 3 * 2 - 1
    images = torch.cat([torch.zeros(30, 2, *SIZE), labels], 1)
    found = changed(images, "all", 0, 0, np.arange(30), SPACING, masks=1)
    stds = found[:, :2].flatten(1).std(1)
    assert stds.max() < 0.26 and 0.05 < stds.std() < 0.1
    assert not torch.equal(found[:, 0], found[:, 1])
    assert set(found[:, 2].unique().tolist()) <= set(labels.unique().tolist())
    filled = changed(torch.ones(4, 2, *SIZE), "affine", 0, 0, np.arange(4), SPACING, masks=1)
    assert filled[:, 1].unique().tolist() == [-1, 1], "beyond the box is no label"


def test_seed_step_and_index_decide_and_not_the_rest_of_the_batch():
    images = torch.rand(4, 1, *SIZE)
    whole = changed(images, "all", 3, 5, np.arange(4), SPACING)
    order = np.array([2, 0])
    assert torch.equal(changed(images[order], "all", 3, 5, order, SPACING), whole[order])
    for seed, step in ((3, 6), (4, 5)):
        assert not torch.equal(changed(images, "all", seed, step, np.arange(4), SPACING), whole)


def _trainer(family="dcgan", size=(12, 12, 16), **options):
    given = recipe(batch=4)
    base = dict(CASES.values())[family] | {"conditional": False}
    given["variant"] = {"name": family, "family": family, "options": base | {"augment_real": "all"} | options}
    return Trainer(given, TinyData(8, 1, size), torch.device("cpu"))


@pytest.mark.parametrize("family", [name for name in trained() if "augment_real" in defaults(name)])
def test_every_family_with_the_option_gets_changed_volumes(family):
    trainer = _trainer(family)
    plain, found = trainer.dataset.batch(trainer.orders[0].indices(0)).real, []
    for kind in AUGMENT_REAL:
        object.__setattr__(trainer.variant.options, "augment_real", kind)
        found.append(trainer._batch().real)
    assert torch.equal(found[0], plain)
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(found, 2))


def test_the_loop_changes_them_and_a_resumed_one_in_the_same_way():
    one, other = _trainer(), _trainer()
    one.advance(measure=False)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one._batch().real, other._batch().real)
    plain = one.dataset.batch(one.orders[0].indices(one.step)).real
    assert not torch.equal(one._batch().real, plain)


def test_a_study_of_slices_refuses_it_when_it_is_read(config):
    config["study"] |= {"datasets": ["phantom"], "variants": ["seed000_3d"]}
    config["datasets"]["phantom"]["labels"] = {"slice": 2}
    with pytest.raises(
        GanError, match=r"options\.augment_real is all, which changes volumes, but datasets\.phantom has"
    ):
        study.load(config, SCHEMA)


def test_images_are_refused_and_the_default_is_not_stated():
    with pytest.raises(GanError, match="option augment_real is all, which is for volumes; these are images of size"):
        _trainer(size=(16, 16))
    options = options_of("dcgan")
    assert "augment_real" not in options().stated(0)
    assert options(augment_real="affine").stated(0)["augment_real"] == "affine"
