"""A variant against its baseline: what is paired, what the interval and the word rest on, and what is left out."""

import math

import numpy as np
import pandas as pd
import pytest
from fake_study import cells_with, kid, make_study, score, write
from scipy.stats import norm, t, ttest_rel

from gan.cells import CellFiles
from gan.report import pairs, pairs_view, table, write_report
from gan.report.command import main

BASELINES = {"b": "a"}


def compared(cells, baselines, lead="kid"):
    return pairs.compare(cells, pairs.by_seed(cells, table.scores(cells), baselines), baselines, {"set": lead})


def values(*numbers):
    """One list of scores a seed."""
    return [[kid(number)] for number in numbers]


def draw(cells, **replicates):
    """Write replicates of the KID of each variant: an array [seeds, resamples]."""
    for cell in cells:
        if cell.variant in replicates:
            row = kid(0)
            named = {key: row[key] for key in ("metric", "contrast", "extractor", "n_real", "n_fake", "seed")}
            rows = [named | {"values": list(replicates[cell.variant][cell.seed])}]
            write(cell, "replicates.json", {"run_key": "k", "rows": rows})
    return cells


def only(cells, baselines=BASELINES, lead="kid"):
    (row,) = compared(cells, baselines, lead).to_dict("records")
    return row


def test_seeds_are_paired_as_by_the_paired_t_test(tmp_path):
    a, b = [0.10, 0.13, 0.11, 0.15], [0.08, 0.12, 0.08, 0.12]
    row = only(cells_with(tmp_path, a=values(*a), b=values(*b)))
    assert (row["seeds"], row["seed_list"], row["covers"]) == (4, "0 1 2 3", "seeds")
    assert row["difference"] == pytest.approx(-0.0225)
    assert row["spread"] == pytest.approx(np.std([-0.02, -0.01, -0.03, -0.03], ddof=1))
    wanted = ttest_rel(b, a)
    assert row["p"] == row["p_holm"] == pytest.approx(wanted.pvalue, rel=1e-6)
    span = wanted.confidence_interval()
    assert [row["low"], row["high"]] == pytest.approx([span.low, span.high])
    assert row["verdict"] == "better", "a lower KID, although the two sets of values overlap"


def test_patients_are_the_same_for_both_and_in_every_seed(tmp_path):
    rng = np.random.default_rng(0)
    hard, own = rng.normal(0, 0.02, 200), rng.normal(0, 0.001, (2, 2, 200))
    cells = cells_with(tmp_path, a=values(0.10, 0.12), b=values(0.09, 0.10))
    draw(cells, a=0.1 + hard + own[0], b=0.09 + hard + own[1])
    row = only(cells)
    patients = np.std(own[1].mean(0) - own[0].mean(0), ddof=1)
    spread = 0.01 / math.sqrt(2)
    half = math.hypot(t.ppf(0.975, 1) * spread / math.sqrt(2), norm.ppf(0.975) * patients)
    assert row["covers"] == "seeds and patients"
    assert [row["low"], row["high"]] == pytest.approx([-0.015 - half, -0.015 + half])
    assert half < 0.13, "what makes a patient hard for both does not count"
    assert (row["verdict"], math.isnan(row["p"])) == ("no evidence (two seeds)", True)
    p = pairs.p_value(row["difference"], 2, spread, patients)
    assert pairs.half_width(p, 2, spread, patients) == pytest.approx(0.015), "at p the interval reaches 0"


def test_without_spread_the_p_value_is_the_normal_one():
    assert pairs.p_value(0.03, 3, 0.0, 0.01) == pytest.approx(2 * norm.sf(3), rel=1e-6)
    assert pairs.p_value(0.0, 3, 0.0, 0.0) == 1
    assert pairs.p_value(0.03, 3, 0.0, 0.0) == pairs.SMALLEST_P


@pytest.mark.parametrize(("shift", "word"), [(0.0, "no evidence"), (-1, "better"), (1, "worse")])
def test_words_flip_where_the_interval_leaves_zero(tmp_path, shift, word):
    noise = np.array([-0.001, 0.0, 0.001])
    edge = t.ppf(0.975, 2) * 0.001 / math.sqrt(3)  # |mean difference| at which p is 0.05
    for factor, said in ((0.99, "no evidence"), (1.01, word)):
        b = 0.1 + shift * factor * edge + noise
        row = only(cells_with(tmp_path / str(factor), a=values(0.1, 0.1, 0.1), b=values(*b)))
        assert row["verdict"] == said
        assert (row["low"] <= 0 <= row["high"]) == (said == "no evidence")


@pytest.mark.parametrize(("metric", "word"), [("precision_random", "better"), ("vendi_random", "higher")])
def test_higher_is_not_worse_for_every_metric(tmp_path, metric, word):
    def seeds(*numbers):
        return [[score(metric, number)] for number in numbers]

    cells = cells_with(tmp_path, a=seeds(0.3, 0.31, 0.3), b=seeds(0.5, 0.52, 0.5))
    assert only(cells, lead=metric)["verdict"] == word


@pytest.mark.parametrize("seeds", [2, 3])
def test_seeds_that_do_not_differ_get_no_word(tmp_path, seeds):
    """Equal differences, as counted metrics have them: no spread, so no chance of training is known."""
    row = only(cells_with(tmp_path, a=values(*[0.3] * seeds), b=values(*[0.1] * seeds)))
    assert row["verdict"] == ("no evidence (two seeds)" if seeds == 2 else "no evidence (no spread)")
    assert math.isnan(row["p"]) and row["low"] == row["high"] == pytest.approx(-0.2)


def test_two_seeds_never_get_a_word(tmp_path):
    rng = np.random.default_rng(0)
    for place in range(20):
        a, b = rng.normal(0.5, 0.001, 2), rng.normal(0.1, 0.001, 2)
        cells = cells_with(tmp_path / str(place), a=values(*a), b=values(*b))
        assert only(cells)["verdict"] == "no evidence (two seeds)"


def test_only_the_mean_of_the_leading_metric_gets_a_word(tmp_path):
    def seed(number):
        rows = [kid(number, contrast=contrast) for contrast in ("t1", "t2", "joint", "all")]
        return [*rows, kid(number, metric="fid"), kid(number, metric="fid", contrast="t1")]

    cells = cells_with(tmp_path, a=[seed(x) for x in (0.3, 0.31, 0.32)], b=[seed(x) for x in (0.1, 0.12, 0.11)])
    rows = compared(cells, BASELINES).set_index(["metric", "contrast"])
    assert rows.verdict.to_dict() == dict.fromkeys(rows.index, "descriptive") | {("kid", "all"): "better"}
    assert rows.p.notna().sum() == rows.p_holm.notna().sum() == 1
    assert rows.low.notna().all()


def test_scores_of_other_evaluation_seeds_are_not_paired(tmp_path):
    cells = cells_with(tmp_path, a=values(0.3, 0.3, 0.3), b=[[kid(0.1, seed=1)], [kid(0.1)], [kid(0.1)]])
    row = only(cells)
    assert (row["seeds"], row["seed_list"], row["evaluation_seed"]) == (2, "1 2", 0)


def test_one_seed_is_no_evidence_and_its_interval_is_over_patients(tmp_path):
    rng = np.random.default_rng(1)
    cells = cells_with(tmp_path, a=values(0.3), b=values(0.1))
    row = only(cells)
    assert (row["verdict"], row["covers"]) == ("no evidence (one seed)", "nothing")
    assert np.isnan([row["low"], row["high"], row["p"], row["p_holm"]]).all()
    replicates = rng.normal(0, 0.01, (2, 1, 100))
    row = only(draw(cells, a=replicates[0], b=replicates[1]))
    half = norm.ppf(0.975) * np.std(replicates[1] - replicates[0], ddof=1)
    assert (row["verdict"], row["covers"]) == ("no evidence (one seed)", "patients")
    assert row["high"] == pytest.approx(-0.2 + half)
    assert math.isnan(row["p"])


def test_replicates_of_other_weights_do_not_count(tmp_path):
    cells = draw(cells_with(tmp_path, a=values(0.3, 0.2), b=values(0.1, 0.1)), a=np.ones((2, 9)), b=np.ones((2, 9)))
    assert only(cells)["covers"] == "seeds and patients"
    write(cells[0], "replicates.json", cells[0].object("replicates.json") | {"run_key": "earlier"})
    assert only(cells)["covers"] == "seeds"


def test_only_seeds_that_both_have_are_paired(tmp_path):
    row = only(cells_with(tmp_path, a=values(0.1, 0.2, 0.9), b=values(0.05, 0.1)))
    assert (row["seeds"], row["seed_list"]) == (2, "0 1")
    assert row["difference"] == pytest.approx(-0.075)


def test_a_baseline_that_no_seed_changes_is_that_of_every_seed(tmp_path):
    cells = cells_with(tmp_path, a=values(0.1), b=values(0.05, 0.06, 0.058))
    write(cells[0], "recipe.json", {"variant": {"family": "lookup", "options": {}}})
    rng = np.random.default_rng(0)
    draw(cells, a=rng.normal(0.1, 0.001, (1, 200)), b=rng.normal(0.056, 0.001, (3, 200)))
    row = only(cells)
    assert (row["seeds"], row["covers"], row["verdict"]) == (3, "seeds and patients", "better")
    assert row["difference"] == pytest.approx(0.056 - 0.1)


def test_unlike_scores_are_not_paired(tmp_path):
    cells = cells_with(tmp_path, a=values(0.1, 0.2), b=[[kid(0.1, n_fake=500)], [kid(0.2, n_fake=500)]])
    assert only(cells)["status"] == "left out: it and its baseline a share no measurement"


def test_pairs_that_cannot_be_compared_are_said(tmp_path):
    cells = cells_with(tmp_path, a=[[], [kid(0.1)]], b=values(0.2))
    row = only(cells, {"b": "a", "late": "a"})
    assert row["status"] == "left out: no seed is finished of both it and its baseline a"
    assert only(cells, {"b": "absent"})["status"] == "left out: its baseline absent is not in the study"
    assert compared(cells, {}).empty and list(compared(cells, {})) == pairs.COLUMNS


def test_holm_takes_the_number_of_modifications_into_account(tmp_path):
    found = pairs.holm(pd.Series([0.04, 0.01, np.nan, 0.03, 0.5], index=list("vwxyz")))
    assert found.to_dict() == pytest.approx({"v": 0.09, "w": 0.04, "x": np.nan, "y": 0.09, "z": 0.5}, nan_ok=True)
    names = [f"m{place}" for place in range(6)]
    base, changed = values(0.100, 0.100, 0.100), values(0.089, 0.090, 0.0915)
    small = values(0.097, 0.098, 0.0975)
    cells = cells_with(tmp_path, a=base, m0=changed, **dict.fromkeys(names[1:], small))
    alone = compared(cells, {"m1": "a"}).iloc[0]
    rows = compared(cells, dict.fromkeys(names, "a")).set_index("variant")
    assert alone.verdict == "better" and alone.p < 0.05
    assert rows.verdict.to_dict() == {"m0": "better"} | dict.fromkeys(names[1:], "no evidence")
    assert rows.p["m1"] == alone.p and rows.p_holm["m1"] == pytest.approx(5 * alone.p)


def test_the_settings_that_differ_are_told_baseline_first(tmp_path):
    cells = cells_with(tmp_path, a=values(0.1), b=values(0.2), c=values(0.3))
    for cell in cells:
        options = {"augment": "mri" if cell.variant == "b" else "none", "lr": 0.002}
        variant = {"name": cell.variant, "family": "stylegan2", "revision": 1, "options": options}
        write(cell, "recipe.json", {"variant": variant, "training": {"kimg": 40}, "seed": cell.seed})
    rows = compared(cells, {"b": "a", "c": "a"}).set_index("variant")
    assert rows.differs.to_dict() == {"b": "augment: none → mri", "c": "nothing"}


def test_datasets_are_compared_each_by_itself(tmp_path):
    cells = cells_with(tmp_path, a=values(0.1, 0.1), b=values(0.2, 0.2))
    moved = [CellFiles("other", cell.variant, cell.seed, cell.folder) for cell in cells if cell.variant == "b"]
    rows = compared([*cells, *moved], BASELINES).set_index("dataset")
    assert rows.status.to_dict() == {"set": "compared", "other": "left out: its baseline a is not in the study"}


def test_intervals_hold_the_truth_often_enough():
    rng, held, studies = np.random.default_rng(0), [], 400
    for count, patients in ((2, 0.5), (3, 1.0), (5, 3.0)):
        shared = rng.normal(0, patients, (studies, 1))
        seeds = shared + rng.normal(0, 1, (studies, count))
        halves = [pairs.half_width(0.05, count, row.std(ddof=1), patients) for row in seeds]
        held.append(np.mean(np.abs(seeds.mean(1)) <= halves))
    assert all(0.93 < share < 0.995 for share in held), held


# what is shown


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "demo"
    cells = make_study(folder, seeds=3)
    write_report("Demo", cells, folder, baselines={"stylegan2_ada": "stylegan2", "dcgan": "absent"})
    return folder


def test_the_page_and_the_text_hold_the_pairs(report):
    page, text = (report / "comparison.html").read_text(), (report / "comparison.md").read_text()
    table = pd.read_csv(report / "differences.csv").set_index(["variant", "metric", "contrast"])
    row = table.loc[("stylegan2_ada", "kd_indomain", "all")]
    assert row.covers == "seeds and patients" and row.low < row.difference < row.high < 0
    assert row.verdict == "better" and row.p_holm == row.p < 0.05
    sentence = "KD-indomain of each variant against its baseline, same seeds: better: stylegan2_ada."
    assert sentence in page
    shown = pairs_view._entry(table.loc[[("stylegan2_ada", "kd_indomain", "all")]])
    assert shown.value.startswith("−0.02") and " to −0.0" in shown.interval
    for place in (page, text):
        assert shown.value in place and shown.interval in place
        assert "augment: none → mri" in place
        assert "its baseline absent is not in the study" in place
        assert "95 % interval over seeds and patients; a word for the leading metric, the others are" in place
        assert "(Holm)" not in place, "one pair needs no adjustment"
    assert page.index("Against the baseline") < page.index("Scores of each contrast")
    assert (
        text.index("### Mean over contrasts") < text.index("### Against the baseline") < text.index("### Contrast t1c")
    )


def test_a_study_without_baselines_has_no_pairs(tmp_path):
    cells = cells_with(tmp_path, a=values(0.1, 0.2), b=values(0.3, 0.3))
    write_report("x", cells, tmp_path)
    assert "Against the baseline" not in (tmp_path / "comparison.html").read_text()
    assert "Against the baseline" not in (tmp_path / "comparison.md").read_text()
    assert (tmp_path / "differences.csv").read_text() == ",".join(pairs.COLUMNS) + "\n"


def test_the_command_reads_which_variant_modifies_which(tmp_path):
    for cell in cells_with(tmp_path, a=values(0.1, 0.1), b=values(0.2, 0.3)):
        write(cell, "recipe.json", {})
    (tmp_path / "baselines.json").write_text('{"b": "a"}')
    assert main(["--study", str(tmp_path)]) == 0
    rows = pd.read_csv(tmp_path / "so_far/differences.csv")
    assert rows.difference.tolist() == pytest.approx([0.15])


@pytest.mark.parametrize(
    ("low", "difference", "high", "shown"),
    [
        (-0.0359, -0.02268, -0.00943, ("−0.023", "−0.036 to −0.009")),
        (-3.0, 12.34, 27.7, ("+12", "−3 to 28")),
        (math.nan, 0.5, math.nan, ("+0.500", "")),
    ],
)
def test_differences_have_the_digits_that_their_interval_gives_them(low, difference, high, shown):
    row = {"low": low, "difference": difference, "high": high, "verdict": "no evidence"}
    entry = pairs_view._entry(pd.DataFrame([row]))
    assert (entry.value, entry.interval) == shown
