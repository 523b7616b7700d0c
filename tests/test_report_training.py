"""What the report shows over training: curves of the snapshots, the best one of each metric, losses."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from fake_study import VARIANTS, cells_with, kid, make_study, write
from matplotlib.figure import Figure

from gan.report import curves, figures, snapshots, write_report


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("results") / "demo", seeds=2)


@pytest.fixture(scope="module")
def rows(study):
    return curves.curve_rows(study)


def curve(metric="kid", **values):
    """Rows of a curve: ``kimg0=0.5, kimg10=0.1``."""
    common = {"contrast": "all", "extractor": "inception", "split": "val", "n_real": 9, "n_fake": 9, "floor": 0.01}
    return [{"kimg": int(key[4:]), "metric": metric, "value": value, **common} for key, value in values.items()]


def drawn(values, metric="kid", kimgs=None):
    """The axes of a panel with one run of ``values``."""
    kimgs = range(10, 10 * len(values) + 10, 10) if kimgs is None else kimgs
    frame = pd.DataFrame({"variant": "a", "seed": 0, "kimg": kimgs, "metric": metric, "value": values, "floor": 0.01})
    axes = Figure().subplots()
    curves._panel(axes, frame, figures.look(["a"]))
    return axes


# curves


def test_every_metric_has_a_panel_with_every_variant_and_the_floor(rows):
    svg = curves.by_metric(rows, figures.look(list(VARIANTS)))
    assert svg.startswith("<svg") and "metadata" not in svg
    for text in (
        "KD-indomain ↓",
        "FD-indomain ↓",
        "Precision-indomain ↑",
        "Recall-indomain ↑",
        "1 stylegan2",
        "3 dcgan",
        "floor",
    ):
        assert f">{text}" in svg, text
    assert all(f"var(--v{place})" in svg for place in range(3))
    assert not any(colour in svg for colour in figures.PALETTE)


def test_contrasts_have_panels_of_their_own(rows):
    looks = figures.look(list(VARIANTS))
    both = pd.concat([rows.assign(contrast=name) for name in ("all", "t1c", "t2f", "joint")])
    svg = curves.by_contrast(both[both.metric == "kd_indomain"], looks)
    titles = re.findall(r">(t1c|t2f|contrasts of a sample together|all)<", svg)
    assert titles == ["contrasts of a sample together", "t1c", "t2f"]
    assert curves.by_contrast(rows[rows.metric == "kd_indomain"], looks) == ""


def test_the_untrained_start_does_not_flatten_a_distance():
    axes = drawn([0.5, 0.012, 0.011], kimgs=[0, 10, 20])
    assert axes.get_yscale() == "linear" and axes.get_ylim()[1] < 0.02
    assert drawn([0.5], kimgs=[0]).lines[0].get_ydata().tolist() == [0.5], "but alone it is shown"
    assert drawn([0.1, 0.5], "precision_random", kimgs=[0, 10]).lines[0].get_xdata().tolist() == [0, 10]


@pytest.mark.parametrize(
    ("values", "metric", "scale"),
    [
        ([0.05, 0.03, 0.02], "kid", "linear"),
        ([0.3, 0.03, 0.01], "kid", "log"),
        ([0.3, 0.03, 0.001, -0.0005], "kid", "symlog"),
        ([0.0, 0.0, 0.0], "kid", "linear"),
        ([0.001, 0.1, 0.5], "recall_random", "linear"),
    ],
)
def test_steep_curves_are_logarithmic(values, metric, scale):
    axes = drawn(values, metric)
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low <= min(values) and high >= max(values)


def test_thin_lines_are_seeds_and_the_thick_one_their_mean():
    frame = pd.DataFrame(curve(kimg10=0.1, kimg20=0.2) + curve(kimg10=0.3, kimg20=0.4)).assign(variant="a")
    axes = Figure().subplots()
    curves._panel(axes, frame.assign(seed=[0, 0, 1, 1]), figures.look(["a"]))
    thin = [line.get_ydata().tolist() for line in axes.lines if line.get_linewidth() < 1]
    thick = [line.get_ydata().tolist() for line in axes.lines if line.get_linewidth() == 2]
    assert thin == [[0.1, 0.2], [0.3, 0.4]] and np.allclose(thick, [[0.2, 0.3]])


# the best snapshot


def test_the_best_snapshot_differs_by_metric(tmp_path):
    (cell,) = cells_with(tmp_path, a=[[kid(0.1)]])  # the chosen snapshot is at 10 kimg
    rows = curve(kimg0=0.001, kimg10=0.02, kimg20=0.01, kimg30=0.01)
    rows += curve("precision_inception", kimg0=0.9, kimg10=0.3, kimg20=0.2, kimg30=0.5)
    rows += curve("vendi_inception", kimg10=0.3)
    write(cell, "curve.json", {"rows": rows})
    found = snapshots.best_snapshots(curves.curve_rows([cell]), [cell]).set_index("metric")
    assert set(found.index) == {"kid", "precision_inception"}, "what has no better has no best"
    wanted = ["kimg", "value", "chosen_kimg", "chosen"]
    assert found.loc["kid", wanted].tolist() == [20, 0.01, 10, 0.02], "the earlier of equals, never the untrained one"
    assert found.loc["precision_inception", wanted].tolist() == [30, 0.5, 10, 0.3]
    (table,) = snapshots.tables(found.reset_index(), "kid")
    assert [entry.__dict__ for entry in table.lines[0].entries] == [
        {"value": "0.0100", "kimg": "20", "chosen": "0.0200"},
        {"value": "0.500", "kimg": "30", "chosen": "0.300"},
    ]
    write_report("x", [cell], tmp_path)
    assert "0.0100 at 20, chosen 0.0200" in (tmp_path / "comparison.md").read_text()
    assert '0.500 <span class="at">at 30</span>' in (tmp_path / "comparison.html").read_text()


def test_before_a_run_is_scored_no_snapshot_is_the_chosen_one(tmp_path):
    (cell,) = cells_with(tmp_path, a=[[]])
    write(cell, "scores.json", {})
    write(cell, "curve.json", {"rows": curve(kimg10=0.02)})
    best = snapshots.best_snapshots(curves.curve_rows([cell]), [cell])
    assert math.isnan(best.chosen_kimg[0]) and math.isnan(best.chosen[0])
    assert snapshots.tables(best, None)[0].lines[0].kimg == ""


# statistics


def statistics_of(tmp_path, **columns):
    (cell,) = cells_with(tmp_path, a=[[kid(0.1)]])
    count = len(next(iter(columns.values())))
    rows = [{"kimg": k} | {name.replace("__", "/"): line[k] for name, line in columns.items()} for k in range(count)]
    (cell.folder / "stats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return figures.statistics([cell])


def test_losses_stand_first_and_all_else_that_tells_of_training_below(study):
    runs, looks = figures.statistics(study), figures.look(list(VARIANTS))
    assert re.findall(r">(\w+/\w+)<", figures.losses(runs, looks)) == ["loss/G", "loss/D"]
    named = re.findall(r">(\w+/\w+)<", figures.details(runs, looks))
    assert named == ["ada/rt", "ada/p", "logits/real", "logits/fake"], "and none of the machine"


def test_spikes_are_cut_and_gaps_passed_over(tmp_path):
    noise = np.random.default_rng(0).normal(0, 1, 400)
    spiked = noise.copy()
    spiked[[3, 200]] = 1e5
    (run,) = statistics_of(tmp_path, loss__D=[*spiked, None, math.inf], speed__s=[1.0] * 402)
    assert list(run[1]) == ["kimg", "loss/D"]
    axes = Figure().subplots()
    values = run[1]["loss/D"].dropna()
    assert len(values) == 400
    axes.plot(values)
    figures._without_spikes(axes, values)
    assert -10 < axes.get_ylim()[0] < -3 and 3 < axes.get_ylim()[1] < 10
    axes = Figure().subplots()
    axes.plot(noise)
    before = axes.get_ylim()
    figures._without_spikes(axes, pd.Series(noise))
    assert axes.get_ylim() == before, "what has no spikes is shown whole"


def test_a_study_without_statistics_has_no_figures(tmp_path):
    cells = cells_with(tmp_path, a=[[kid(0.1)]])
    assert figures.losses(figures.statistics(cells), {}) == figures.details([], {}) == ""
