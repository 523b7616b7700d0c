"""Volumes are scored by slices on three planes: how they are cut, what is one unit, and what each plane must see."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gan.data.store import Store, writing
from gan.families.contract import ImageShape
from gan.families.registry import build, defaults
from gan.files import read_json
from gan.metrics.scores import Sets, score, score_curve
from gan.metrics.ssim import ms_ssim
from gan.sampling.snapshot import Snapshot, save_generator
from gan.scales import stored_to_uint8
from gan.scoring.cell import score_cell, score_snapshots
from gan.scoring.copies import CopyProbe
from gan.scoring.judge import Judge, Protocol
from gan.scoring.planes import PLACES, SLICES, InPlanes, cut, open_images
from gan.scoring.probes import LikenessProbe, Samples
from gan.scoring.reference import image_facts, prepare_extractor, real_features, to_score

SIZE = (12, 16, 16)
SPLITS = {"train": 24, "val": 6, "test": 6}
PROTOCOL = Protocol(n_fake=48, n_fake_curve=48, bootstrap=20)
META = {"channels": ["t1", "seg"], "mask": "seg", "labels": [], "volumes": {"fit": "pad"}}


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
    prepare_extractor("indomain", {"steps": 8, "dim": 16}, folder / "store", folder / "extractor.pt", "cpu")
    real_features(folder / "extractor.pt", folder / "store", folder / "real.npz", "cpu")
    image_facts(folder / "store", folder / "images.npz")
    return folder


@pytest.fixture(scope="module")
def panel(judge) -> Judge:
    return Judge([judge / "extractor.pt"], [judge / "real.npz"], judge / "images.npz", "cpu", judge / "store")


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
    store, whole = open_images(judge / "store"), Store.open(judge / "store")
    assert isinstance(store, InPlanes) and [one.name for one in to_score(store.meta)] == PLANES
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
    shape = ImageShape(2, (16, 16, 16), 0)
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
    led = [row for row in curve["rows"] if row["metric"] == scores["snapshot"]["metric"] == "kd_indomain"]
    assert {row["contrast"] for row in led} == {*PLANES, "joint", "all"} and scores["snapshot"]["kimg"] == 1
    rows = {(row["metric"], row["contrast"]): row for row in scores["scores"]}
    first = rows["kd_indomain", "all"]
    assert (first["n_real"], first["n_subjects"], first["n_fake"]) == (6 * SLICES, 6, 48)
    assert first["low"] < first["value"] < first["high"] and first["floor_low"] < first["floor"] < first["floor_high"]
    assert first["value"] == pytest.approx(np.mean([rows["kd_indomain", plane]["value"] for plane in PLANES]))
    # Half of a head is like the other from above and from the front alone.
    assert {contrast for metric, contrast in rows if metric == "asymmetry"} == {*PLANES[:2], "all"}
    # Areas are of volumes and not of slices.
    assert rows["ms_ssim", "all"]["n_fake"] == 48 and rows["area_1", "seg"]["n_fake"] == 6
    masks = Store.open(judge / "store").images[:24, 1] == 1
    assert rows["area_1", "seg"]["floor"] == pytest.approx(100 * masks.mean())
    assert rows["copies_indomain", "all"]["n_fake"] == 48


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
    slices, probe = cut(heads(6, 1)), LikenessProbe(0, 0)
    for first in range(0, 6, batch):
        part = slices[first * SLICES : (first + batch) * SLICES]
        probe.add(Samples({name: part[:, place] for place, name in enumerate(PLANES)}, None, each=SLICES))
    row = next(row for row in probe.rows(panel.reference) if row["contrast"] == PLANES[1])
    volumes = slices[:, 1].reshape(6, SLICES, 16, 16)
    expected = [ms_ssim(volumes[place], volumes[place + 1]).mean() for place in (0, 2, 4)]
    assert row["value"] == pytest.approx(np.mean(expected)) and row["n_fake"] == 6 * SLICES


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


@pytest.mark.parametrize(("copied", "least", "most"), [(True, 0.9, 1), (False, 0, 0.3)])
def test_copies_of_training_volumes_are_found(copied, least, most, judge, panel):
    train = stored_to_uint8(Store.open(judge / "store").images[:24, :1])
    slices = cut(train if copied else heads(24, 9))
    probes = panel.probes(Protocol(bootstrap=0), META, 1)
    features, search = probes[0], next(probe for probe in probes if isinstance(probe, CopyProbe))
    batch = Samples({name: slices[:, place] for place, name in enumerate(PLANES)}, None, each=SLICES)
    features.add(batch)
    search.add(batch)
    assert least <= search.rates["either"].copies <= most
