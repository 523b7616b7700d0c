"""Reader studies: pages say nothing of the truth, and planted skill is what the numbers say."""

import base64
import io
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from reading import CLASSES, SIDE, SPLITS, data_of, make_study, write_answers
from scipy.stats import norm

from gan.__main__ import main
from gan.data.store import Store
from gan.errors import GanError
from gan.metrics.intervals import centred_interval
from gan.readers import agreement, power
from gan.readers.design import AGAIN, FIRST, WARM_UP
from gan.readers.match import ANY, Traits, every, matched
from gan.readers.measures import Draws, counts, measures
from gan.readers.pool import Contrasts
from gan.readers.questions import LEVELS, REAL, SYNTHETIC
from gan.readers.score import word
from gan.scales import stored_to_uint8

VARIANTS = ("plain", "fancy")
ASKED = ("--n", "9", "--readers", "2", "--warmup", "5")


def make(study, *words: str) -> int:
    return main(["readers", "make", "--study", str(study), "--variants", *VARIANTS, *ASKED, *words])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study with two variants and a reading of it."""
    study = make_study(tmp_path_factory.mktemp("made"), VARIANTS)
    assert make(study) == 0
    return study


@pytest.fixture
def reading(made, tmp_path):
    """A copy of the reading that a test may edit, with its ledger."""
    shutil.copytree(made / "readers", tmp_path / "readers")
    return tmp_path / "readers/heads"


def key_of(reading) -> dict:
    return json.loads((reading / "key.json").read_text())


def pages_of(reading) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted((reading / "pages").iterdir())}


def image_of(item: dict) -> bytes:
    return base64.b64decode(item["image"])


def call_by_skill(d_prime: float):
    """The decision of a reader of that skill without bias."""
    return lambda synthetic, rng: rng.normal() + (d_prime / 2 if synthetic else -d_prime / 2)


# Pages.


def test_a_page_holds_nothing_that_the_key_holds(made):
    reading, key = made / "readers/heads", key_of(made / "readers/heads")
    store = Store.open(made / "data/heads/store")
    secrets = {*VARIANTS, *CLASSES, "heads", "Doe", "runkey"}
    secrets |= {*store.index.subject, store.meta["sha256"]["images.npy"][:12]}
    for reader, text in pages_of(reading).items():
        without = re.sub(r'"image": "[^"]+"', "", text)
        assert [one for one in secrets if one in without] == []
        reading_data = data_of(text)
        assert {frozenset(item) for item in reading_data["items"]} == {
            frozenset({"id", "image"}),
            frozenset({"id", "image", "warmup"}),
        }
        assert [item["id"] for item in reading_data["items"]] == [one["id"] for one in key["readers"][reader]["items"]]
    whole = json.dumps(key)
    assert "Doe" not in whole and str(made) not in whole
    assert {one["patient"] for one in key["cases"] if one["kind"] == REAL} <= set(range(SPLITS["test"]))


def test_neither_size_nor_metadata_nor_order_tells_what_an_image_is(made):
    reading, key = made / "readers/heads", key_of(made / "readers/heads")
    orders = []
    for reader, text in pages_of(reading).items():
        items = data_of(text)["items"]
        assert len({len(item["image"]) for item in items}) == 1
        for item in items:
            image = Image.open(io.BytesIO(image_of(item)))
            chunks = re.findall(rb"(IHDR|IDAT|IEND|tEXt|iTXt|zTXt|tIME|pHYs|gAMA|eXIf)", image_of(item))
            assert image.size == (SIDE, SIDE) and image.mode == "L" and image.info == {}
            assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}
        keyed = key["readers"][reader]["items"]
        kinds = [key["cases"][one["case"]]["kind"] for one in keyed if one["role"] == FIRST]
        assert kinds != sorted(kinds) and kinds != sorted(kinds, reverse=True)
        by_name = [key["cases"][one["case"]]["kind"] for one in sorted(keyed, key=lambda one: one["id"])]
        assert by_name != sorted(by_name) and by_name != sorted(by_name, reverse=True)
        orders.append([one["case"] for one in keyed])
    assert orders[0] != orders[1] and set(orders[0]) == set(orders[1])


def test_what_is_shown_is_what_the_key_says(made):
    """Real images are slices of test patients, in the warm-up of validation patients; the others are the first."""
    key, text = key_of(made / "readers/heads"), pages_of(made / "readers/heads")["reader1"]
    store = Store.open(made / "data/heads/store")
    split = {stored_to_uint8(store.images[row, 0]).tobytes(): name for name in SPLITS for row in store.rows(name)}
    seen: dict[str, list[int]] = {name: [] for name in VARIANTS}
    for item, keyed in zip(data_of(text)["items"], key["readers"]["reader1"]["items"], strict=True):
        case = key["cases"][keyed["case"]]
        found = split.get(np.asarray(Image.open(io.BytesIO(image_of(item)))).tobytes())
        expected = "val" if keyed["role"] == WARM_UP else "test"
        assert found == (expected if case["kind"] == REAL else None)
        if case["kind"] == SYNTHETIC and keyed["role"] == FIRST:
            seen[case["variant"]].append(case["index"])
    assert all(sorted(indices) == list(range(9)) for indices in seen.values())
    roles = [one["role"] for one in key["readers"]["reader1"]["items"]]
    assert roles[:5] == [WARM_UP] * 5 and roles.count(FIRST) == 27 and roles.count(AGAIN) == 3


def test_equal_seeds_give_equal_bytes_and_another_reading_is_not_overwritten(made, tmp_path, capsys):
    before = {path: path.read_bytes() for path in sorted((made / "readers").rglob("*")) if path.is_file()}
    assert make(made) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert make(made, "--seed", "1") == 1
    error = capsys.readouterr().err
    assert "holds another reading" in error and error.count("\n") == 1
    assert {path: path.read_bytes() for path in before} == before
    assert make(made, "--seed", "1", "--name", "second", "--feedback", "--tell-share") == 0
    second = made / "readers/second"
    items = data_of(pages_of(second)["reader1"])["items"]
    truths = [item.get("truth") for item in items]
    assert truths[:5].count(REAL) == 2 and truths[:5].count(SYNTHETIC) == 3 and set(truths[5:]) == {None}
    key = key_of(second)
    kinds = [key["cases"][item["case"]]["kind"] for item in key["readers"]["reader1"]["items"][5:]]
    assert f"{kinds.count(REAL)} of the 30 are real" in pages_of(second)["reader1"]
    ledger = json.loads((made / "readers/ledger.json").read_text())
    assert [entry["reading"] for entry in ledger] == ["heads", "second"]
    shutil.rmtree(second)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--n", "1"), "--n is 1; allowed: from 2"),
        (("--n", "241"), "241 images requested, but test patients have 240 slices"),
        (("--dataset", "other"), "has no plain of data set other; there is none"),
        (("--training-seed", "3"), "has no plain seed 3 of data set heads; there is fancy seed 0, plain seed 0"),
        (("--contrast", "t2"), "--contrast t2: not in"),
        (("--warmup", "0", "--feedback"), "--feedback is of the warm-up"),
        (("--truncation", "2"), "--truncation is 2; allowed: 0 to 1"),
        (("--name", "../up"), "give the name of a folder"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(made, capsys, words, message):
    assert make(made, *words) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_cell_without_scores_is_refused(tmp_path, capsys):
    study = make_study(tmp_path, ("plain",))
    (study / "heads/plain/seed0/scores.json").unlink()
    assert main(["readers", "make", "--study", str(study), "--variants", "plain"]) == 1
    assert "heads/plain/s0: trained, not scored; readers see what has scores" in capsys.readouterr().err
    assert not (study / "readers").exists()


# Matching.


def test_real_images_match_in_position_and_class_with_as_few_of_a_patient_as_suffice():
    rng = np.random.default_rng(0)
    real = Traits(np.tile(np.linspace(0, 1, 11), 6), np.repeat([0, 0, 0, 1, 1, 1], 11))
    patients = np.repeat(np.arange(6), 11)
    wanted = Traits(np.array([0.1, 0.5, 0.9, 0.3, 0.7]), np.array([0, 0, 0, 1, ANY]))
    rows = matched(wanted, real, patients, rng, "test patients")
    assert np.abs(real.position[rows] - wanted.position).max() < 0.01
    assert (real.label[rows[:4]] == wanted.label[:4]).all()
    assert len(set(patients[rows])) == 5
    assert len(matched(every(wanted, 0), real, patients, rng, "test patients")) == 0
    many = Traits(rng.random(40), rng.integers(0, 2, 40))
    rows = matched(many, real, patients, rng, "test patients")
    assert len(set(rows)) == 40 and (real.label[rows] == many.label).all()
    assert np.abs(real.position[rows] - many.position).mean() < 0.1
    with pytest.raises(GanError, match="ask for fewer"):
        matched(Traits(np.full(34, 0.5), np.zeros(34, np.int64)), real, patients, rng, "test patients")


def test_contrasts_and_the_planes_of_volumes_are_side_by_side():
    contrasts = Contrasts(SimpleNamespace(meta={"spacing": [2.0, 1.0, 1.0]}), ("t1", "t2"))
    flat = np.stack([np.full((3, 5, 7), value, np.uint8) for value in (10, 20)], 1)
    shown = contrasts.pictures(flat)
    assert shown.shape == (3, 5, 16)
    assert np.unique(shown[:, :, :7]) == [10] and np.unique(shown[:, :, 9:]) == [20]
    assert contrasts.pictures(np.zeros((3, 2, 4, 8, 8), np.uint8)).shape == (3, 8, 6 * 8 + 5 * 2)


def test_what_is_matched_stands_for_all_variants():
    traits = Traits(np.linspace(0, 1, 30), np.repeat([0, 1], 15))
    chosen = every(traits, 10)
    assert (chosen.label == np.repeat([0, 1], 5)).all()
    assert np.allclose(np.diff(chosen.position), 3 / 29)


# Numbers.


def levels_of(rng: np.random.Generator, readers: int, shift: float, number: int) -> np.ndarray:
    return np.digitize(rng.normal(shift, 1, (readers, number)), [-1, -0.5, 0, 0.5, 1])


def study_of(rng: np.random.Generator, readers: int, number: int, d_prime: float, resamples: int):
    """Value and replicates of each measure of a simulated reading."""
    fake, real = (levels_of(rng, readers, shift, number) for shift in (d_prime / 2, -d_prime / 2))
    draws = Draws(readers, np.arange(number), {"v": number}, resamples, int(rng.integers(1 << 31)))
    once = np.ones((1, number))
    values = {name: float(of.mean()) for name, of in measures(counts(fake, once), counts(real, once)).items()}
    drawn = measures(counts(fake, draws.fake["v"]), counts(real, draws.real))
    return values, {name: draws.mean(of) for name, of in drawn.items()}


@pytest.mark.parametrize(("readers", "studies", "least", "most"), [(1, 200, 0.90, 0.985), (3, 80, 0.95, 1.0)])
def test_the_interval_of_guessers_holds_one_half(readers, studies, least, most):
    """One reader: 95 %. Both resamplings count the noise of an answer, so several readers get more."""
    rng, held = np.random.default_rng(5), 0
    for _ in range(studies):
        values, drawn = study_of(rng, readers, 60, 0.0, 200)
        low, high = centred_interval(values["accuracy"], drawn["accuracy"])
        held += low <= 0.5 <= high
    assert least <= held / studies <= most


def test_planted_skill_is_recovered():
    """d' = 1 has an accuracy of 0.69 and a ROC area of 0.76 without levels; six levels lose a little."""
    rng = np.random.default_rng(6)
    found = [study_of(rng, 3, 100, 1.0, 100) for _ in range(40)]
    mean = {name: np.mean([values[name] for values, _ in found]) for name in found[0][0]}
    assert mean["d_prime"] == pytest.approx(1.0, abs=0.05) and mean["criterion"] == pytest.approx(0, abs=0.03)
    assert mean["accuracy"] == pytest.approx(norm.cdf(0.5), abs=0.01)
    assert mean["roc_area"] == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.02)
    held = [
        low <= 1 <= high for low, high in (centred_interval(of["d_prime"], drawn["d_prime"]) for of, drawn in found)
    ]
    assert np.mean(held) >= 0.9


def test_measures_of_a_table_by_hand():
    fake, real = np.array([[0, 1, 0, 1, 2, 4]]), np.array([[3, 2, 1, 1, 1, 0]])
    found = {name: float(value[0]) for name, value in measures(fake.astype(float), real.astype(float)).items()}
    said, truth = np.repeat(np.arange(6), fake[0]), np.repeat(np.arange(6), real[0])
    wins = (said[:, None] > truth).mean() + (said[:, None] == truth).mean() / 2
    assert found["roc_area"] == pytest.approx(wins)
    assert found["sensitivity"] == pytest.approx(7 / 8) and found["specificity"] == pytest.approx(6 / 8)
    assert found["accuracy"] == pytest.approx(13 / 16)
    hit, alarm = norm.ppf(7.5 / 9), norm.ppf(2.5 / 9)
    assert found["d_prime"] == pytest.approx(hit - alarm)
    assert found["criterion"] == pytest.approx(-(hit + alarm) / 2)


def test_patients_are_drawn_whole():
    draws = Draws(3, np.array([4, 4, 4, 9, 9, 2]), {"v": 5}, 50, 0)
    assert (draws.real[:, :3] == draws.real[:, :1]).all() and (draws.real[:, 3] == draws.real[:, 4]).all()
    assert (draws.readers.sum(1) == 3).all() and (draws.fake["v"].sum(1) == 5).all()


def test_agreement_is_that_of_the_definitions():
    rng = np.random.default_rng(7)
    levels = np.clip(rng.integers(0, LEVELS, 30) + rng.integers(-1, 2, (3, 30)), 0, LEVELS - 1)
    once = np.ones(30)
    assert agreement.krippendorff(levels, LEVELS, once) == pytest.approx(alpha_by_pairs(levels))
    assert agreement.krippendorff(levels, LEVELS, np.stack([once, once * 2]))[0] == pytest.approx(
        alpha_by_pairs(levels)
    )
    # The table of Fleiss 1971 as given by Wikipedia: 14 raters, 10 subjects, 5 categories, kappa 0.210.
    votes = [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]]
    votes += [[7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
    raters = np.array([np.repeat(np.arange(5), row) for row in votes]).T
    assert agreement.fleiss(raters, 5, np.ones(10)) == pytest.approx(0.210, abs=5e-4)
    one, other = np.repeat([0, 0, 1, 1], [20, 5, 10, 15]), np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    assert agreement.cohen(one, other, 2) == pytest.approx(0.4)
    assert np.isnan(agreement.cohen(one * 0, one * 0, 2)) and np.isnan(agreement.fleiss(levels * 0, 2, once))


def alpha_by_pairs(levels: np.ndarray) -> float:
    """Krippendorff's alpha with ordinal distances, pair by pair."""
    said = np.bincount(levels.ravel(), minlength=LEVELS)

    def distance(one: int, other: int) -> float:
        low, high = sorted((one, other))
        return (said[low : high + 1].sum() - (said[low] + said[high]) / 2) ** 2

    readers = range(len(levels))
    within = [distance(c[i], c[j]) for c in levels.T for i in readers for j in readers if i != j]
    every_one = levels.ravel()
    among = [distance(a, b) for i, a in enumerate(every_one) for j, b in enumerate(every_one) if i != j]
    return 1 - np.mean(within) / np.mean(among)


def test_what_a_number_of_images_can_show():
    """The table of docs/readers.md."""
    assert [round(100 * power.shows(images)) for images in (60, 100, 200, 300)] == [45, 62, 89, 96]
    assert [power.needed(accuracy) for accuracy in power.DETECTED] == [194, 85, 47]
    assert all(power.detects(power.needed(one), one) == pytest.approx(0.8, abs=0.01) for one in power.DETECTED)


@pytest.mark.parametrize(
    ("low", "high", "bound", "expected"),
    [
        (0.45, 0.56, 0.55, "indistinguishable"),
        (0.51, 0.59, 0.58, "distinguished by little"),
        (0.55, 0.65, 0.64, "distinguished"),
        (0.45, 0.65, 0.63, "cannot say"),
        (0.30, 0.42, 0.41, "taken for real"),
    ],
)
def test_words(low, high, bound, expected):
    assert word(low, high, bound) == expected


# Answers.


def test_answers_become_a_report(reading, capsys):
    key = key_of(reading)
    paths = write_answers(reading, key, call_by_skill(6.0))
    assert main(["readers", "score", str(reading / "key.json"), *map(str, paths)]) == 0
    shown = capsys.readouterr().out
    assert "For these 2 readers distinguished from real images." in shown
    result = json.loads((reading / "reading.json").read_text())
    rows = {(row["variant"], row["reader"], row["measure"]): row for row in result["rows"]}
    for variant in VARIANTS:
        assert result["variants"][variant]["word"] == "distinguished"
        accuracy = rows[variant, "all", "accuracy"]
        assert accuracy["value"] > 0.95 and accuracy["low"] < 0.96 and accuracy["high"] >= accuracy["value"]
        assert rows[variant, "reader1", "sensitivity"]["low"] < 0.95  # Wilson: 9 of 9 prove little
    assert result["agreement"]["fleiss_kappa"]["value"] > 0.9
    assert [one["images"] for one in result["agreement"]["again"]] == [3, 3]
    assert result["recorded_before"] and "before the first answer (2999-01-01T08:00:00+00:00)" in shown
    assert set(result["sha256"]) == {"key", "answers-reader1.json", "answers-reader2.json"}
    assert len((reading / "reading.csv").read_text().splitlines()) == len(rows) + 1
    assert "# Real or synthetic?" in (reading / "reading.md").read_text()


def test_answers_are_counted_by_the_key_and_the_first_time(reading):
    """Each reader is right about all, and wrong when an image comes again."""
    key = key_of(reading)
    paths = write_answers(reading, key, call_by_skill(50.0))
    for path, reader in zip(paths, key["readers"], strict=True):
        content = json.loads(path.read_text())
        for said, item in zip(content["answers"], key["readers"][reader]["items"], strict=True):
            if item["role"] != FIRST:
                said["call"] = REAL if said["call"] == SYNTHETIC else SYNTHETIC
        content["answers"].reverse()
        path.write_text(json.dumps(content))
    assert main(["readers", "score", str(reading / "key.json"), *map(str, reversed(paths))]) == 0
    result = json.loads((reading / "reading.json").read_text())
    assert {row["value"] for row in result["rows"] if row["measure"] == "accuracy"} == {1.0}
    assert [one["same"] for one in result["agreement"]["again"]] == [0.0, 0.0]
    assert result["readers"] == ["reader1", "reader2"]


def edited(path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one["answers"].pop(7), "1 of 35 images have no answer ("),
        (lambda one: one.update(page="0" * 12), "answers to a page of another key"),
        (lambda one: one.update(format="x"), "not the answers of a reader"),
        (lambda one: one["answers"].append(one["answers"][0]), "or is there twice"),
        (lambda one: one["answers"][3].update(id="else"), "image else is not one of reader1's"),
        (lambda one: one["answers"][3].update(confidence=4), "confidence is 4"),
        (lambda one: one["answers"][3].update(call="maybe"), "call is 'maybe'"),
        (lambda one: one["answers"][3].update(realism=True), "realism is True"),
        (lambda one: one["answers"][3].update(cues=["taste"]), "cues are ['taste']"),
        (lambda one: one["answers"][3].update(ms=-1), "ms is -1"),
        (lambda one: one.update(started="noon"), "started is 'noon'"),
    ],
)
def test_answers_that_do_not_fit_are_refused_by_name(reading, capsys, change, message):
    paths = write_answers(reading, key_of(reading), call_by_skill(0.0))
    edited(paths[0], change)
    assert main(["readers", "score", str(reading / "key.json"), *map(str, paths)]) == 1
    error = capsys.readouterr().err
    assert f"error: {paths[0]}: " in error and message in error and error.count("\n") == 1
    assert not (reading / "reading.json").exists()


def test_a_reader_counts_once_and_the_key_is_the_one_that_was_recorded(reading, capsys):
    key, paths = reading / "key.json", write_answers(reading, key_of(reading), call_by_skill(0.0))
    again = shutil.copy(paths[0], reading / "again.json")
    assert main(["readers", "score", str(key), str(paths[0]), str(again)]) == 1
    assert f"{again}: answers of reader1, as {paths[0]}; give one file of each reader" in capsys.readouterr().err
    edited(paths[0], lambda content: content.update(started="2001-01-01T08:00:00.000Z"))
    assert main(["readers", "score", str(key), str(paths[0])]) == 0
    assert "but the first answer is of 2001-01-01T08:00:00+00:00" in capsys.readouterr().out
    edited(key, lambda content: content["cases"][0].update(kind=SYNTHETIC))
    assert main(["readers", "score", str(key), str(paths[0])]) == 1
    assert "has another sha256 than" in capsys.readouterr().err
    (reading.parent / "ledger.json").unlink()
    assert main(["readers", "score", str(key), str(paths[0])]) == 0
    assert "There is no ledger next to the key" in capsys.readouterr().out
    assert main(["readers", "score", str(paths[0]), str(paths[0])]) == 1
    assert "not the key of a reading" in capsys.readouterr().err
