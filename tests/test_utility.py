"""Utility and anatomy, by truths that were planted: discs that a network finds, arms that have to agree or to fail."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax

from gan.data.store import Store, writing
from gan.errors import GanError
from gan.families.contract import ImageShape
from gan.families.registry import build, defaults
from gan.files import write_json
from gan.metrics.contrast import Mean, Ranked, compare, draws, exchanges, filled, sign_flips
from gan.metrics.overlap import dice, dice_of_images, hausdorff95
from gan.metrics.shapes import perimeter, shapes
from gan.report import two_sample
from gan.sampling.snapshot import Snapshot, save_generator
from gan.utility import anatomy, order, scores
from gan.utility.arms import sources
from gan.utility.cell import score_cell
from gan.utility.images import Labelled, Real, Scan, as_generated, detected, read_split, scan_spacing, scramble
from gan.utility.options import ARMS, CLASSIFY, DETECT, ORDER, SEGMENT, TWO_SAMPLE, Settings, no_task, tasks_of
from gan.utility.reference import REFERENCE, Setting, load_network, make_reference, read_settings
from gan.utility.training import Made, augmented, labels_of, shares, train
from gan.utility.two_sample import shared, told_apart

CPU, SIZE, SLICES = torch.device("cpu"), 32, 6
DISCS = {"disc": [1]}


def disc(size: int, centre: tuple[float, float], radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def patients(count: int, seed: int, classes: int = 2) -> Real:
    """Patients of a few slices with a bright disc at a place of their own; the discs of class 1 are brighter."""
    rng = np.random.default_rng(seed)
    pixels, masks, subjects = [], [], np.repeat(np.arange(count), SLICES)
    for patient in range(count):
        centre, radius = rng.uniform(6, 26, 2), rng.uniform(3, 5)
        for _ in range(SLICES):
            mask = disc(SIZE, centre + rng.normal(0, 0.5, 2), radius)
            level = 100 + 90 * (patient % classes)
            pixels.append((50 + level * mask + rng.normal(0, 8, mask.shape)).clip(0, 255).astype(np.uint8))
            masks.append(mask.astype(np.uint8))
    places = np.tile(np.linspace(0.2, 0.8, SLICES), count)
    images = Labelled(np.stack(pixels)[:, None], np.stack(masks), subjects % classes, places)
    scans = [[Scan(np.flatnonzero(subjects == p), np.arange(SLICES), (3.0, 1.0, 1.0))] for p in range(count)]
    return Real(images, scans, subjects)


@pytest.fixture(scope="module")
def real() -> dict[str, Real]:
    return {"train": patients(10, 0), "val": patients(4, 1), "test": patients(8, 2)}


@pytest.fixture(scope="module")
def segment(real) -> Setting:
    return Setting(SEGMENT, Made(SEGMENT, 1, 2, 8), DISCS, 1, [], real)


@pytest.fixture(scope="module")
def reference(segment, tmp_path_factory):
    """The arms of real images, trained in few steps."""
    folder = tmp_path_factory.mktemp("reference")
    make_reference(segment, ["oracle", "scrambled"], Settings(steps=60, batch=8), 0, folder, "cpu")
    return folder


def mean_dice(found: dict) -> float:
    return float(np.mean(found["dice"]))


# the planted truths of the arms


def test_discs_are_found_in_few_steps_and_controls_do_what_they_must(reference):
    arms = json.loads((reference / REFERENCE).read_text())["arms"]
    real = mean_dice(arms["real"])
    assert real > 0.95
    assert mean_dice(arms["oracle"]) == pytest.approx(real, abs=0.02)
    assert mean_dice(arms["scrambled"]) < 0.1


def test_unseen_patients_in_the_place_of_generated_images_are_what_held_is_trained_on(real):
    held = sources("held", real["train"], 0, held=real["val"])
    assert held == sources("mixed_50", real["train"], 0, made=real["val"].images)
    assert [share for _, share in held] == [0.5, 0.5]
    with pytest.raises(GanError, match=r"utility.arms: synthetic has no images"):
        sources("synthetic", real["train"], 0)


def test_equal_seeds_give_equal_bytes(segment, tmp_path):
    small = replace(segment, made=Made(SEGMENT, 1, 2, 2))
    for name, seed in (("one", 3), ("other", 3), ("third", 4)):
        make_reference(small, [], Settings(steps=2, batch=4), seed, tmp_path / name, "cpu")
    files = [(tmp_path / name / "network.pt").read_bytes() for name in ("one", "other", "third")]
    assert files[0] == files[1] != files[2]


def test_scrambled_images_have_masks_and_classes_of_other_patients(real):
    train_split = real["train"]
    mixed = scramble(train_split, 0)
    own = dice_of_images(train_split.images.masks > 0, mixed.masks > 0)
    assert own.max() < 0.9, "no image keeps the mask of its patient"
    for code in range(len(train_split.patients)):
        assert len(set(mixed.classes[train_split.subjects == code])) == 1, "a patient has one class"
    assert sorted(mixed.classes) == sorted(train_split.images.classes)


def test_slices_with_a_tumour_are_told_from_those_without_and_its_controls_do_what_they_must(real):
    """Of each patient every second slice has a disc in the mask and the image."""

    def every_second(of: Real) -> Real:
        there = (np.arange(len(of.images)) % 2)[:, None, None]
        pixels = np.where(there[:, None] * of.images.masks[:, None], of.images.pixels, 50).astype(np.uint8)
        return replace(of, images=detected(replace(of.images, pixels=pixels, masks=of.images.masks * there), 1))

    splits = {split: every_second(of) for split, of in real.items()}
    assert splits["test"].images.classes.tolist() == [0, 1] * (4 * SLICES)
    found = {}
    for arm in ("real", "scrambled"):
        given = sources(arm, splits["train"], 0, by_image=True)
        network = train(Made(DETECT, 1, 2, 4), given, Settings(steps=30, batch=8), 0, CPU)
        found[arm] = np.array(scores.score(DETECT, network, splits["test"], {}, CPU)["logits"])
    truth = splits["test"].images.classes
    assert areas(found["real"], truth, splits["test"].subjects)[0] > 0.95
    # By ranks alone a network without knowledge may find two groups of images in either order.
    own = {arm: softmax(logits, 1)[np.arange(len(truth)), truth].mean() for arm, logits in found.items()}
    assert own["scrambled"] == pytest.approx(0.5, abs=0.1) and own["real"] > 0.65


def test_new_patients_cannot_be_told_from_real_ones_and_images_with_a_habit_can(real):
    many = patients(12 * SLICES, 9).images
    new = many.take(np.arange(len(many)).reshape(-1, SLICES).T.ravel()[: 18 * SLICES])  # each image of another patient
    smooth = replace(new, pixels=(new.pixels // 32 * 32).astype(np.uint8))  # as if it could make few grey values
    setting = Setting(TWO_SAMPLE, Made(TWO_SAMPLE, 1, 2, 4), {}, 0, ["real", "generated"], real)
    found = {}
    for name, images in {"new": new, "smooth": smooth}.items():
        facts = told_apart(setting, images, Settings(steps=40, batch=8), 0, CPU)
        assert [len(of) for of in facts["real"]] == [SLICES] * 8 and len(facts["generated"]) == 8 * SLICES
        found[name] = float(two_sample.outcome(facts).values(np.arange(8 + 8 * SLICES)[None])[0])
    assert found["new"] == pytest.approx(0.5, abs=0.2) and found["smooth"] > 0.95
    few = [len(part) for part in shared(new.take(np.arange(20)), 60, 20)]
    assert few == [15, 5], "of fixed images, which may be too few"


def test_the_way_of_generated_images_changes_no_pixel(real):
    images = real["train"].images
    made = as_generated(images, 1, 0)
    mixed = images.take(np.random.default_rng([0, 7]).permutation(len(images)))
    for kind in ("pixels", "masks", "classes", "positions"):
        assert np.array_equal(getattr(made, kind), getattr(mixed, kind)), kind


@pytest.mark.parametrize(
    ("wanted", "batch", "counts"),
    [([1.0], 16, [16]), ([0.5, 0.5], 16, [8, 8]), ([0.75, 0.25], 16, [12, 4]), ([0.25, 0.75], 2, [0, 2])],
)
def test_batches_have_the_shares_of_their_arm(wanted, batch, counts):
    assert shares(wanted, batch) == counts


def test_augmentation_moves_image_and_mask_alike():
    mask = torch.from_numpy(disc(SIZE, (14, 18), 6)).long()[None].repeat(8, 1, 1)
    pixels, masks = augmented(mask[:, None].float(), mask, torch.Generator().manual_seed(0))
    agree = dice_of_images(masks.numpy() > 0, pixels[:, 0].numpy() > 0.5)
    assert agree.min() > 0.9 and not torch.equal(masks, mask)


# scores of patients


@pytest.mark.parametrize("shift", [2, 5, 9])
def test_dice_of_shifted_discs_has_its_closed_form(shift):
    """Two discs of radius R whose centres are d apart overlap in 2 R^2 acos(d / 2R) - d / 2 sqrt(4 R^2 - d^2)."""
    radius, size = 60, 256
    one, other = (disc(size, (128, 100 + moved), radius) for moved in (0, 6 * shift))
    d = 6 * shift
    overlap = 2 * radius**2 * math.acos(d / (2 * radius)) - d / 2 * math.sqrt(4 * radius**2 - d**2)
    assert dice(one, other) == pytest.approx(overlap / (math.pi * radius**2), abs=0.01)
    assert dice_of_images(one[None], other[None])[0] == dice(one, other)


def test_hausdorff_distance_is_in_mm_along_each_axis():
    cube = np.zeros((12, 12, 12), bool)
    cube[3:6, 3:6, 3:6] = True
    for axis, mm in enumerate((3.0, 1.0, 0.5)):
        assert hausdorff95(cube, np.roll(cube, 2, axis), (3.0, 1.0, 0.5)) == pytest.approx(2 * mm)
    assert hausdorff95(cube, cube, (3.0, 1.0, 0.5)) == 0
    assert hausdorff95(cube, ~cube & False, (3.0, 1.0, 0.5)) == pytest.approx(math.hypot(36, 12, 6))
    nothing = cube & False
    assert math.isnan(hausdorff95(nothing, nothing, (1, 1, 1))) and math.isnan(dice(nothing, nothing))


def test_a_patient_is_scored_over_all_slices(real):
    test = real["test"]
    found = test.images.masks.copy()
    found[test.subjects == 0] = 0
    first = np.flatnonzero(test.subjects == 1)
    found[first[:3]] = 0
    got = scores.agreement(test, found, DISCS)
    voxels = [np.count_nonzero(test.images.masks[rows]) for rows in (first[3:], first)]
    assert got["dice"][:3, 0] == pytest.approx([0, 2 * voxels[0] / sum(voxels), 1])
    assert got["hd95"][0, 0] == pytest.approx(math.hypot(18, 32, 32)) and got["hd95"][2, 0] == 0
    assert scores.empty(test, {"disc": [1], "nothing": [2]}) == [0, 8]


def areas(logits, classes, subjects=None):
    """Area under the curve and balanced accuracy of all patients."""
    count = len(classes) if subjects is None else max(subjects) + 1
    everyone = np.arange(count)[None]
    who = None if subjects is None else np.array(subjects)
    return [float(Ranked(logits, np.array(classes), area, who).values(everyone)[0]) for area in (True, False)]


def test_areas_under_the_curve():
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    assert areas(np.stack([-scores, scores], 1), [0, 0, 1, 1])[0] == 0.75
    assert areas(np.ones((4, 2)), [0, 0, 1, 1])[0] == 0.5 and math.isnan(areas(np.ones((4, 2)), [1, 1, 1, 1])[0])
    logits = np.array([[2, 0.0], [0, 1], [1, 3], [0, 4]])
    assert areas(logits, [0, 0, 1, 1]) == [1, 0.75]
    three = 9 * np.eye(3)[[0, 1, 2, 0]]
    assert areas(three, [0, 1, 2, 0])[0] == 1 and areas(three, [1, 2, 0, 1])[0] < 0.5


def test_every_patient_counts_equally_however_many_slices_there_are():
    """Patient 0 has slices with and without a tumour, 1 with alone, 2 without alone: four pairs of patients."""
    scores, classes, subjects = np.array([3.0, 1.0, 2.0, 0.0, 4.0]), [1, 0, 1, 0, 0], [0, 0, 1, 2, 2]
    logits = np.stack([-scores, scores], 1)
    area, accuracy = areas(logits, classes, subjects)
    assert area == np.mean([1, 0.5, 1, 0.5]), "0 over 0, 0 over 2, 1 over 0, 1 over 2"
    assert accuracy == np.mean([1, np.mean([0, 0.5])]), "all scores above 0 say tumour"
    often = [0, 1, 2, 3, 4, 3, 4, 3, 4]
    assert areas(logits[often], np.array(classes)[often], np.array(subjects)[often]) == pytest.approx([area, accuracy])
    drawn = Ranked(logits, np.array(classes), True, np.array(subjects)).values(np.array([[1, 1, 2], [2, 2, 2]]))
    assert drawn[0] == 0.5 and math.isnan(drawn[1]), "a patient with, two without; nobody with"


# differences between arms


def test_differences_of_equal_arms_are_nothing_and_of_others_what_was_planted():
    rng = np.random.default_rng(0)
    ease = rng.uniform(0.4, 0.9, 20)
    real = [Mean(ease + rng.normal(0, 0.01, 20)) for _ in range(3)]
    worse = [Mean(one.of - 0.2) for one in real]
    drawn = draws(20, 200, 0)
    assert compare(real, real, drawn).value == 0 and compare(real, real, drawn).deviation == 0
    found = compare(worse, real, drawn)
    assert found.value == pytest.approx(-0.2) and found.deviation < 1e-9, "what makes a patient easy cancels"
    assert sign_flips(np.full(20, -0.2), 0) < 0.001 and sign_flips(np.zeros(20), 0) == 1
    assert sign_flips(np.array([0.1, 0.1, 0.1, np.nan]), 0) == 2 / 8


def test_sign_flips_and_exchanges_find_something_in_five_per_cent_where_nothing_is():
    rng = np.random.default_rng(1)
    found = [sign_flips(rng.normal(0, 1, 10), seed) for seed in range(200)]
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.09
    classes = np.arange(6) % 2
    swapped = [exchanges([rng.normal(0, 1, (6, 2))], [rng.normal(0, 1, (6, 2))], classes, 0) for _ in range(30)]
    assert np.mean(np.array(swapped) < 0.05) <= 0.2
    told = classes[:, None] * np.array([[-3.0, 3.0]]) + rng.normal(0, 0.1, (6, 2))
    assert exchanges([told], [-told], classes, 0) == 2 / 2**6
    # Of slices whole patients are exchanged: 40 slices of 4 patients give no smaller p than 4 patients can.
    slices, subjects = np.arange(40) % 2, np.arange(40) // 10
    sure = slices[:, None] * np.array([[-3.0, 3.0]]) + rng.normal(0, 0.1, (40, 2))
    assert exchanges([sure], [-sure], slices, 0, subjects) == 2 / 2**4


def test_a_false_find_counts_although_the_other_arm_left_the_patient_out():
    arm, real = filled(np.array([[0.0], [np.nan], [0.7]]), np.array([[np.nan], [np.nan], [0.6]]), 1.0)
    assert real[0, 0] == 1 and np.isnan(arm[1, 0]) and np.isnan(real[1, 0]) and arm[2, 0] == 0.7


def test_draws_of_patients_keep_the_classes():
    strata = np.array([0, 0, 0, 1, 1])
    assert (np.sort(strata[draws(5, 50, 0, strata)], 1) == strata).all()
    assert Ranked(np.eye(2)[strata], strata).values(draws(5, 1, 0, strata)) == [1]


# anatomy


@pytest.fixture(scope="module")
def fits(segment, reference):
    network = load_network(reference / "network.pt", CPU)

    def ask(made: Labelled) -> dict:
        return anatomy.mask_fit(segment, network, made, CPU)["disc"]

    return ask


def test_masks_of_new_patients_fit_as_those_of_real_ones_and_shuffled_ones_as_shuffled_real_ones(real, fits):
    unseen = patients(8, 5).images
    good = fits(unseen)
    assert good["value"] == pytest.approx(good["real"], abs=0.03) and not good["refused"]
    assert abs(good["difference"]) < 3 * good["deviation"] + 0.02
    others = unseen.masks[np.random.default_rng(0).permutation(len(unseen))]
    shuffled = fits(replace(unseen, masks=others))
    expected = np.nanmean(dice_of_images(unseen.masks > 0, others > 0))
    assert shuffled["value"] == pytest.approx(expected, abs=0.05) and shuffled["difference"] < -0.5


def test_a_network_that_is_poor_on_real_patients_judges_nothing(segment):
    blind = segment.made.build().eval()
    torch.nn.init.zeros_(blind.last.weight)
    with torch.no_grad():
        blind.last.bias.copy_(torch.tensor([1.0, 0.0]))
    found = anatomy.mask_fit(segment, blind, segment.real["val"].images, CPU)["disc"]
    assert found["refused"] and found["real"] == 0 and found["value"] is None


def test_shapes_of_masks_have_their_closed_forms(segment):
    assert perimeter(disc(128, (64, 64), 40)) == pytest.approx(2 * math.pi * 40, rel=0.02)
    two = disc(128, (30, 30), 20) | disc(128, (90, 90), 20)
    found = shapes(np.stack([disc(128, (64, 64), 40), two, np.zeros_like(two), disc(128, (0, 64), 30)]))
    assert found["area"][0] == pytest.approx(100 * math.pi * 40**2 / 128**2, rel=0.01) and len(found["area"]) == 3
    assert found["pieces"].tolist() == [1, 2, 1]
    assert found["compactness"][:2] == pytest.approx([1, 0.5], abs=0.05)
    assert found["border"][0] == 0 and found["border"][2] > 0.02
    same = anatomy.mask_shapes(segment, segment.real["train"].images)["disc"]
    assert all(of["value"] == 0 and of["floor"] > 0 for name, of in same.items() if name in ("area", "compactness"))


def test_copied_masks_are_found_and_new_ones_are_not(segment):
    copied = anatomy.mask_copies(segment, segment.real["train"].images)
    assert copied["copies"] > 0.9, "the masks of training patients themselves"
    new = anatomy.mask_copies(segment, patients(20, 9).images)
    assert new["low"] <= 0.02 and new["copies"] < 0.1 and new["n_fake"] == 20 * SLICES


def test_a_generator_that_ignores_the_class_is_found(real):
    classify = Setting(CLASSIFY, Made(CLASSIFY, 1, 2, 4), {}, 1, ["dark", "bright"], real)
    network = train(classify.made, [(real["train"].images, 1.0)], Settings(steps=60), 0, CPU)
    found = scores.score(CLASSIFY, network, real["test"], {}, CPU)
    assert areas(np.array(found["logits"]), scores.classes_of(real["test"]))[0] > 0.95
    told = anatomy.class_accuracy(classify, network, patients(8, 5).images, CPU)
    assert told["value"] > 0.8 and told["real"] > 0.8 and np.trace(told["confusion"]) > 38
    made = patients(8, 5, classes=1).images  # dark ones alone
    ignoring = replace(made, classes=np.arange(len(made)) % 2)
    assert anatomy.class_accuracy(classify, network, ignoring, CPU)["value"] == pytest.approx(0.5, abs=0.05)


def slices_of_a_ball(count: int, seed: int) -> Real:
    """Patients whose slices show by the size of a disc where they lie; the lower and the upper half are two parts."""
    of = patients(count, seed)
    noise = np.random.default_rng(seed).normal(0, 5, of.images.pixels.shape)
    grey = np.stack([50 + 150 * disc(SIZE, (16, 16), 3 + 11 * place) for place in of.images.positions])
    pixels = (grey[:, None] + noise).clip(0, 255).astype(np.uint8)
    return replace(of, images=replace(of.images, pixels=pixels, classes=(of.images.positions > 0.5).astype(np.int64)))


def test_slices_that_lie_elsewhere_or_in_another_part_than_asked_are_found():
    real = {"train": slices_of_a_ball(10, 0), "val": slices_of_a_ball(4, 1), "test": slices_of_a_ball(8, 2)}
    setting = Setting(ORDER, Made(ORDER, 1, 1, 4), {}, 0, ["lower", "upper"], real)
    network = train(setting.made, [(real["train"].images, 1.0)], Settings(steps=60, batch=8), 0, CPU)
    new = slices_of_a_ball(8, 3).images
    lower = new.take(np.flatnonzero(new.positions < 0.5))
    turned = replace(new, classes=1 - new.classes)
    good, half, wrong = (order.judge_order(setting, network, made, CPU) for made in (new, lower, turned))
    assert not good["refused"] and good["real"] < 0.1 and good["middle"] == pytest.approx(0.18)
    assert good["value"] < good["floor"] + 0.03 and good["quarters"] == pytest.approx([0.25] * 4, abs=0.13)
    assert half["value"] == pytest.approx(0.18, abs=0.06) and sum(half["quarters"][:2]) > 0.9
    assert abs(good["asked"]["difference"]) < 0.05 and wrong["asked"]["difference"] > 0.15
    blind = replace(setting.made).build().eval()
    torch.nn.init.zeros_(blind.last.weight)
    assert order.judge_order(setting, blind, new, CPU)["refused"]


# what has a task


@pytest.mark.parametrize(
    ("data", "options", "found"),
    [
        ({"mask": "seg"}, {}, [SEGMENT]),
        ({"mask": "seg", "labels": "folder"}, {"conditional": True}, [SEGMENT, CLASSIFY]),
        ({"mask": "seg", "detect": 0}, {}, [SEGMENT, DETECT]),
        ({"mask": None, "labels": "folder"}, {"conditional": False}, []),
        ({"mask": None, "labels": {"slice": 3}}, {"conditional": True}, []),
        ({"mask": "seg", "translate": {"source": ["a"], "target": ["b"]}}, {}, []),
        ({"mask": "seg", "volumes": {"size": 32}}, {}, []),
    ],
)
def test_tasks_of_a_variant(data, options, found):
    also = [] if "translate" in data or "volumes" in data else [ORDER, TWO_SAMPLE]
    assert tasks_of(data, options, [TWO_SAMPLE, ORDER]) == found + also
    assert tasks_of(data | {"layout": "images"}, options, [ORDER]) == found, "pictures have no order"
    assert tasks_of(data, options) == found and bool(no_task(data, options)) != bool(found)


def test_arms_are_shares_of_a_batch():
    assert all(0 < arm.share <= 1 and not (arm.generated and arm.control) for arm in ARMS.values())
    assert set(Settings.names()) == {"steps", "batch", "width"}


def test_labels_of_large_images_keep_their_size():
    network = Made(SEGMENT, 1, 3, 2).build().eval()
    assert labels_of(network, np.zeros((2, 1, 21, 35), np.uint8), CPU).shape == (2, 21, 35)


# from the files of a cell to utility.json


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """A store of two classes with discs as masks, its volumes, and a cell whose conditional generator is untrained."""
    folder = tmp_path_factory.mktemp("study")
    rows, images = [], []
    for split, names in {"train": "abcd", "val": "ef", "test": "ghij"}.items():
        real = patients(len(names), len(images))
        for place, subject in enumerate(real.subjects):
            grey, mask = real.images.pixels[place, 0].astype(np.uint16) * 257, real.images.masks[place]
            images.append(np.stack([grey, mask.astype(np.uint16)])[:, 8:24, 8:24])
            row = {"subject": f"Doe-{names[subject]}", "slice": 2 * (place % SLICES), "split": split}
            rows.append(row | {"label": ("low", "high")[real.images.classes[place]]})
    index = pd.DataFrame(rows).assign(position=0.5, fraction=0.5, kept=True, reason="", row=range(len(rows)))
    subjects = index[["subject", "split"]].drop_duplicates().assign(pixel_spacing="2x1.5")
    meta = {
        "channels": ["t1", "disc"],
        "mask": "disc",
        "labels": ["low", "high"],
        "label_of": "subject",
        "dataset": "discs",
    }
    meta |= {"axis": "coronal", "reference": "t1", "filter": {"every": 2}}
    with writing(folder / "store", images[0].shape) as writer:
        writer.append(np.stack(images))
        writer.finish(index, subjects, meta)
    (folder / "volumes").mkdir()
    volumes = subjects.assign(contrast="t1", spacing="1x4x2")[["subject", "contrast", "spacing"]]
    volumes.to_csv(folder / "volumes/volumes.csv", index=False)
    torch.manual_seed(0)
    options, shape = defaults("dcgan") | {"z_dim": 8, "channels": 4, "conditional": True}, ImageShape(2, (16, 16), 2, 1)
    network = build("dcgan", options, shape, 8).generator
    data = meta | {"label_counts": [12, 12], "full_scale": [65535, 1]}
    (folder / "cell").mkdir()
    save_generator(folder / "cell/generator.pt", Snapshot(network, "dcgan", options, shape, 8, 1.0, "abc", data))
    write_json(folder / "cell/recipe.json", {"data": {"dataset": "discs"}, "variant": {"name": "dcgan"}, "seed": 5})
    write_json(folder / "cell/scores.json", {"snapshot": {"kimg": None}})
    return folder


def test_a_cell_is_scored_in_all_tasks_and_names_no_patient(cell):
    how, folders, tasks = Settings(steps=2, batch=4, width=2), {}, [SEGMENT, CLASSIFY, DETECT]
    settings = read_settings(cell / "store", cell / "volumes", [*tasks, ORDER, TWO_SAMPLE], how, detect=18)
    for task, setting in settings.items():
        if task == TWO_SAMPLE:
            continue
        folders[task] = cell / task
        make_reference(setting, ["held", "scrambled"], how, 5, folders[task], "cpu")
    score_cell(cell / "cell", folders, settings, ["synthetic", "mixed_50"], how, device="cpu")
    text = (cell / "cell/utility.json").read_text()
    found = json.loads(text)
    assert (found["seed"], found["run_key"], list(found["tasks"])) == (5, "abc", tasks) and "Doe" not in text
    for task, facts in found["tasks"].items():
        assert list(facts["arms"]) == ["real", "held", "scrambled", "synthetic", "mixed_50"], task
        assert facts["n_fake"] == 4 * SLICES and facts["numbers"]["test"] == {"patients": 4, "images": 4 * SLICES}
    assert found["tasks"][SEGMENT]["regions"] == {"disc": [1]} and found["tasks"][CLASSIFY]["truth"] == [0, 1, 0, 1]
    detect = found["tasks"][DETECT]
    covered = (settings[SEGMENT].real["test"].images.masks > 0).mean((1, 2))
    assert detect["truth"] == (covered > 0.18).astype(int).tolist() and 0 < sum(detect["truth"]) < 4 * SLICES
    assert (
        detect["classes"] == ["without disc", "with disc"] and len(detect["arms"]["mixed_50"]["logits"]) == 4 * SLICES
    )
    assert np.sum(detect["judge"]["classes"]["confusion"]) == 4 * SLICES
    known = json.loads((folders[ORDER] / REFERENCE).read_text())
    assert list(known["arms"]) == ["real"] and len(known["arms"]["real"]["error"]) == 4
    assert {"n_fake": 4 * SLICES, "patients": 4}.items() <= found[ORDER].items()
    told = found[TWO_SAMPLE]
    assert (len(told["generated"]), told["trained_on"]) == (4 * SLICES, {"train": 4, "images": 4 * SLICES})
    score_cell(cell / "cell", folders, settings, ["synthetic", "mixed_50"], how, device="cpu")
    assert (cell / "cell/utility.json").read_text() == text, "equal seeds, equal bytes"


def test_a_scan_has_the_spacing_of_its_axis_and_of_every_second_slice(cell):
    opened = Store.open(cell / "store")
    real = read_split(opened, "test", scan_spacing(opened, cell / "volumes"))
    (scan,) = real.patients[0]
    assert scan.spacing == (8.0, 2.0, 1.5) and scan.depths.tolist() == list(range(SLICES))


def test_a_damaged_network_and_empty_masks_are_one_line(cell, tmp_path):
    (tmp_path / "network.pt").write_bytes(b"no network")
    with pytest.raises(GanError, match=r"network\.pt: not a network of utility, or a broken one; delete it"):
        load_network(tmp_path / "network.pt", CPU)
    broken = Store.open(cell / "store")
    broken.images = np.zeros_like(broken.images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "open", lambda folder: broken)
        with pytest.raises(GanError, match="the masks of its training images are empty; there is nothing to segment"):
            read_settings(cell / "store", cell / "volumes", [SEGMENT], Settings())
        with pytest.raises(GanError, match="no train slice is with disc on more than 1 % of it; change detect in the"):
            read_settings(cell / "store", cell / "volumes", [DETECT], Settings(), detect=1)
