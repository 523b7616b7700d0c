"""The phantom: right files, right physics, the same bytes again."""

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gan.data import phantom_signal
from gan.data.phantom import CLASSES, write_phantom
from gan.data.phantom_shapes import Grid, ellipsoid, smooth_field, tube
from gan.data.phantom_signal import TISSUES, Tissue, inversion_spin_echo, mprage, signals, with_agent
from gan.errors import GanError

CONTRASTS = ("t1n", "t1c", "t2w", "t2f")
SMALL = {"matrix": 40, "spacing": 4.6, "seed": 3}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """Four heads with tumours: subjects 1 and 3 high grade, 2 and 4 low grade."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, subjects=4, tumours=1.0, **SMALL)
    return folder


def case(tree: Path, number: int) -> dict[str, np.ndarray]:
    name = f"PHANTOM-{number:05d}-000"
    folder = next(tree.glob(f"*/{name}"))
    return {c: np.asarray(nib.load(folder / f"{name}-{c}.nii.gz").dataobj) for c in (*CONTRASTS, "seg")}


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.nii.gz")
    }


def test_tree_is_that_of_brats(tree):
    names = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.nii.gz"))
    assert len(names) == 20
    assert f"{CLASSES[0]}/PHANTOM-00001-000/PHANTOM-00001-000-t1c.nii.gz" in names
    assert f"{CLASSES[1]}/PHANTOM-00004-000/PHANTOM-00004-000-seg.nii.gz" in names


def test_volumes_are_int16_ras_with_the_spacing_asked_for(tree):
    image = nib.load(next(tree.rglob("*-t2f.nii.gz")))
    assert image.shape == (40, 40, 30)
    assert image.get_data_dtype() == np.int16
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.header.get_zooms() == pytest.approx((4.6, 4.6, 4.6))


def test_each_grade_shows_in_the_labels(tree):
    enhancing = {number: (case(tree, number)["seg"] == 3).sum() for number in range(1, 5)}
    oedema = {number: (case(tree, number)["seg"] == 2).sum() for number in range(1, 5)}
    assert min(enhancing[1], enhancing[3]) > 2 * max(enhancing[2], enhancing[4])
    assert all(oedema.values())
    assert set(np.unique(case(tree, 1)["seg"])) == {0, 1, 2, 3}


def test_contrasts_follow_the_physics(tree):
    volumes = case(tree, 1)
    mean = {c: {label: volumes[c][volumes["seg"] == label].mean() for label in (1, 2, 3)} for c in CONTRASTS}
    assert mean["t1c"][3] > 1.5 * mean["t1c"][1]  # the rim enhances, the core does not
    assert mean["t2f"][2] > mean["t2f"][1]  # FLAIR dims the fluid in the core, not the oedema
    assert mean["t2w"][1] > mean["t2w"][2]
    assert volumes["t1n"][15:25, 15:25, 12:18].mean() > 5 * volumes["t1n"][:3, :3].mean()  # brain over air


def test_background_is_rayleigh_noise(tree):
    """Magnitude noise without signal: mean / standard deviation = sqrt(pi / (4 - pi)) = 1.913."""
    corner = case(tree, 2)["t2w"][:5, :5].astype(float)
    assert corner.mean() / corner.std() == pytest.approx(1.913, abs=0.25)


def test_same_seed_same_bytes_whatever_the_workers_and_the_number(tree, tmp_path):
    write_phantom(tmp_path / "two", subjects=3, tumours=1.0, workers=2, **SMALL)
    whole, part = digests(tree), digests(tmp_path / "two")
    assert len(part) == 15
    assert all(whole[name] == digest for name, digest in part.items())
    write_phantom(tmp_path / "other", subjects=1, tumours=1.0, **{**SMALL, "seed": 4})
    assert not set(digests(tmp_path / "other").values()) & set(whole.values())


def test_share_of_tumours_is_met_in_each_class(tmp_path):
    write_phantom(tmp_path, subjects=4, tumours=0.5, **SMALL)
    for name in CLASSES:
        sick = [np.asarray(nib.load(path).dataobj).any() for path in (tmp_path / name).rglob("*-seg.nii.gz")]
        assert sorted(sick) == [False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subjects": 0}, "subjects is 0"),
        ({"tumours": 1.5}, "tumours is 1.5"),
        ({"spacing": 1.0}, "field of view of 40 mm"),
        ({"matrix": 8, "spacing": 30.0}, "at least 16 voxels"),
    ],
)
def test_bad_settings_are_named(change, message, tmp_path):
    settings = {"subjects": 1, "tumours": 0.0, **SMALL, **change}
    with pytest.raises(GanError, match=message):
        write_phantom(tmp_path, **settings)
    assert not list(tmp_path.iterdir())


def test_mprage_is_the_steady_state_of_the_sequence():
    """The closed form against a simulation of many cycles, pulse by pulse."""
    tissue, tr, ti, spacing, pulses, angle = Tissue(900, 70, 0.8), 2000.0, 900.0, 7.0, 16, np.radians(9)

    def free(m: float, time: float) -> float:
        return 1 + (m - 1) * np.exp(-time / tissue.t1)

    m, centre = 1.0, 0.0
    for _ in range(50):
        m = free(-m, ti - pulses // 2 * spacing)
        for pulse in range(pulses):
            if pulse == pulses // 2:
                centre = m
            m = free(m * np.cos(angle), spacing)
        m = free(m, tr - ti - pulses // 2 * spacing)
    expected = tissue.pd * abs(centre) * np.sin(angle)
    assert mprage(tissue, tr=tr, ti=ti, echo_spacing=spacing, pulses=pulses, angle=9) == pytest.approx(expected)


def test_flair_nulls_fluid_at_the_known_time():
    """TI = T1 ln(2 / (1 + exp(-(TR - TE) / T1)))."""
    fluid = TISSUES["csf"]
    null = fluid.t1 * np.log(2 / (1 + np.exp(-(9000 - 105) / fluid.t1)))
    assert inversion_spin_echo(fluid, tr=9000, ti=null, te=105) == pytest.approx(0, abs=1e-12)
    table = signals(TISSUES)["t2f"]
    assert table["csf"] < 0.1 * table["white"]


def test_order_of_tissues_is_that_of_a_scan():
    table = signals(TISSUES)
    assert table["t1n"]["white"] > table["t1n"]["grey"] > table["t1n"]["csf"]
    assert table["t2w"]["csf"] > table["t2w"]["grey"] > table["t2w"]["white"]
    assert table["t2f"]["oedema"] > table["t2f"]["grey"] > table["t2f"]["csf"]
    assert table["t1c"]["rim"] > 2 * table["t1n"]["rim"]
    assert table["t1c"]["white"] == table["t1n"]["white"]


def test_contrast_agent_adds_to_the_relaxation_rates():
    tissue = with_agent(Tissue(1000, 100, 1, agent=1))
    assert 1000 / tissue.t1 == pytest.approx(1 + phantom_signal.R1)
    assert 1000 / tissue.t2 == pytest.approx(10 + phantom_signal.R2)


def test_smooth_field_has_unit_variance_and_does_not_depend_on_the_grid():
    axes = [np.arange(0, 200, 4.0)] * 3
    coarse = smooth_field(np.random.default_rng(0), axes, 10)
    fine = smooth_field(np.random.default_rng(0), [np.arange(0, 198, 2.0)] * 3, 10)
    assert coarse.std() == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(fine[::2, ::2, ::2], coarse, atol=1e-5)


def test_distances_have_slope_one_at_the_surface():
    x = np.linspace(-30, 30, 601, dtype=np.float32)
    points = np.meshgrid(x, np.zeros(1, np.float32), np.zeros(1, np.float32), indexing="ij")
    ball = ellipsoid(points, (0, 0, 0), (20, 30, 10))[:, 0, 0]
    rod = tube(points, [(0, -5, 0, 8), (0, 5, 0, 8)])[:, 0, 0]
    for distance, radius in ((ball, 20), (rod, 8)):
        edge = np.argmin(np.abs(x - radius))
        assert distance[edge] == pytest.approx(0, abs=0.05)
        assert (distance[edge + 5] - distance[edge - 5]) / (x[edge + 5] - x[edge - 5]) == pytest.approx(-1, abs=0.03)
    assert Grid((x, x, x), 2.0).fraction(np.float32([-3, 0, 0.5, 3])).tolist() == [0, 0.5, 0.75, 1]
