"""Utility in the report: what is compared, which words are given, and what is said where there is no task."""

import json

import numpy as np
import pandas as pd
import pytest
from fake_study import make_study, recipe_of, write

from gan.cells import CellFiles
from gan.report import order, two_sample, utility, write_report
from gan.report.command import main
from gan.report.utility_view import Utility, sentences

SECTION = {"primary": "mixed_50", "margin": 0.05}
JUDGED = {
    "n_fake": 50,
    "patients": 12,
    "refused": False,
    "real": 0.8,
    "value": 0.7,
    "difference": -0.1,
    "deviation": 0.02,
}
SHAPE = {"value": 0.5, "floor": 0.1, "median": 3.0, "real": 3.4}


def cells_of(root, variants, seeds=3) -> list[CellFiles]:
    cells = [CellFiles("phantom", name, k, root / f"phantom/{name}/seed{k}") for name in variants for k in range(seeds)]
    for cell in cells:
        cell.folder.mkdir(parents=True, exist_ok=True)
    return cells


def make_utility(root, shifts, *, seeds=3, patients=12, noise=0.01, masks=True):
    """Cells whose mixed arm is by ``shifts`` (of each variant) better than the real one, patient by patient."""
    cells = cells_of(root, list(shifts), seeds)
    ease = np.random.default_rng(0).uniform(0.5, 0.8, patients)
    for place, cell in enumerate(cells):
        recipe = recipe_of(cell)
        recipe["data"] |= {"mask": "seg" if masks else None}
        write(cell, "recipe.json", recipe)
        if masks:
            rng = np.random.default_rng([cell.seed, 1])
            real = ease + rng.normal(0, 0.005, patients)
            mixed = real + shifts[cell.variant] + np.random.default_rng([place, 2]).normal(0, noise, patients)
            write(cell, "utility.json", {"tasks": {"segment": segmented({"real": real, "mixed_50": mixed})}})
    return cells


def segmented(arms: dict[str, np.ndarray]) -> dict:
    numbers = {name: {"patients": 12, "images": 60} for name in ("train", "val", "test")}
    scores = {name: {"dice": [[v] for v in of.tolist()], "hd95": [[None]] * len(of)} for name, of in arms.items()}
    judge = {
        "fit": {"seg": JUDGED},
        "shapes": {"seg": dict.fromkeys(["area", "pieces", "compactness", "border"], SHAPE)},
    }
    return {"task": "segment", "regions": {"seg": [1]}, "numbers": numbers, "arms": scores, "judge": judge}


def words(cells) -> dict[str, str]:
    table = Utility.of(cells, SECTION).table
    leads = table[(table.arm == "mixed_50") & (table.measure == "dice")]
    return dict(zip(leads.variant, leads.verdict, strict=True))


def test_words_follow_the_margin_that_was_named_before(tmp_path):
    shifts = {"stylegan2": 0.1, "stylegan2_ada": -0.02, "dcgan": -0.2}
    found = words(make_utility(tmp_path / "a", shifts))
    assert found == {"stylegan2": "better", "stylegan2_ada": "not worse", "dcgan": "worse"}
    assert words(make_utility(tmp_path / "b", {"dcgan": -0.05}, noise=0.15)) == {"dcgan": "cannot say"}


@pytest.mark.parametrize("few", [{"seeds": 2}, {"patients": 9}])
def test_few_seeds_or_patients_get_no_word(tmp_path, few):
    cells = make_utility(tmp_path, {"dcgan": 0.1}, **few)
    assert words(cells) == {"dcgan": "exploratory"}
    assert "exploratory, as there are" in Utility.of(cells, SECTION).markdown("phantom")


def test_differences_are_of_the_same_patients_and_seeds(tmp_path):
    (row,) = (
        Utility.of(make_utility(tmp_path, {"dcgan": -0.1}, noise=0), SECTION).table.query("arm != 'real'").itertuples()
    )
    assert row.difference == pytest.approx(-0.1) and row.difference_high - row.difference_low < 1e-9
    assert (row.seeds, row.patients, row.left_out) == (3, 12, 0) and row.high - row.low > 0.05
    assert row.p == row.p_holm == 2 / 2**12


def test_regions_that_are_empty_everywhere_are_left_out_and_counted(tmp_path):
    cells = make_utility(tmp_path, {"dcgan": 0.0})
    for cell in cells:
        found = json.loads((cell.folder / "utility.json").read_text())
        arms = found["tasks"]["segment"]["arms"]
        arms["real"]["dice"][0] = arms["mixed_50"]["dice"][0] = arms["real"]["dice"][1] = [None]
        arms["mixed_50"]["dice"][1] = [0.0]  # a false find
        write(cell, "utility.json", found)
    table = Utility.of(cells, SECTION).table.set_index("arm")
    assert table.left_out.to_dict() == {"real": 2, "mixed_50": 1}
    assert table.difference["mixed_50"] == pytest.approx(-1 / 11, abs=0.01), "the false find counts as a whole patient"


@pytest.mark.parametrize("task", ["classify", "detect"])
def test_classes_are_compared_by_the_area_under_the_curve(tmp_path, task):
    """Of patients, or of two slices of each, one with a tumour and one without."""
    cells = cells_of(tmp_path, ["dcgan"])
    truth = np.arange(12 if task == "classify" else 24) % 2
    good, bad = ([[0.0, sign * (2.0 * label - 1)] for label in truth] for sign in (1, 0))
    numbers = {name: {"patients": 12, "images": 60} for name in ("train", "val", "test")}
    judge = {"classes": {"refused": False, "value": 0.6, "real": 0.9, "confusion": [[5, 1], [2, 4]]}}
    arms = {"real": {"logits": good}, "mixed_50": {"logits": bad}}
    facts = {"task": task, "classes": ["low", "high"], "truth": truth.tolist(), "numbers": numbers, "least": 1.0}
    facts |= {"subjects": (np.arange(24) // 2).tolist()} if task == "detect" else {}
    for cell in cells:
        write(cell, "utility.json", {"tasks": {task: facts | {"arms": arms, "judge": judge}}})
    useful = Utility.of(cells, SECTION)
    row = useful.table.query("arm == 'mixed_50' and measure == 'auc'").iloc[0]
    assert (row.value, row.difference, row.verdict, row.patients) == (0.5, -0.5, "worse", 12) and row.p < 0.05
    shown = useful.shown("phantom")["tasks"][0]
    said = shown.anatomies[0].sentences
    assert "in 60 % of the images" in said[0] and "<svg" in shown.figure()
    assert said[1:] == ["Its mask shows in 50 % of the images, in 50 % of images of unseen patients."] * (
        task == "detect"
    )
    real = useful.table.query("arm == 'real' and measure == 'auc'").iloc[0]
    units = len(truth) // 2
    assert (real.value, real.high) == (1, 1) and real.low == pytest.approx(units / (units + 1.96**2), abs=0.001)
    assert shown.anatomies[0].confusion == [("low", [15, 3]), ("high", [6, 12])]


def test_a_two_sample_test_is_described_and_gets_no_word(tmp_path):
    """Of patients with one and three slices, each counts as much; 0.5 is said to be in the interval if it is."""
    found = {}
    for shift in (0.0, 9.0):
        cells = cells_of(tmp_path / f"{shift}", ["dcgan"])
        for cell in cells:
            rng = np.random.default_rng(cell.seed)
            of_real = [rng.normal(0, 1, 1 + 2 * (patient % 2)).tolist() for patient in range(12)]
            made = rng.normal(shift, 1, 40).tolist()
            write(cell, "utility.json", {"tasks": {}, "two_sample": {"real": of_real, "generated": made}})
        useful = Utility.of(cells, SECTION)
        found[shift] = useful.table.set_index("measure").loc["auc"]
        assert useful.table.verdict.isna().all() and useful.table.margin.isna().all()
        text = useful.markdown("phantom")
        assert ("The interval holds 0.5." in text) == (shift == 0) and "A high value is usual" in text
    same, other = found.values()
    assert same.low < 0.5 < same.high < 0.9 and (same.patients, same.seeds, same.task) == (12, 3, "two_sample")
    assert other.value == other.high == 1 and other.low == pytest.approx(12 / (12 + 1.96**2), abs=0.001), "Wilson's"
    facts = {"real": [[0.0], [2.0, 2.0, 2.0]], "generated": [1.0]}
    assert two_sample.outcome(facts).values(np.arange(3)[None]) == [0.5]


def test_positions_that_are_read_are_said_in_percent_of_the_way(tmp_path):
    cells = cells_of(tmp_path, ["dcgan", "progan", "stylegan2"], seeds=2)
    read = {"n_fake": 50, "patients": 12, "real": 0.04, "middle": 0.25, "refused": False, "value": 0.1, "floor": 0.02}
    asked = {"value": 0.12, "real": 0.1, "difference": 0.02, "deviation": 0.005}
    more = {"progan": {"asked": asked}, "stylegan2": {"refused": True, "real": 0.2}}
    for cell in cells:
        facts = read | {"quarters": [0.4, 0.3, 0.3, 0.0], "asked": None} | more.get(cell.variant, {})
        write(cell, "utility.json", {"tasks": {}, "order": facts})
    plain, parts, refused = order.sentences(cells)
    assert "are 10.0 % of the way from those in slices of 12 unseen patients, those of validation patients 2" in plain
    assert plain.endswith("hold 40, 30, 30 and 0 % of the images.")
    assert parts.endswith("10.0 % from that of their own: a difference of +2.00 (+1.02 to +2.98).")
    assert refused.endswith("unseen patients by 20.0 %, and always naming the middle by 25.0 %.")
    assert order.NOTE in Utility.of(cells, SECTION).markdown("phantom")


def test_the_page_has_a_section_and_a_table_only_if_asked(tmp_path):
    make_study(tmp_path / "study", variants={"dcgan": 0.1}, seeds=3)
    cells = make_utility(tmp_path / "study", {"dcgan": -0.2})
    write_report("Study", cells, tmp_path, utility=SECTION)
    page, text = (tmp_path / "comparison.html").read_text(), (tmp_path / "comparison.md").read_text()
    assert "worse than real" in page and "worse than real" in text and "<h3>Utility</h3>" in page
    assert "agree with a Dice of 0.700, on images of unseen patients it is 0.800" in page
    assert list(pd.read_csv(tmp_path / "utility.csv").columns) == utility.COLUMNS
    assert Utility.of(cells, None) is None


@pytest.mark.parametrize("words", [[], ["--shareable"]])
def test_a_report_beside_the_workflow_has_the_section_too(tmp_path, words):
    make_study(tmp_path, variants={"dcgan": 0.1}, seeds=3)
    make_utility(tmp_path, {"dcgan": -0.2})
    (tmp_path / "utility_asked.json").write_text(json.dumps(SECTION))
    assert main(["--study", str(tmp_path), *words]) == 0
    (page,) = tmp_path.glob("s*/comparison.html")
    assert "<h3>Utility</h3>" in page.read_text() and (page.parent / "utility.csv").exists()


def test_a_poor_network_and_a_variant_without_a_task_are_said(tmp_path):
    cells = make_utility(tmp_path / "a", {"dcgan": 0.0})
    for cell in cells:
        found = json.loads((cell.folder / "utility.json").read_text())
        found["tasks"]["segment"]["judge"]["fit"]["seg"] = {"refused": True, "real": 0.3, "value": None}
        write(cell, "utility.json", found)
    assert "no judgement, the network of real images reaches a Dice of 0.3" in Utility.of(cells, SECTION).markdown(
        "phantom"
    )
    without = Utility.of(make_utility(tmp_path / "b", {"dcgan": 0.0}, masks=False), SECTION)
    assert "dcgan: no task, it makes no mask" in without.markdown("phantom") and without.table.empty


def test_sentence_names_both_arms(tmp_path):
    useful = Utility.of(make_utility(tmp_path, {"dcgan": -0.02}, noise=0.005), SECTION)
    (text,) = sentences(useful.table, "mixed_50")
    assert text.startswith("Trained half on images of dcgan, half on real ones, a network reaches Dice 0.6")
    assert text.endswith("not worse than real by more than 0.05.") and "on 12 unseen patients" in text
