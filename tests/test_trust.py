"""What is said of the variant that leads: copies, few different images, far from real; and where it is said."""

import pandas as pd
import pytest
from fake_study import cells_with, score, write

from gan.answer import answer
from gan.report import write_report
from gan.report.table import comparison, scores
from gan.report.trust import of_variants

KD = "kd_indomain"
POWER = {"unchanged": 1.0, "blur of 1 px": 0.96, "mirrored left to right": 0.4}


def search(copies, low, high, near=3):
    found = {"copies": copies, "low": low, "high": high, "alpha": 0.01, "n_fake": 1000, "patients": 53}
    found["control"] = {"either": [0.011, 0.004, 0.02]}
    return found | {"patients_near": near, "power": {"either": POWER}}


def kd(value, low=None):
    row = score(KD, value)
    return row | ({} if low is None else {"above_floor_low": low})


def trust_of(tmp_path, rows, copies=None, events=()):
    (cell,) = cells_with(tmp_path, a=[rows])
    if copies:
        write(cell, "copies.json", copies)
    with open(cell.folder / "stats.jsonl", "a", encoding="utf-8") as file:
        file.writelines(f'{{"event": "{event}", "message": "x", "kimg": 3}}\n' for event in events)
    return of_variants(comparison(scores([cell])), [cell], {"set": KD})["set", "a"]


@pytest.mark.parametrize(
    ("found", "warning", "says"),
    [
        (search(0.12, 0.09, 0.16), ["copies patients"], "12 % of the images (95 % interval 9 % to 16 %) are copies"),
        (search(0.01, 0.004, 0.02), ["may copy patients"], "Some images may be copies"),
        (search(0.0, 0.0, 0.004), [], "No copies of training patients were found: at most 0.4 % of 1000 images."),
        ({"left_out": "a search for copies needs 3 training patients"}, [], "Copies were not looked for"),
    ],
)
def test_copies_are_said_with_what_may_be_missed(tmp_path, found, warning, says):
    trust = trust_of(tmp_path, [kd(0.006, -0.001)], found)
    assert trust.warnings == warning
    text = " ".join(trust.sentences)
    assert says in text
    assert ("may be missed: mirrored left to right." in text) == ("power" in found)


def test_a_search_that_accuses_real_images_proves_less(tmp_path):
    found = search(0.06, 0.04, 0.08) | {"control": {"either": [0.05, 0.02, 0.09]}}
    trust = trust_of(tmp_path, [kd(0.006, -0.001)], found)
    assert trust.warnings == [] and "would accuse 5 % of real images" in " ".join(trust.sentences)


@pytest.mark.parametrize(
    ("row", "warning", "says"),
    [
        (kd(0.006, -0.001), [], "cannot be told from those of 4 unseen patients"),
        (kd(0.03, 0.01), [], "1.9 times as far from real"),
        (kd(0.3, 0.2), ["is far from real"], "19 times as far from real"),
    ],
)
def test_distance_to_real_is_said_in_words(tmp_path, row, warning, says):
    trust = trust_of(tmp_path, [row])
    assert trust.warnings == warning and says in " ".join(trust.sentences)


def test_images_that_are_too_alike_are_found(tmp_path):
    alike = score("ms_ssim", 0.6, floor=0.3, above_floor=0.3, above_floor_low=0.25)
    assert trust_of(tmp_path / "a", [kd(0.006, -0.001), alike]).warnings == ["makes few different images"]
    few = score("vendi_indomain", 4.0, floor=20.0)
    assert trust_of(tmp_path / "b", [kd(0.006, -0.001), few]).warnings == ["makes few different images"]
    varied = score("vendi_indomain", 18.0, floor=20.0)
    assert not trust_of(tmp_path / "c", [kd(0.006, -0.001), varied]).warnings


def test_warnings_of_training_are_said(tmp_path):
    trust = trust_of(tmp_path, [kd(0.006, -0.001)], events=("collapse", "step_eager"))
    assert "Training warned: generated images became alike." in trust.sentences


def test_a_copier_is_not_called_the_best(tmp_path):
    cells = cells_with(
        tmp_path,
        copier=[[kd(value, -0.001)] for value in (0.0051, 0.005, 0.0049)],
        honest=[[kd(value)] for value in (0.031, 0.03, 0.029)],
    )
    for cell in cells:
        write(cell, "copies.json", search(1.0, 0.99, 1.0, 53) if cell.variant == "copier" else search(0, 0, 0.004))
    write_report("Study", cells, tmp_path)
    table = pd.read_csv(tmp_path / "comparison.csv", keep_default_na=False)
    assert set(table.warnings[table.variant == "copier"]) == {"copies patients"}
    text = (tmp_path / "comparison.md").read_text()
    assert "Not to be called the best without this: copier copies patients." in text
    assert "Can copier be trusted?" in text and "**0.005" not in text
    page = (tmp_path / "comparison.html").read_text()
    assert "Can copier be trusted?" in page and '<small class="warning">copies patients</small>' in page
    lines = answer(tmp_path, 0)
    assert lines[0].startswith("set: ") and "copier copies patients" in lines[0]
    assert lines[1].startswith("set: Can copier be trusted? ")
    assert answer(tmp_path, 1e12) == [], "not of this run"


def test_a_warning_of_the_only_variant(tmp_path):
    write_report("Study", cells_with(tmp_path, far=[[kd(1.0, 0.9)]]), tmp_path)
    assert "There is nothing to compare. But far is far from real." in (tmp_path / "comparison.md").read_text()
