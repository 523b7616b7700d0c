"""Scores against the training images, as published: copies win there, and they decide nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from fake_study import cells_with, kid, score
from test_evaluate import CONTRASTS, PROTOCOL, cell, files, judge, make_generator  # noqa: F401  fixtures
from test_metrics_neighbours import naive, sets

from gan.data.store import Store
from gan.errors import GanError
from gan.files import read_json
from gan.metrics import as_published, facts
from gan.metrics.as_published import score_as_published
from gan.metrics.distances import frechet_distance, kernel_distance
from gan.report import table, view, write_report
from gan.report.pairs import by_seed
from gan.scales import stored_to_uint8
from gan.scoring import judge as judging
from gan.scoring.cell import score_cell, score_snapshots
from gan.scoring.judge import AsPublished, Judge, Protocol
from gan.scoring.probes import AsPublishedProbe, Samples
from gan.tracking import names

NAMES = ("train_fd_indomain", "train_kd_indomain", "train_precision_indomain", "train_recall_indomain")
WITH = Protocol(n_fake=60, n_fake_curve=40, bootstrap=20, as_published=AsPublished(n_fake=50))


@pytest.mark.parametrize("rows", [7, 1024])
def test_pairs_agree_with_loops(rows, monkeypatch):
    monkeypatch.setattr(as_published, "ROWS", rows)
    real, fake = sets()
    expected = kernel_distance(real, fake), *naive(real, fake, 3)[:2]
    assert as_published.pairs(real, fake) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("published", "distances"), [(True, ["fid", "kid"]), (False, ["fd", "kd"])])
def test_rows_are_those_of_all_images_and_their_mean(published, distances):
    real, fake = sets()
    found = score_as_published({"a": real, "b": real + 1}, {"a": fake, "b": fake}, published=published)
    names = [f"train_{name}" for name in (*distances, "precision", "recall")]
    assert list(dict.fromkeys(row["metric"] for row in found)) == names
    value = {(row["metric"], row["contrast"]): row["value"] for row in found}
    assert value[names[0], "a"] == frechet_distance(real, fake)
    assert value[names[1], "b"] == pytest.approx(kernel_distance(real + 1, fake))
    assert value["train_recall", "all"] == np.mean([value["train_recall", contrast] for contrast in "ab"])
    assert {row["floor"] for row in found} == {None} and {row.get("k") for row in found} == {None, 3}
    for name in names:
        assert facts.training(name) and not facts.published(name)
        assert "copies its training set" in facts.FACTS[name].sentence


def look(judge: Path, split: str) -> dict[str, float]:  # noqa: F811
    """Scores of the real images of ``split`` in the place of generated ones."""
    store, own = Store.open(judge / "store"), Judge(*files(judge), "cpu", judge / "store")
    images = stored_to_uint8(store.images[store.rows(split)])
    batch = Samples({name: images[:, place] for place, name in enumerate(CONTRASTS)}, None)
    features = own._features(Protocol(bootstrap=0), store.meta)
    probes = [
        AsPublishedProbe(40, 1000, own.device, own.panel[0], judging.score_curve, "val", 1, True),
        *(*features, *own._copies(features, Protocol(bootstrap=0), store.meta)),
    ]
    for probe in probes:
        probe.add(batch)
    rows = [row for probe in probes for row in probe.rows(own.reference) if row["contrast"] == "all"]
    return {row["metric"]: row["value"] for row in rows}


def test_copies_of_the_training_images_win_there_and_are_found_elsewhere(judge):  # noqa: F811
    copies, others = look(judge, "train"), look(judge, "val")
    assert copies["train_fd_indomain"] == pytest.approx(0, abs=1e-6 * others["train_fd_indomain"])
    assert copies["train_kd_indomain"] < others["train_kd_indomain"]
    assert copies["train_precision_indomain"] == copies["train_recall_indomain"] == 1
    assert others["train_precision_indomain"] < 1 and others["train_recall_indomain"] < 1
    assert copies["copies_indomain"] == 1 and others["copies_indomain"] < 0.3


def test_the_curve_has_its_rows_too_and_its_own_stay_the_same(judge, cell, monkeypatch):  # noqa: F811
    first, own = Judge(*files(judge), "cpu"), cell / "snapshots/kimg00001.json"
    bare = first.curve(own.with_suffix(".pt"), PROTOCOL)
    asked = read_json(own)["asked"]
    found = first.curve(own.with_suffix(".pt"), WITH)
    assert [row for row in found if not facts.training(row["metric"])] == bare
    mine = [row for row in found if facts.training(row["metric"])]
    assert {(row["metric"], row["contrast"]) for row in mine} == {(n, c) for n in NAMES for c in (*CONTRASTS, "all")}
    keys = ("split", "n_real", "n_subjects", "n_fake", "seed", "floor")
    assert {tuple(row[key] for key in keys) for row in mine} == {("train", 80, 8, 50, 1, None)}
    assert read_json(own)["asked"] == asked | {"as_published": {"reference": "train", "n_fake": 50}}
    monkeypatch.setattr(Judge, "look", lambda *_, **__: pytest.fail("scored again"))
    assert first.curve(own.with_suffix(".pt"), WITH) == found


def test_the_chosen_snapshot_has_the_rows_of_its_curve(judge, cell):  # noqa: F811
    own = Judge(*files(judge), "cpu")
    score_snapshots(cell, own, WITH)
    score_cell(cell, own, PROTOCOL)
    result, curve = read_json(cell / "scores.json"), read_json(cell / "curve.json")["rows"]
    assert result["snapshot"]["metric"] == "kd_indomain"
    mine = [row for row in result["scores"] if facts.training(row["metric"])]
    kimg = result["snapshot"]["kimg"]
    expected = [row["value"] for row in curve if row["kimg"] == kimg and facts.training(row["metric"])]
    assert [row["value"] for row in mine] == expected and len(mine) == 12
    assert {(row["low"], row.get("above_floor"), row["split"]) for row in mine} == {(None, None, "train")}
    drawn = read_json(cell / "replicates.json")["rows"]
    assert all(row["values"] == [] for row in drawn if facts.training(row["metric"]))


@pytest.mark.parametrize("given", [{"reference": "test"}, {"n_fakes": 3}, {"n_fake": 1}, True])
def test_a_wrong_section_is_refused(given):
    with pytest.raises(GanError, match=r"metrics\.as_published is .*; give reference, which is train, and n_fake"):
        Protocol.of({"as_published": given})
    assert Protocol.of({"as_published": {}}).as_published == AsPublished("train", 50_000)


def against_training(metric: str, value: float) -> dict:
    row = score(metric, value, split="train", n_fake=50_000, extractor="inception")
    return {key: row[key] for key in row if "floor" not in key} | {"low": None, "high": None}


@pytest.fixture
def study(tmp_path):
    """Three seeds of two variants, one of them the better by the leading metric, the other against training images."""
    values = {"copies": (0.2, 1.0), "better": (0.1, 30.0)}
    return cells_with(
        tmp_path,
        **{
            name: [[kid(lead + seed / 1000), against_training("train_fid", fid + seed / 100)] for seed in range(3)]
            for name, (lead, fid) in values.items()
        },
    )


def test_the_report_shows_them_last_with_the_reason_and_claims_nothing(study, tmp_path):
    rows = [{"kimg": 10, **against_training("train_fid", 7.0)}, {"kimg": 10, **kid(0.3), "split": "val"}]
    for one in study:
        (one.folder / "curve.json").write_text(json.dumps({"rows": rows}))
    write_report("Test", study, tmp_path, baselines={"copies": "better"})
    text, page = (tmp_path / "comparison.md").read_text(), (tmp_path / "comparison.html").read_text()
    compared = table.comparison(table.scores(study))
    first, last = view.wide(compared, "set", "all", "kid")
    assert last.note == view.AGAINST_TRAINING and not first.note and not last.floor
    assert [line.variant for line in last.lines] == ["copies", "better"], "the order of the study, no rank"
    assert [line.variant for line in first.lines] == ["better", "copies"]
    assert not any(entry.best or entry.above for line in last.lines for entry in line.entries if entry)
    assert "descriptive" in last.columns[0].details
    assert text.count(view.AGAINST_TRAINING) == 2, "under the scores, and under the best snapshots"
    assert page.count(view.AGAINST_TRAINING.removesuffix(".")) == 3, "and under the curves"
    assert page.index("Train-FID") > page.index("KID")
    assert set(by_seed(study, table.scores(study), {"copies": "better"}).metric) == {"kid"}
    assert "train_" not in (tmp_path / "differences.csv").read_text()
    assert table.headline(compared) == "kid"


def test_trackers_name_what_they_compare_with():
    row = against_training("train_fid", 7.0)
    assert names.curve(row) == "train_fid/train_n50000" and names.final(row) == "best/train_fid_n50000"
