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
from gan.train.reals import Moves, changed, displacements, drawn, moved, spline
from gan.train.trainer import Trainer

SIZE, SPACING = (12, 14, 16), (4.0, 3.0, 2.0)
VOXELS = ((5, 6, 7), (7, 5, 9), (4, 8, 6))  # inside, where nothing comes from beyond the border
DRAWS = 120


def ramps(count: int = 1) -> torch.Tensor:
    """The places of the voxels in mm from the centre, (z, y, x) as three channels: to see where each came from."""
    lines = [(torch.arange(side) - (side - 1) / 2) * step for side, step in zip(SIZE, SPACING, strict=True)]
    return torch.stack(torch.meshgrid(*lines, indexing="ij")).expand(count, -1, *SIZE)


def inner(volume: torch.Tensor) -> torch.Tensor:
    return volume[..., 4:-4, 5:-5, 6:-6]


@pytest.fixture(scope="module")
def maps():
    """Ramps after random affine maps, and after the elastic ones of as many seeds."""
    affine = changed(ramps(DRAWS), "affine", 0, 0, np.arange(DRAWS), SPACING)
    dice = [torch.Generator().manual_seed(seed) for seed in range(DRAWS)]
    still = torch.ones(3), torch.zeros(3)
    elastic = [moved(ramps()[0], Moves(*still, drawn(True, each).points), SPACING) for each in dice]
    return {"affine": affine, "elastic": torch.stack(elastic)}


def test_an_affine_map_is_found_again_in_the_places(maps):
    """Scales within a tenth, angles within ten degrees, about the centre, and volumes differ from each other."""
    found = maps["affine"][:40]
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
    points = [drawn(True, torch.Generator().manual_seed(seed)).points for seed in range(20)]
    moves = torch.stack([displacements((20, 21, 22), each) for each in points])
    border = torch.ones(20, 21, 22, dtype=torch.bool)
    border[1:-1, 1:-1, 1:-1] = False
    assert moves[:, border].abs().max() < 7.5 * spline(20)[0, 2:].sum() < 1.8  # of points that are not locked
    assert 3 < moves[:, 8:12, 8:12, 8:12].abs().max() <= 7.5
    assert all(moves.diff(dim=axis).abs().max() < 3 for axis in (1, 2, 3))


def test_splines_are_smooth_weights():
    weights = spline(41)
    torch.testing.assert_close(weights.sum(1), torch.ones(41))
    ends = 4 * 0.625 / 41.25  # cells end half a voxel and an eighth beyond the centres of border voxels
    line = torch.linspace(1 + ends, 5 - ends, 41)
    torch.testing.assert_close(weights @ torch.arange(7.0), line)
    assert weights.min() >= 0 and (weights > 0).sum(1).max() == 4


@pytest.fixture(scope="module")
def torchio():
    return pytest.importorskip("torchio")


def of_torchio(torchio, volumes: torch.Tensor):
    """[C, D, H, W] as its image, whose axes are (x, y, z)."""
    affine = np.diag([*SPACING[::-1], 1.0])
    return torchio.ScalarImage(tensor=volumes.permute(0, 3, 2, 1).contiguous(), affine=affine)


def moves_of(transform) -> Moves:
    """Ours of a transform of torchio; x and y of its control points are to the left and to the back."""
    if hasattr(transform, "degrees"):
        (x, y, z), scales = transform.degrees, transform.scales[::-1]
        return Moves(torch.tensor(scales), torch.tensor([z, -y, x]))
    points = torch.tensor(transform.control_points).flip(0, 1).permute(2, 1, 0, 3).flip(-1)
    return Moves(torch.ones(3), torch.zeros(3), points * torch.tensor([1.0, -1.0, -1.0]))


@pytest.mark.parametrize("name", ["RandomAffine", "RandomElasticDeformation"])
@pytest.mark.filterwarnings("ignore:The maximum displacement is larger")
def test_torchio_moves_a_volume_in_the_same_way(torchio, name):
    """With equal numbers, voxel by voxel, the border too."""
    volume = torch.cat([ramps()[0], torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(1))])
    torch.manual_seed(2)
    subject = getattr(torchio, name)()(torchio.Subject(volume=of_torchio(torchio, volume)))
    theirs = subject["volume"].data.permute(0, 3, 2, 1)
    ours = moved(volume, moves_of(subject.history[-1]), SPACING)
    assert (theirs - volume).abs().amax((1, 2, 3)).min() > 0.5
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-3)


def displaced(torchio, kind: str) -> torch.Tensor:
    """Displacements in mm (z, y, x) that torchio draws at `VOXELS`, [DRAWS, voxels, 3]."""
    image, found = of_torchio(torchio, ramps()[0]), []
    at = [image.as_sitk().TransformIndexToPhysicalPoint(voxel[::-1]) for voxel in VOXELS]
    for _ in range(DRAWS):
        if kind == "affine":
            drawn_by = torchio.RandomAffine()
            scales, degrees, shift = drawn_by.get_params(drawn_by.scales, drawn_by.degrees, drawn_by.translation, False)
            made = torchio.Affine(scales.tolist(), degrees.tolist(), shift.tolist()).get_affine_transform(image)
        else:
            points = torchio.RandomElasticDeformation.get_params((7,) * 3, (7.5,) * 3, 2)
            made = torchio.ElasticDeformation(points, (7.5,) * 3).get_bspline_transform(image.as_sitk())
        found.append([np.subtract(made.TransformPoint(one), one)[::-1] * (1, -1, -1) for one in at])
    return torch.tensor(np.array(found))


@pytest.mark.parametrize("kind", ["affine", "elastic"])
def test_torchio_draws_displacements_of_the_same_distribution(torchio, maps, kind):
    """Mean and spread within four standard errors of the difference, which has twice the variance of one of them."""
    torch.manual_seed(3)
    theirs = displaced(torchio, kind)
    places = torch.stack([ramps()[0][:, *voxel] for voxel in VOXELS])
    ours = torch.stack([maps[kind][:, :, *voxel] for voxel in VOXELS], 1) - places
    assert (ours.mean(0) - theirs.mean(0)).abs().max() < 4 * (theirs.std(0) * (2 / DRAWS) ** 0.5).max()
    # The logarithm of a standard deviation has a standard error of at most 1/sqrt(2 n), here of no long tails.
    assert (ours.std(0) / theirs.std(0)).log().abs().max() < 4 * (1 / DRAWS) ** 0.5
    bound = 7.5 if kind == "elastic" else 0.32 * places.norm(dim=-1)[:, None]
    assert (ours.abs().amax(0) <= bound).all() and (theirs.abs().amax(0) <= bound).all()
    assert (ours.abs().amax(0) / theirs.abs().amax(0)).log().abs().max() < 0.3


def test_torchio_draws_noise_of_the_same_distribution(torchio):
    """Standard deviations are uniform up to a quarter: their mean, spread and largest."""
    empty, noise = torch.zeros(DRAWS, 1, 8, 8, 8), torchio.RandomNoise()
    torch.manual_seed(4)
    theirs = torch.stack([noise(volume).std() for volume in empty])
    ours = changed(empty, "all", 0, 0, np.arange(DRAWS), SPACING).flatten(1).std(1)
    assert abs(ours.mean() - theirs.mean()) < 4 * theirs.std() * (2 / DRAWS) ** 0.5
    assert abs((ours.std() / theirs.std()).log()) < 4 * (1 / DRAWS) ** 0.5
    most = 0.25 * (1 + 4 / 1024**0.5)  # of 512 voxels
    assert 0.23 < ours.max() < most and 0.23 < theirs.max() < most


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
