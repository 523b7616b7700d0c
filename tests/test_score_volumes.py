"""Volumes are scored whole and by slices on three planes: what is one unit, and what has to be seen."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import wasserstein_distance

from gan.data.store import Store, writing
from gan.errors import GanError
from gan.evaluate import main
from gan.families.contract import ImageShape
from gan.families.registry import build, defaults
from gan.files import read_json
from gan.metrics.scores import Sets, score, score_curve
from gan.metrics.ssim import ms_ssim
from gan.sampling.snapshot import Snapshot, save_generator
from gan.scales import stored_to_uint8
from gan.scoring import degradations
from gan.scoring.cell import score_cell, score_snapshots
from gan.scoring.contrasts import to_score
from gan.scoring.copies import CopyProbe
from gan.scoring.degradations import FAULTS, FAULTS_OF_VOLUMES, UNCHANGED
from gan.scoring.extractors import files
from gan.scoring.extractors.indomain.model import IndomainFeatures, train_encoder
from gan.scoring.extractors.indomain.views import _in_space, _slipped, views
from gan.scoring.extractors.indomain3d.options import Options
from gan.scoring.judge import Judge, Protocol
from gan.scoring.planes import PLACES, SLICES, InPlanes, cut, store_seen
from gan.scoring.probes import LikenessProbe, Samples
from gan.scoring.reference import image_facts, prepare_extractor, real_features

SIZE = (12, 16, 16)
SPLITS = {"train": 32, "val": 6, "test": 6}
PROTOCOL = Protocol(n_fake=48, n_fake_curve=48, bootstrap=20)
META = {"channels": ["t1", "seg"], "mask": "seg", "labels": [], "volumes": {"fit": "pad"}, "spacing": [10, 10, 5]}
KINDS = ("indomain3d", "indomain")


def heads(number: int, seed: int) -> np.ndarray:
    """Heads of different brightness, size and inner structure, uint8 [n, 1, D, H, W], flat and bright below."""
    random, found = np.random.default_rng(seed), []
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, side) for side in SIZE], indexing="ij")
    for _ in range(number):
        wide, grey = random.uniform(0.6, 0.9, 3), random.uniform(60, 200)
        inside = (z / wide[0]) ** 2 + (y / wide[1]) ** 2 + (x / wide[2]) ** 2 < 1
        waves = np.sin(4 * random.normal(size=3) @ np.stack([z, y, x]).reshape(3, -1)).reshape(SIZE)
        head = inside * (z > -0.4) * (grey - 60 * z + 25 * waves)
        found.append(head.clip(0, 255))
    return np.stack(found)[:, None].round().astype(np.uint8)


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> Path:
    folder, number = tmp_path_factory.mktemp("planes"), sum(SPLITS.values())
    grey = heads(number, 0)
    images = np.concatenate([grey.astype(np.uint16) * 257, (grey > 120).astype(np.uint16)], 1)
    split = np.repeat(list(SPLITS), list(SPLITS.values()))
    rows = {"subject": [f"s{place:02}" for place in range(number)], "row": range(number), "split": split, "label": ""}
    index = pd.DataFrame(rows).assign(slice=0, position=0.0, fraction=0.5, kept=True, reason="")
    with writing(folder / "store", images.shape[1:]) as writer:
        writer.append(images)
        writer.finish(index, index, META)
    for kind in KINDS:
        prepare_extractor(kind, {"steps": 8, "dim": 16}, folder / "store", folder / f"{kind}.pt", "cpu")
        real_features(folder / f"{kind}.pt", folder / "store", folder / f"{kind}.npz", "cpu")
    image_facts(folder / "store", folder / "images.npz")
    named = {"extractors": [str(folder / f"{kind}.pt") for kind in KINDS], "store": str(folder / "store")}
    named |= {"real": [str(folder / f"{kind}.npz") for kind in KINDS], "images": str(folder / "images.npz")}
    (folder / "judge.json").write_text(json.dumps(named | {"protocol": {}}))
    return folder


@pytest.fixture(scope="module")
def panel(judge) -> Judge:
    return Judge.read(judge / "judge.json", "cpu")[0]


def test_where_volumes_are_cut_and_that_slices_are_upright():
    volume = np.arange(1, 1 + 2 * 10 * 12 * 14).reshape(1, 2, 10, 12, 14)
    slices = cut(volume)
    assert slices.shape == (SLICES, 6, 14, 14)
    for number, place in enumerate(PLACES):
        depth, height, width = (int(place * side) for side in volume.shape[2:])
        for channel in range(2):
            axial, coronal, sagittal = slices[number, 3 * channel : 3 * channel + 3]
            of = volume[0, channel]
            np.testing.assert_array_equal(axial[1:13], of[depth])
            np.testing.assert_array_equal(coronal[2:12], of[::-1, height])
            np.testing.assert_array_equal(sagittal[2:12, 1:13], of[::-1, :, width])
            assert not axial[[0, -1]].any() and not sagittal[:, [0, -1]].any()


def test_a_store_of_volumes_reads_as_one_of_slices(judge):
    whole = Store.open(judge / "store")
    store = store_seen(whole, 2)
    assert isinstance(store, InPlanes) and [one.name for one in to_score(store.meta, 2)] == PLANES
    assert store_seen(whole, 3) is whole and [one.name for one in to_score(whole.meta)] == ["t1"]
    slices = cut(whole.images[:, :1])
    np.testing.assert_array_equal(store.images[np.array([17, 3, 16, 200])], slices[[17, 3, 16, 200]])
    np.testing.assert_array_equal(store.images[5:20, 1], slices[5:20, 1])
    np.testing.assert_array_equal(store.images[np.array([9])][:, [0, 2]], slices[[9]][:, [0, 2]])
    assert store.images.shape == slices.shape and len(store.rows("val")) == 6 * SLICES
    assert store.index["subject"].tolist() == [name for name in whole.index["subject"] for _ in range(SLICES)]


PLANES = ["t1 axial", "t1 coronal", "t1 sagittal"]


def test_a_cell_of_volumes_is_scored(judge, panel, tmp_path):
    torch.manual_seed(0)
    options = defaults("dcgan") | {"z_dim": 4, "channels": 4}
    shape = ImageShape(2, SIZE, 0)
    for kimg in (0, 1):
        network = build("dcgan", options, shape, 8)
        snapshot = Snapshot(network.kept(), "dcgan", options, shape, 8, kimg, "abc", META | {"full_scale": [65535, 1]})
        path = tmp_path / f"snapshots/kimg0000{kimg}.pt"
        path.parent.mkdir(exist_ok=True)
        save_generator(path, snapshot)
    save_generator(tmp_path / "generator.pt", snapshot)
    (tmp_path / "recipe.json").write_text('{"data": {"dataset": "d"}, "variant": {"name": "v"}, "seed": 0}')
    score_snapshots(tmp_path, panel, PROTOCOL)
    score_cell(tmp_path, panel, PROTOCOL)
    curve, scores = (read_json(tmp_path / name) for name in ("curve.json", "scores.json"))
    led = [row for row in curve["rows"] if row["metric"] == scores["snapshot"]["metric"] == "kd_indomain3d"]
    assert {row["contrast"] for row in led} == {"t1", "all"} and scores["snapshot"]["kimg"] == 1
    rows = {(row["metric"], row["contrast"]): row for row in scores["scores"]}
    whole = rows["kd_indomain3d", "all"]
    assert (whole["n_real"], whole["n_subjects"], whole["n_fake"]) == (6, 6, 6)
    assert whole["low"] < whole["value"] < whole["high"]
    assert ("fd_indomain", "all") in rows and ("fd_indomain3d", "all") not in rows, "6 volumes of 16 features"
    assert {contrast for metric, contrast in rows if metric == "kd_indomain"} == {*PLANES, "joint", "all"}
    first = rows["kd_indomain", "all"]
    assert (first["n_real"], first["n_subjects"], first["n_fake"]) == (6 * SLICES, 6, 48)
    assert first["low"] < first["value"] < first["high"] and first["floor_low"] < first["floor"] < first["floor_high"]
    assert first["value"] == pytest.approx(np.mean([rows["kd_indomain", plane]["value"] for plane in PLANES]))
    # What needs no extractor is of volumes and not of slices.
    for name in ("ms_ssim", "spectrum", "histogram", "asymmetry", "volume_body", "brightness"):
        assert {contrast for metric, contrast in rows if metric == name} == {"t1", "all"}
        assert rows[name, "all"]["n_fake"] == 6
    masks = Store.open(judge / "store").images[:, 1] == 1
    assert rows["area_1", "seg"]["n_fake"] == 6
    assert rows["area_1", "seg"]["floor"] == pytest.approx(100 * masks[:32].mean())
    ml = masks.sum((1, 2, 3)) * 0.5
    assert rows["volume_label_1", "seg"]["floor"] == pytest.approx(wasserstein_distance(ml[32:38], ml[:32]))
    assert rows["copies_indomain3d", "all"]["n_fake"] == 6
    assert scores["left_out"] == {}


def test_with_few_training_volumes_slices_lead(judge, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Options, "FEWEST", 33)
    prepare_extractor("indomain3d", {}, judge / "store", tmp_path / "left.pt", "cpu")
    assert "indomain3d is left out: it needs 33 training volumes, and there are 32\n" in capsys.readouterr().err
    real_features(tmp_path / "left.pt", judge / "store", tmp_path / "left.npz", "cpu")
    with pytest.raises(GanError, match=r"left\.pt: indomain3d is left out: it needs 33"):
        files.load(tmp_path / "left.pt")
    extractors, real = [tmp_path / "left.pt", judge / "indomain.pt"], [tmp_path / "left.npz", judge / "indomain.npz"]
    found = Judge(extractors, real, judge / "images.npz", "cpu", judge / "store")
    assert found.headline(META) == "kd_indomain"
    assert found.left_out == {"indomain3d": "it needs 33 training volumes, and there are 32"}
    probes = found.probes(Protocol(bootstrap=0), META, 1)
    features, search = probes[0], next(probe for probe in probes if isinstance(probe, CopyProbe))
    batch = Samples({"t1": stored_to_uint8(Store.open(judge / "store").images[:8, 0])}, None)
    features.add(batch)
    search.add(batch)
    assert search.rates["either"].copies > 0.9 and search.summary()["n_fake"] == 8 * SLICES


def test_slices_have_no_encoder_of_volumes(judge, tmp_path):
    whole = Store.open(judge / "store")
    with writing(tmp_path / "store", (1, 16, 16)) as writer:
        writer.append(whole.images[:, :1, 6])
        writer.finish(whole.index, whole.index, {"channels": ["t1"], "mask": None, "labels": []})
    with pytest.raises(GanError, match=r"store: indomain3d sees whole volumes, and this data set has slices"):
        prepare_extractor("indomain3d", {}, tmp_path / "store", tmp_path / "extractor.pt", "cpu")
    assert not (tmp_path / "extractor.pt").exists()


def test_slices_of_a_volume_are_one_unit():
    """Each slice twice is no more evidence than once."""
    random = np.random.default_rng(0)
    real, fake, unseen = (random.normal(size=(number, 4)) for number in (12, 16, 12))

    def rows(each: int) -> dict:
        one, other, third = ({"t1": of.repeat(each, 0)} for of in (real, fake, unseen))
        subjects = np.arange(12).repeat(each)
        sets = Sets(one, other, subjects, one, third, subjects + 12, each=each)
        return {row["metric"]: row for row in score(sets, bootstrap=200, seed=0)}

    once, twice = rows(1), rows(2)
    for name in ("kd", "precision", "recall", "coverage"):
        assert twice[name]["value"] == pytest.approx(once[name]["value"])
    width = [of["kd"]["high"] - of["kd"]["low"] for of in (once, twice)]
    assert width[1] == pytest.approx(width[0], rel=0.3)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_pairs_are_of_volumes_however_many_come_at_a_time(batch, panel):
    volumes, probe = heads(6, 1)[:, 0], LikenessProbe(0, 0)
    for first in range(0, 6, batch):
        probe.add(Samples({"t1": volumes[first : first + batch]}, None))
    row = next(row for row in probe.rows(panel.reference) if row["contrast"] == "t1")
    expected = [ms_ssim(volumes[[place]], volumes[[place + 1]]).item() for place in (0, 2, 4)]
    assert row["value"] == pytest.approx(np.mean(expected)) and row["n_fake"] == 6


# ---------------------------------------------------------------- what has to be seen


def features(volumes: np.ndarray) -> dict[str, np.ndarray]:
    """Of the slices on each plane means of 2 x 2 pixels, and of the differences from row to row, [n, 128]."""
    slices = cut(volumes) / 64
    rough = np.abs(np.diff(slices, axis=2, append=0))
    small = [of.reshape(-1, 3, 8, 2, 8, 2).mean((3, 5)).reshape(-1, 3, 64) - 1 for of in (slices, rough)]
    return {name: np.concatenate(small, 2)[:, place] for place, name in enumerate(PLANES)}


@pytest.fixture(scope="module")
def distance():
    """The kernel distance of volumes to real ones by contrast."""
    real, subjects = features(heads(40, 1)), np.arange(40).repeat(SLICES)

    def to(volumes: np.ndarray) -> dict[str, float]:
        sets = Sets(real, features(volumes), subjects, real, real, subjects, each=SLICES)
        return {row["contrast"]: row["value"] for row in score_curve(sets) if row["metric"] == "kd"}

    return to


def test_slices_of_different_heads_on_top_of_each_other_pass_axially_alone(distance):
    good = heads(60, 5)
    stacked, order = good.copy(), np.random.default_rng(0)
    for depth in range(SIZE[0]):
        stacked[:, :, depth] = good[order.permutation(len(good)), :, depth]
    fair, found = distance(good), distance(stacked)
    raised = {name: found[name] - fair[name] for name in PLANES}
    assert abs(raised["t1 axial"]) < 0.1 * min(raised["t1 coronal"], raised["t1 sagittal"])
    assert found["all"] > 5 * abs(fair["all"])


@pytest.mark.parametrize("fault", ["half empty", "upside down"])
def test_faults_of_the_whole_are_seen(fault, distance):
    good = heads(60, 5)
    bad = good[:, :, ::-1].copy() if fault == "upside down" else good.copy()
    if fault == "half empty":
        bad[:, :, SIZE[0] // 2 :] = 0
    assert distance(bad)["all"] > 10 * abs(distance(good)["all"])


def test_slices_slip_within_their_plane_each_by_its_own_chance():
    volumes, axis = torch.zeros(300, 1, 4, 6, 8), torch.arange(300) % 3
    apart = _slipped(volumes, torch.full((300,), 2.0), axis, torch.Generator().manual_seed(0))
    voxels = apart * torch.tensor([8, 6, 4]) / 2  # x, y, z
    for place in range(3):
        mine = voxels[axis == place]
        assert not mine[..., 2 - place].any(), "none leaves its plane"
        within = tuple(of + 1 for of in range(3) if of != place)
        assert mine.amax(within).equal(mine.amin(within)), "a slice stays whole"
        assert mine[..., (3 - place) % 3].std().item() == pytest.approx(2, rel=0.1)


@pytest.fixture(scope="module")
def encoder() -> IndomainFeatures:
    return IndomainFeatures(train_encoder(heads(40, 1)[:, 0], steps=60, dim=16), name="indomain3d")


@pytest.fixture(scope="module")
def whole_distance(encoder):
    """The kernel distance of volumes [n, D, H, W] to real ones, by the encoder of volumes."""
    real = {"t1": encoder(heads(40, 2)[:, 0])}

    def to(volumes: np.ndarray) -> float:
        sets = Sets(real, {"t1": encoder(volumes)}, np.arange(40), real, real, np.arange(40))
        return next(row["value"] for row in score_curve(sets) if (row["metric"], row["contrast"]) == ("kd", "all"))

    return to


SPOILED = ("axial slices of different volumes", "upper half empty", "upside down", "blur of 1 px")


@pytest.mark.parametrize("fault", SPOILED)
def test_the_encoder_of_volumes_sees_faults_of_the_whole(fault, whole_distance):
    good = heads(40, 5)[:, 0]
    change = (FAULTS | FAULTS_OF_VOLUMES)[fault].change
    assert change is not None
    bad = change(Samples({"t1": good}, None), np.random.default_rng(0)).grey["t1"]
    assert whole_distance(bad) > 5 * abs(whole_distance(good))


def test_features_of_a_volume_are_its_own_alone(encoder):
    volumes = heads(20, 7)[:, 0]
    assert np.array_equal(encoder(volumes)[[3, 17]], encoder(volumes[[3, 17]]))
    with pytest.raises(GanError, match=r"made for images of \[12, 16, 16\] pixels, got \[8, 16, 16\]"):
        encoder(volumes[:, :8])


def test_views_of_volumes_differ_in_pose_and_keep_angles():
    images = torch.from_numpy(heads(4, 8)).float() / 127.5 - 1
    first, second = views(images, torch.Generator().manual_seed(0))
    assert first.shape == images.shape and first.min() >= -1 and first.max() <= 1 and not first.equal(second)
    sides = torch.tensor([16.0, 12, 8])  # x, y, z
    linear = _in_space(50, (8, 12, 16), torch.Generator().manual_seed(0))[:, :, :3] * sides[:, None] / sides
    scale = linear.det() ** (1 / 3)
    assert 0.9 < scale.min() < 0.95 and 1.05 < scale.max() < 1.1
    torch.testing.assert_close(linear @ linear.mT, scale[:, None, None] ** 2 * torch.eye(3).expand(50, 3, 3))
    turn = torch.rad2deg(
        ((linear / scale[:, None, None]).diagonal(dim1=1, dim2=2).sum(1) / 2 - 0.5).clamp(max=1).acos()
    )
    assert 8 < turn.max() < 14, "up to 8 degrees about each of three axes"


def test_the_table_of_degradations_of_volumes(judge, monkeypatch):
    chosen = (UNCHANGED, "upside down", "copies of training images")
    monkeypatch.setattr(degradations, "FAULTS", {name: FAULTS[name] for name in chosen})
    given = ["--store", str(judge / "store"), "--judge", str(judge / "judge.json"), "--out", str(judge / "table.csv")]
    assert main(["--device", "cpu", "degradations", *given]) == 0
    rows = pd.read_csv(judge / "table.csv")
    assert list(rows.degradation.unique()) == [*chosen, *FAULTS_OF_VOLUMES]
    assert {"t1", *PLANES, "seg", "joint", "all"} == set(rows.contrast)
    value = rows[rows.contrast == "all"].pivot(index="degradation", columns="metric", values="value")
    kept = value.loc[UNCHANGED]
    assert value.loc["copies of training images"].copies_indomain3d > 0.8
    assert value.loc["upper half empty"].volume_body > 3 * kept.volume_body
    assert value.loc["upside down"].volume_body == pytest.approx(kept.volume_body)
    label = rows[rows.metric == "volume_label_1"].set_index("degradation").value
    assert label["upper half empty"] > label[UNCHANGED]


@pytest.mark.parametrize(("copied", "least", "most"), [(True, 0.9, 1), (False, 0, 0.3)])
def test_copies_of_training_volumes_are_found(copied, least, most, judge, panel):
    train = stored_to_uint8(Store.open(judge / "store").images[:24, 0])
    probes = panel.probes(Protocol(bootstrap=0), META, 1)
    features, search = probes[0], next(probe for probe in probes if isinstance(probe, CopyProbe))
    batch = Samples({"t1": train if copied else heads(24, 9)[:, 0]}, None)
    features.add(batch)
    search.add(batch)
    assert least <= search.rates["either"].copies <= most
