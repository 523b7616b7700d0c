"""The comparison: what is averaged, what is claimed, what is shown, and that nothing is dropped in silence."""

import base64
import inspect
import io
import itertools
import json
import math
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from fake_study import START, VARIANTS, cells_with, kid, make_study, score, write
from PIL import Image

from gan.answer import answer
from gan.cells import CellFiles, note_look, stats, stats_lines
from gan.families.registry import families, options_of
from gan.grids import GAP, write_grid, write_png
from gan.metrics import facts
from gan.report import context, figures, gallery, pictures, references, table, verdict, view, write_report
from gan.report import cost as cost_of
from gan.report.given import Study, Tables
from gan.sampling.marks import Mark

NO_TABLES = Tables(*[pd.DataFrame()] * 3, {}, {}, {})
T2 = 4.302652729911275  # Student's t, 97.5 %, 2 degrees of freedom


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "demo"
    return folder, make_study(folder, seeds=3)


@pytest.fixture(scope="module")
def page(study):
    folder, cells = study
    write_report("Demo", cells, folder, stores={"phantom": make_index(folder / "store")})
    return (folder / "comparison.html").read_text()


def make_index(folder):
    """A store's index and meta: 20 subjects, of 60 candidate slices each 44 kept."""
    folder.mkdir()
    splits = ["train"] * 14 + ["val"] * 2 + ["test"] * 4
    rows = [{"subject": s, "split": splits[s], "kept": k < 44} for s in range(20) for k in range(60)]
    pd.DataFrame(rows).to_parquet(folder / "index.parquet")
    (folder / "store.json").write_text(json.dumps({"channels": ["t1c", "t2f"], "size": [64, 64], "mask": None}))
    return folder


# what is averaged


def test_seeds_and_bootstrap_make_one_interval(tmp_path):
    cells = cells_with(tmp_path, a=[[kid(0.10)], [kid(0.11)], [kid(0.12)]])
    row = table.comparison(table.scores(cells)).iloc[0]
    half = math.hypot(T2 * 0.01 / math.sqrt(3), 0.001)
    assert (row.value, row.spread, row.seeds) == (pytest.approx(0.11), pytest.approx(0.01), 3)
    assert (row.low, row.high) == (pytest.approx(0.11 - half), pytest.approx(0.11 + half))


@pytest.mark.parametrize(
    ("seeds", "low", "high"),
    [
        ([kid(0.1)], 0.099, 0.101),
        ([kid(0.1, low=None, high=None)], math.nan, math.nan),
        ([score("kid", 0.1, low=0.10, high=0.13)], 0.10, 0.13),
        ([score("kid", 0.1, low=0.11, high=0.13)], 0.10, 0.13),
    ],
    ids=["one seed: patients alone", "no bootstrap, one seed: unknown", "asymmetric", "never excludes the value"],
)
def test_intervals_of_few_seeds(tmp_path, seeds, low, high):
    row = table.comparison(table.scores(cells_with(tmp_path, a=[[item] for item in seeds]))).iloc[0]
    assert [row.low, row.high] == pytest.approx([low, high], nan_ok=True)


@pytest.mark.parametrize(
    "other",
    [
        *({"n_fake": 500}, {"n_real": 99}, {"n_subjects": 8}, {"extractor": "inception-2"}, {"split": "val"}),
        *({"metric": "fid"}, {"truncation": 0.7}, {"seed": 1}),
    ],
)
def test_unlike_scores_never_share_a_column(tmp_path, other):
    cells = cells_with(tmp_path, a=[[kid(0.1)]], b=[[kid(0.2) | other]])
    rows = table.comparison(table.scores(cells))
    assert len(rows) == 2
    columns = [column for wide in view.wide(rows, "set", "all", "kid") for column in wide.columns]
    assert len(columns) == 2
    for wide in view.wide(rows, "set", "all", "kid"):
        assert all(
            sum(line.entries[place] is not None for line in wide.lines) == 1 for place in range(len(wide.columns))
        )
    assert table.best(rows[rows.variant == "a"]) is None
    if "metric" not in other:
        heads = {"; ".join(wide.columns[0].details) for wide in view.wide(rows, "set", "all", "kid")}
        assert len(heads) == 2, "the headers tell them apart"


def test_the_rule_of_choice_tells_columns_apart(tmp_path):
    cells = cells_with(tmp_path, a=[[kid(0.1)]], b=[[kid(0.2)]])
    write(cells[1], "scores.json", cells[1].object("scores.json") | {"snapshot": {"kimg": 10, "chosen": "final"}})
    one, other = view.wide(table.comparison(table.scores(cells)), "set", "all", "kid")
    assert one.columns[0].details == ["inception", "9 patients, 412 slices", "2000 generated", "test", "best snapshot"]
    assert other.columns[0].details[-1] == "last snapshot"


def test_numbers_are_of_what_an_extractor_sees_of_the_data(tmp_path):
    rows = [[kid(0.1), kid(0.1, extractor="indomain3d-1"), kid(0.1, extractor="pixels")]]
    (cell,) = cells_with(tmp_path, a=rows)
    for data, wanted in (
        ({"volumes": {"size": 32}}, ["412 slices", "412 volumes", "412 volumes"]),
        ({"slices": {"size": 32}}, ["412 slices"] * 3),
        ({"layout": "images", "slices": {"size": 32}}, ["412 pictures"] * 3),
    ):
        write(cell, "recipe.json", {"data": data})
        found = table.comparison(table.scores([cell]))
        assert [table.conditions(row)[1].split(", ")[1] for row in found.itertuples()] == wanted
        floors = {grid.floor_of.split(", ")[1] for grid in view.wide(found, "set", "all", "kid")}
        assert floors == {text.replace("412", "180") for text in wanted}


def test_every_seed_is_in_the_tidy_scores(study):
    _, cells = study
    frame = table.scores(cells)
    assert len(frame) == 3 * 3 * 6 * 3
    assert set(frame.seed) == {0, 1, 2}
    assert (frame.status == "finished").all()
    assert frame.cost_hours.between(0.2, 0.3).all()


# what is claimed


def three(value, **own):
    """Three seeds of a KID that differ a little: the fewest of which a claim is made."""
    return [[kid(value + step, **own)] for step in (-1e-4, 0, 1e-4)]


@pytest.mark.parametrize(
    ("values", "said", "bold"),
    [
        ({"a": 0.10, "b": 0.20, "c": 0.30}, "a has the lowest KID", "a"),
        ({"a": 0.10, "b": 0.101, "c": 0.30}, "No evidence of a difference between a and b", None),
        ({"a": 0.10, "b": 0.101, "c": 0.102}, "No evidence of a difference between a, b and c", None),
        ({"a": 0.10}, "nothing to compare", None),
    ],
)
def test_a_difference_is_claimed_only_where_intervals_lie_apart(tmp_path, values, said, bold):
    cells = cells_with(tmp_path, **{name: three(value) for name, value in values.items()})
    rows = table.comparison(table.scores(cells))
    assert said in verdict.verdict(rows, "set", "kid")[0]
    lines = view.wide(rows, "set", "all", "kid")[0].lines
    assert [line.variant for line in lines if line.entries[0].best] == ([bold] if bold else [])
    text = view.markdown("x", rows, dict.fromkeys(rows.dataset, "kid"))
    assert ("**0.100**" in text) == (bold == "a")


def test_published_scores_come_first_and_are_descriptive(tmp_path):
    both = {
        name: [[kid(value + step), score("kd_indomain", value + step, width=0.01)] for step in (-1e-4, 0, 1e-4)]
        for name, value in (("a", 0.1), ("b", 1))
    }
    rows = table.comparison(table.scores(cells_with(tmp_path, **both)))
    read, leading = view.wide(rows, "set", "all", "kd_indomain")
    assert read.conditions.endswith("descriptive") and "descriptive" not in leading.conditions
    assert [[line.entries[0].best for line in wide.lines] for wide in (read, leading)] == [[False] * 2, [True, False]]
    (alone,) = view.wide(rows[rows.metric == "kid"], "set", "all", "kid")
    assert "descriptive" not in alone.conditions and alone.lines[0].entries[0].best


def test_worse_variants_are_named_beside_equal_ones(tmp_path):
    cells = cells_with(tmp_path, a=three(0.10), b=three(0.101), c=three(0.3))
    assert "c is worse than a." in verdict.verdict(table.comparison(table.scores(cells)), "set", "kid")[0]


def test_higher_is_better_for_precision(tmp_path):
    rows = {name: three(value, metric="precision_random") for name, value in {"a": 0.2, "b": 0.7}.items()}
    frame = table.comparison(table.scores(cells_with(tmp_path, **rows)))
    assert frame.variant[table.best(frame)] == "b"
    assert "b has the highest Precision-random" in verdict.verdict(frame, "set", "precision_random")[0]


def test_nothing_is_claimed_without_intervals(tmp_path):
    bare = {"low": None, "high": None}
    rows = table.comparison(table.scores(cells_with(tmp_path, a=[[kid(0.1) | bare]], b=[[kid(0.9) | bare]])))
    assert "no difference can be claimed" in verdict.verdict(rows, "set", "kid")[0]
    assert table.best(rows) is None


@pytest.mark.parametrize("seeds", [[0.1, 0.1001], [0.1, 0.1, 0.1]], ids=["two seeds", "seeds without spread"])
def test_two_seeds_or_no_spread_never_give_a_claim(tmp_path, seeds):
    far = [[kid(value + 0.8)] for value in seeds]
    rows = table.comparison(table.scores(cells_with(tmp_path, a=[[kid(value)] for value in seeds], b=far)))
    assert "No claim about variants can be made" in verdict.verdict(rows, "set", "kid")[0]
    assert table.best(rows) is None
    assert not any(line.entries[0].best for line in view.wide(rows, "set", "all", "kid")[0].lines)


def test_only_the_leading_metric_of_all_is_bold(tmp_path):
    def seeds(value):
        return [
            [
                kid(value + step, metric=metric, contrast=contrast)
                for metric in ("kid", "fid")
                for contrast in ("t1", "t2", "all")
            ]
            for step in (-1e-4, 0, 1e-4)
        ]

    rows = table.comparison(table.scores(cells_with(tmp_path, a=seeds(0.1), b=seeds(0.9))))
    bold = [
        (contrast, column.title)
        for contrast in ("t1", "t2", "all")
        for wide in view.wide(rows, "set", contrast, "kid")
        for place, column in enumerate(wide.columns)
        if any(line.entries[place].best for line in wide.lines)
    ]
    assert bold == [("all", "KID\u00a0↓")]


def test_the_difference_to_the_floor_stands_with_its_interval(tmp_path):
    rows = table.comparison(table.scores(cells_with(tmp_path, a=three(0.10))))
    row, text = rows.iloc[0], view.markdown("x", rows, dict.fromkeys(rows.dataset, "kid"))
    assert row.above_floor == pytest.approx(0.1 - 0.8) and row.above_floor_low < row.above_floor < row.above_floor_high
    assert "floor −0.700 (" in text and "| *floor: 4 unseen patients, 180 slices* | 0.800 (0.790 to 0.810) |" in text


def test_a_single_seed_is_said(tmp_path):
    rows = table.comparison(table.scores(cells_with(tmp_path, a=[[kid(0.1)]], b=[[kid(0.9)]])))
    first, *others = verdict.verdict(rows, "set", "kid")
    assert "No claim about variants can be made" in first and any("single seed" in sentence for sentence in others)
    assert table.best(rows) is None


@pytest.mark.parametrize(
    ("metric", "label"),
    [("fid", "FID"), ("kid", "KID"), ("fd_indomain", "FD-indomain"), ("kd_random", "KD-random"), ("recall", "Recall")],
)
def test_only_inception_is_called_fid(metric, label):
    assert facts.title(metric) == label


def test_data_sets_led_by_different_metrics(tmp_path):
    """A small one that has no encoder of its own next to a large one: each has its verdict and its methods."""
    large, small = make_study(tmp_path, "large"), make_study(tmp_path, "small")
    for cell in small:
        found = json.loads((cell.folder / "scores.json").read_text())
        rows = [row for row in found["scores"] if row["metric"] != "kd_indomain"]
        write(cell, "scores.json", found | {"scores": rows, "snapshot": found["snapshot"] | {"metric": "fd_indomain"}})
    leads = table.leads(table.comparison(table.scores([*large, *small])), [*large, *small])
    assert leads == {"large": "kd_indomain", "small": "fd_indomain"}
    write_report("Study", [*large, *small], tmp_path, baselines={"stylegan2_ada": "stylegan2"})
    text = (tmp_path / "comparison.html").read_text()
    assert "Led by KD-indomain (large) and FD-indomain (small)." in text
    assert "The leading score is KD-indomain" in text and "The leading score is FD-indomain" in text


@pytest.mark.parametrize(
    ("metrics", "wanted", "lead"),
    [
        (["fid", "kid"], None, "kid"),
        (["fid", "kid"], "fid", "fid"),
        (["precision", "fd_random", "kd_random"], None, "kd_random"),
        (["recall"], "fid", "recall"),
        ([], None, None),
    ],
)
def test_the_leading_metric(metrics, wanted, lead):
    assert table.headline(pd.DataFrame({"metric": pd.Series(metrics, dtype=object)}), wanted) == lead


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.0123"),
        (123.456, "123"),
        (0, "0"),
        (1e-7, "1.00e-07"),
        (math.nan, "–"),
        (None, "–"),
        (-0.5, "-0.500"),
    ],
)
def test_numbers_are_readable(value, text):
    assert table.number(value) == text


# what is not finished


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "not started"),
        ({"stats.jsonl": '{"kimg": 12.5}\n{"kimg": 13'}, "training stopped or running at 12.5 kimg"),
        ({"generator.pt": "x", "stats.jsonl": '{"kimg": 40}\n'}, "trained, not scored"),
        ({"scores.json": "{broken"}, "scores.json cannot be read; delete it"),
        ({"scores.json": '{"scores": []}'}, "scores.json holds no scores"),
    ],
)
def test_a_cell_that_is_missing_is_said_with_its_reason(tmp_path, files, reason):
    cells = cells_with(tmp_path, a=[[kid(0.1)]])
    open_cell = CellFiles("set", "late", 3, tmp_path / "set" / "late" / "seed3")
    open_cell.folder.mkdir(parents=True)
    for name, text in files.items():
        (open_cell.folder / name).write_text(text)
    write_report("x", [*cells, open_cell], tmp_path)
    status = f"seed 3 not finished: {reason}"
    rows = pd.read_csv(tmp_path / "comparison.csv")
    assert rows[rows.variant == "late"].status.str.startswith(status).all()
    assert status in (tmp_path / "comparison.md").read_text()
    assert status in (tmp_path / "comparison.html").read_text()


def test_a_study_without_any_result_still_has_a_report(tmp_path):
    cells = [CellFiles("set", "a", seed, tmp_path / f"seed{seed}") for seed in range(2)]
    write_report("Empty", cells, tmp_path)
    assert "No variant is scored yet" in (tmp_path / "comparison.html").read_text()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"split": {"train": 0.5, "val": 0.5, "test": 0}}, "no test subjects"),
        ({"split": {"train": 0.5, "val": 0, "test": 0.5}}, "no validation subjects"),
    ],
)
def test_cells_that_are_not_to_be_scored_are_said_as_such(data, said, tmp_path):
    cell = CellFiles("set", "a", 0, tmp_path / "set/a/seed0")
    cell.folder.mkdir(parents=True)
    write(cell, "recipe.json", {"data": data})
    (cell.folder / "generator.pt").touch()
    (cell.folder / "snapshots").mkdir()
    for kimg in ("kimg00000", "kimg00002", "kimg000.5"):
        Image.new("L", (8, 8)).save(cell.folder / f"snapshots/{kimg}.png")
    write_report("x", [cell], tmp_path)
    assert pd.read_csv(tmp_path / "comparison.csv").status.tolist() == [f"seed 0 not scored: {said}"]
    for name in ("comparison.md", "comparison.html"):
        assert f"not scored: {said}" in (tmp_path / name).read_text()
        assert f"No run is scored: {said}." in (tmp_path / name).read_text()
    assert "a (seed 0, 2 kimg)" in (tmp_path / "comparison.html").read_text()
    assert answer(tmp_path, 0)[0] == f"set: No run is scored: {said}."


def test_a_failed_write_leaves_the_earlier_report(study, tmp_path, monkeypatch):
    _, cells = study
    write_report("First", cells, tmp_path)
    before = (tmp_path / "comparison.html").read_text()
    monkeypatch.setattr("pathlib.Path.write_text", fail)
    with pytest.raises(OSError, match="gone"):
        write_report("Second", cells, tmp_path)
    assert (tmp_path / "comparison.html").read_text() == before
    assert not list(tmp_path.glob(".part-*"))


def fail(*_, **__):
    raise OSError("gone")


# what is shown


class Page(HTMLParser):
    """Tags and addresses of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]


def test_the_page_stands_alone(page, study):
    """It loads nothing: what it links to are files of the study."""
    folder, _ = study
    found = Page(page)
    assert not {"link", "iframe", "object", "embed"} & set(found.tags) and found.tags.count("script") == 1
    assert "<script>" in page and not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest|import\(", page)
    linked = {address for address in found.addresses if not address.startswith(("data:image/png;base64,", "#"))}
    assert {"comparison.csv", "phantom/dcgan/seed1/generator.pt", "phantom/dcgan/seed0/fake.png"} <= linked
    assert all((folder / unquote(address)).exists() for address in linked)


def test_the_page_shows_answer_curves_images_settings_cost_and_data(page):
    found = Page(page)
    runs, frames, between = 3 * len(VARIANTS), 5 * len(VARIANTS), len(VARIANTS) + 2
    assert found.tags.count("img") == 1 + runs + frames + between + 1, "real, runs, snapshots, and one to enlarge"
    assert found.tags.count("svg") == 9, "intervals, five plots, curves, losses, further statistics"
    for text in (
        "stylegan2_ada has the lowest KD-indomain",
        "indomain-7f3a, 9 patients, 412 slices, 2000 generated, test, best snapshot",
        "indomain-7f3a, 4 patients, 180 slices, 500 generated, val.",
        "floor: 4 unseen patients, 180 slices",
        "Best snapshot of each metric",
        "Losses over kimg",
        "variant.options.augment",
        "Scores of each contrast",
        "phantom/dcgan/s1",
        "13 CPU min",
        "880 of 1200 candidate slices",
        "Training reported none",
        "trained until 9 October 2025",
        "StyleGAN2 with adaptive discriminator augmentation (Karras et al. 2020a, 2020b): stylegan2 and stylegan2_ada.",
        "Karras et al. 2020b: Karras T, Aittala M",
        "split by patient: 14 (616 slices) train, 2 (88 slices) val, 4 (176 slices) test.",
    ):
        assert text in page, text
    assert re.search(r"<td>train</td><td class=\"n\">14</td><td class=\"n\">616</td>", page)


def test_an_extractor_that_is_left_out_is_named_with_its_reason(tmp_path):
    cells = cells_with(tmp_path, dcgan=[[kid(0.1)]])
    write(cells[0], "scores.json", cells[0].object("scores.json") | {"left_out": {"indomain3d": "it needs 32 volumes"}})
    found = context.protocol(table.comparison(table.scores(cells)), cells)
    assert dict(found["extractors"])["indomain3d"] == "left out: it needs 32 volumes"


def test_contents_lead_to_every_section(page):
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    wanted = {address[1:] for address in Page(page).addresses if address.startswith("#")}
    assert len(wanted) > 10 and wanted - {"viewer"} <= ids


def test_pictures_are_whole_samples_at_a_multiple_of_their_pixels(page):
    shown = re.findall(r'<img class="pixels" src="data:image/png;base64,([^"]+)" width="(\d+)" height="(\d+)"', page)
    assert len(shown) > 20
    for data, width, height in shown:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            times = int(width) / image.width
            assert times == int(times) == int(height) / image.height and times >= 1
            assert (image.width + GAP) % (2 * 64 + GAP) == 0, "both contrasts of each sample"
    heads = re.findall(r'<div class="heads" aria-hidden="true">(.*?)</div>', page)
    assert "20 to 29 %" in heads[0] and "81 to 90 %" in heads[0]
    assert re.findall(">(t1c|t2f)</span>", heads[1]) == ["t1c", "t2f"] * 4


def test_fewer_samples_are_shown_where_the_page_would_be_too_large(study, tmp_path, monkeypatch):
    _, cells = study
    monkeypatch.setattr(gallery, "BUDGET", 100_000)
    given = Study("x", cells, NO_TABLES, tmp_path)
    few = gallery.section(given.datasets[0])
    assert few["real"].width == 2 * 64 and len(few["rows"]) == len(VARIANTS)
    assert all(len(row.others) == 2 for row in few["rows"]), "all seeds"


@pytest.mark.parametrize(
    ("data", "real", "fake", "names", "size"),
    [
        (
            {"contrasts": ["t1", "t2"], "translate": {"source": ["t1"], "target": ["t2"]}},
            *((3, 2, 16, 16), (3, 4, 16, 16)),
            ["t1", "t2, translated", "t2", "t2, difference"],
            (2 * 66 - 2, 16),
        ),
        ({"contrasts": ["t1", "t2"]}, (3, 2, 8, 8, 8), (3, 2, 8, 8, 8), ["t1", "t2"], (3 * 18 - 2, 24)),
        ({"contrasts": ["t1"], "mask": "seg"}, (3, 2, 8, 8), (3, 2, 8, 8), ["t1", "seg"], (3 * 18 - 2, 8)),
    ],
    ids=["translation", "volumes", "mask"],
)
def test_panels_are_named(tmp_path, data, real, fake, names, size):
    cell = CellFiles("set", "a", 0, tmp_path / "set/a/seed0")
    cell.folder.mkdir(parents=True)
    write(cell, "recipe.json", {"data": data})
    for name, shape in (("real", real), ("fake", fake)):
        write_grid(cell.folder / f"{name}.png", np.zeros(shape, np.float32), 3)
    shown = gallery.section(Study("x", [cell], NO_TABLES, tmp_path).datasets[0])
    (row,) = shown["rows"]
    samples = (size[0] + GAP) // (len(names) * fake[-1] + GAP)
    assert [name for name, _ in row.first.heads[0]] == names * samples
    assert sum(width for _, width in row.first.heads[0]) == row.first.width
    times = 6 if len(fake) == 5 else 1  # voxels are enlarged
    assert (row.first.width, row.first.height) == (times * size[0], times * size[1])
    assert row.first.link == "set/a/seed0/fake.png"
    assert len(shown["real"].heads[0]) == 3 * real[1]


def test_intervals_end_where_the_metric_does(tmp_path):
    rows = [[kid(0.95 + step, width=0.2, metric="precision_random")] for step in (-0.04, 0, 0.04)]
    row = table.comparison(table.scores(cells_with(tmp_path, a=rows))).iloc[0]
    assert row.high == 1 and 0 < row.low < 0.9


def test_the_kimg_of_several_seeds_are_a_range(tmp_path):
    cells = cells_with(tmp_path, a=three(0.1))
    for cell, kimg in zip(cells, (2.5, 10, 4), strict=True):
        write(cell, "scores.json", cell.object("scores.json") | {"snapshot": {"kimg": kimg, "chosen": "best"}})
    (wide,) = view.wide(table.comparison(table.scores(cells)), "set", "all", "kid")
    assert wide.lines[0].kimg == "2.5 to 10"


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0.004, "14 CPU s"), (0.5, "30 CPU min"), (1.99, "119 CPU min"), (30.0, "30.0 CPU h"), (math.nan, "–")],
)
def test_durations_are_readable(hours, text):
    assert table.duration(hours, "CPU") == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "GAN (Karras et al. 2020a, 2020b): x (Odena et al. 2017)",
            ["Karras et al. 2020a", "Karras et al. 2020b", "Odena et al. 2017"],
        ),
        ("squared MMD (Bińkowski et al. 2018), and (not a name)", ["Bińkowski et al. 2018"]),
        ("none", []),
    ],
)
def test_publications_in_a_text_are_found(text, found):
    assert references.named(text) == found


def test_every_publication_that_the_page_may_name_has_its_reference():
    said = [fact.sentence for fact in facts.FACTS.values()]
    said += [inspect.getdoc(options_of(name)).splitlines()[0] for name in families()]
    wanted = {name for text in said for name in references.named(text)}
    assert len(wanted) > 10 and wanted <= set(references.references())


def test_looks_at_the_test_split_are_on_the_page(tmp_path):
    cells = make_study(tmp_path / "demo", seeds=1, variants={"dcgan": 0.1, "stylegan2": 0.1})
    for cell in cells:
        note_look(tmp_path / "looks", cell.object("recipe.json"), cell.object("scores.json")["run_key"])
    write_report("Demo", cells, tmp_path, looks=tmp_path / "looks", stores={"phantom": make_index(tmp_path / "store")})
    for name in ("comparison.html", "comparison.md"):
        assert "Looks at the test split so far: 2 training runs" in (tmp_path / name).read_text()


def test_subjects_without_a_slice_are_counted(page, tmp_path):
    assert "subjects no slice passed" not in page
    folder = make_index(tmp_path / "store")
    index = pd.read_parquet(folder / "index.parquet")
    index.loc[index["subject"].isin([3, 7, 19]), "kept"] = False
    index.to_parquet(folder / "index.parquet")
    write_report("Demo", cells_with(tmp_path, a=[[kid(0.1)]]), tmp_path / "report", stores={"set": folder})
    assert "Of 3 subjects no slice passed" in (tmp_path / "report/comparison.html").read_text()


def test_the_same_study_gives_the_same_bytes(study, page):
    folder, cells = study
    write_report("Demo", cells, folder, stores={"phantom": folder / "store"})
    assert (folder / "comparison.html").read_text() == page


def test_names_are_text_and_not_markup(tmp_path):
    name = "<script>alert(1)</script>|$x_1$ & *b*"
    cells = cells_with(tmp_path, safe=[[kid(0.1)]])
    folder = tmp_path / "set" / "evil"
    folder.mkdir()
    evil = CellFiles("set<b>", name, 0, folder)
    write(evil, "scores.json", {"snapshot": {"kimg": 1}, "scores": [kid(0.2, contrast="<i>t1")]})
    write(evil, "recipe.json", {"variant": {"options": {"augment": "<u>"}}})
    curve = {"kimg": 1, "metric": "kid", "contrast": "all", "value": 0.2, "n_real": 1, "n_fake": 1}
    write(evil, "curve.json", {"rows": [curve | {"extractor": "<i>", "split": "val"}]})
    write_report("<h1>title</h1>", [*cells, evil], tmp_path)
    text = (tmp_path / "comparison.html").read_text()
    tags = Page(text).tags
    assert tags.count("script") == 1 and "u" not in tags
    assert tags.count("h1") == 1
    assert "<i>t1" not in text
    markdown = (tmp_path / "comparison.md").read_text()
    assert "<script>" not in markdown
    assert r"\|$x_1$ &amp; \*b\*" in markdown


def test_warnings_of_training_are_listed(tmp_path, study):
    cells = make_study(tmp_path / "demo", variants={"dcgan": 0.1}, seeds=1)
    line = {"kimg": 20, "time": START, "event": "collapse", "message": "the generator has collapsed to few images"}
    with open(cells[0].folder / "stats.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")
    assert context.events(cells) == [("phantom/dcgan/s0", "the generator has collapsed to few images at 20 kimg")]
    write_report("x", cells, tmp_path)
    assert "collapsed to few images" in (tmp_path / "comparison.html").read_text()


def test_settings_tell_what_differs_from_what_is_shared(study):
    _, cells = study
    settings = context.settings(cells)
    assert settings.variants == list(VARIANTS)
    differing = dict(settings.differing)
    assert differing["variant.options.augment"] == ["none", "mri", "–"]
    assert "training.kimg" not in differing
    assert dict(settings.shared)["training.kimg"] == "40"


@pytest.mark.parametrize(
    ("cost", "wanted"),
    [
        ({"gpu_s": 7200, "cpu_s": 9000}, ("GPU", 2.0)),
        ({"gpu_s": 0, "cpu_s": 1800}, ("CPU", 0.5)),
        ({}, ("CPU", math.nan)),
    ],
)
def test_cost_counts_the_hours_of_the_device(cost, wanted):
    device, hours = cost_of.device_hours(cost)
    assert device == wanted[0]
    assert hours == pytest.approx(wanted[1], nan_ok=True)


def test_cost_is_in_every_table(tmp_path):
    cells = cells_with(tmp_path, a=[[kid(0.1)], [kid(0.2)]], b=[[kid(0.3)]])
    used = {"wall_s": 3600, "cpu_s": 1800.0, "gpu_s": 7200, "peak_mem_mb": 2048, "peak_gpu_mem_mb": 1024}
    write(cells[0], "cost.json", used | {"gpus": 2, "resumed": 1, "device": "H100", "threads": 4})
    write(cells[1], "cost.json", used | {"wall_s": 7200, "gpus": 2, "resumed": 0, "peak_mem_mb": 3072})
    write_report("x", cells, tmp_path)
    seeds = pd.read_csv(tmp_path / "scores.csv").set_index(["variant", "seed"])
    wanted = {"wall_hours": 1, "gpu_hours": 2, "cpu_hours": 0.5, "peak_mem_gb": 2, "peak_gpu_mem_gb": 1}
    assert seeds.loc[("a", 0), list(wanted)].to_dict() == wanted
    assert seeds.loc[("a", 0), ["gpus", "resumed"]].tolist() == [2, 1]
    means = pd.read_csv(tmp_path / "comparison.csv").set_index("variant")
    assert means.loc["a", ["wall_hours", "gpu_hours", "resumed"]].tolist() == [1.5, 2, 0.5]
    assert means.loc["a", "peak_mem_gb"] == 3, "the largest is what a job must ask for"
    assert means.loc["b", cost_of.COLUMNS].isna().all(), "not recorded is not 0"
    text = (tmp_path / "comparison.md").read_text()
    assert "| a | 1.50 | 2.00 | 0.500 | 3.00 | 1.00 | 2.00 | 0.500 |" in text
    assert "| b | – | – | – | – | – | – | – |" in text
    page = (tmp_path / "comparison.html").read_text()
    for shown in ("2.00 GPU h", "2 × H100", "3.00 GiB", "1.00 GiB", "4.00 GPU h"):
        assert shown in page, shown


def test_other_jobs_are_summed_by_rule(tmp_path):
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    folder = tmp_path / "benchmarks/set"
    folder.mkdir(parents=True)
    for name, s, rss, cpu in (("a_seed0_curve", 3600, 512, 1800), ("b_b_seed1_curve", 7200, 1024, "-")):
        (folder / f"{name}.tsv").write_text(head + f"{s}\t1:00:00\t{rss}\t1\t1\t1\t0\t0\t9\t{cpu}\n")
    (folder / "convert.tsv").write_text(head + "1800\t0:30:00\t-\t-\t-\t-\t-\t-\t-\t36\n")
    for name, text in (("empty", ""), ("torn", head[:20]), ("bytes", "\0\xff")):
        (folder / f"{name}.tsv").write_text(text)
    cells = cells_with(tmp_path, a=[[kid(0.1)]])
    rows = cost_of.jobs(cells).set_index("rule")
    assert rows.loc["curve", ["jobs", "wall", "cpu", "memory"]].tolist() == [2, 3, 0.5, 1]
    assert rows.loc["convert", ["jobs", "wall", "cpu"]].tolist() == [1, 0.5, 0.01]
    write_report("x", cells, tmp_path / "out")
    page = (tmp_path / "out/comparison.html").read_text()
    assert "<td>curve</td>" in page and re.search(r'all but training</th><td class="n">3</td><td class="n">3.50', page)


def test_no_cost_is_no_section(tmp_path):
    write_report("x", cells_with(tmp_path, a=[[kid(0.1)]]), tmp_path)
    assert 'id="cost"' not in (tmp_path / "comparison.html").read_text()


def test_broken_and_large_images(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG no image")
    assert pictures.whole(broken) is None and pictures.read(broken) is None
    assert pictures.whole(tmp_path / "missing.png") is None
    large = tmp_path / "large.png"
    Image.new("L", (3000, 1000)).save(large)
    assert len(pictures.whole(large)) < 20_000


@pytest.mark.parametrize("size", [30, 3000])
def test_pictures_of_generated_images_keep_their_mark(size, tmp_path):
    mark = Mark("dcgan", "abc", 1.0, 0).text("0-3")
    write_png(tmp_path / "whole.png", np.zeros((10, size), np.uint8), text=mark)
    write_grid(tmp_path / "grid.png", np.zeros((4, 1, 10, size), np.float32), 2, text=mark)
    grid = pictures.read(tmp_path / "grid.png")
    sources = [pictures.whole(tmp_path / "whole.png"), pictures.cut(grid, "x", [1]).source]
    for source, width in zip(sources, (min(size, pictures.LARGEST), size), strict=True):
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
            assert image.size[0] == width
            assert image.info.items() >= mark.items()


def test_curves_follow_the_variants_and_not_their_number():
    names = [f"v{place}" for place in range(20)]
    looks = figures.look(names)
    assert len(set(map(str, looks.values()))) == 20
    assert looks["v0"] == figures.look(["v0"])["v0"]


def test_a_line_that_is_still_written_waits(tmp_path):
    path = tmp_path / "stats.jsonl"
    path.write_bytes(b'{"kimg": 1}\nnot json\n[2]\n{"kimg": 3}\n{"kim')
    assert stats(path) == [{"kimg": 1}, {"kimg": 3}]
    ends = [end for _, end in stats_lines(path)]
    assert list(stats_lines(path, ends[0])) == [({"kimg": 3}, ends[1])]
    assert stats(tmp_path / "missing.jsonl") == []


def test_a_running_study_is_compared_by_a_command(tmp_path, capsys):
    from gan.report.command import main

    for cell in cells_with(tmp_path, a=[[kid(0.1)], [kid(0.3)]], b=[[]]):
        write(cell, "recipe.json", {})
    assert main(["--study", str(tmp_path)]) == 0
    text = (tmp_path / "so_far/comparison.md").read_text()
    assert "0.200" in text and "not finished" in text
    assert not (tmp_path / "comparison.html").exists()
    assert main(["--study", str(tmp_path / "nowhere")]) == 1
    assert "no cell has begun" in capsys.readouterr().err


def test_joint_scores_stand_between_the_mean_and_the_contrasts(tmp_path):
    rows = [kid(value, contrast=name) for name, value in (("t1c", 0.1), ("t2f", 0.3), ("joint", 0.4), ("all", 0.2))]
    text = view.markdown("Demo", table.comparison(table.scores(cells_with(tmp_path, plain=[rows]))), {"set": "kid"})
    headings = re.findall(r"^### (.*)", text, re.MULTILINE)
    assert headings[:4] == ["Mean over contrasts", "The contrasts of a sample together", "Contrast t1c", "Contrast t2f"]
    assert "0.4" in text.split("together")[1].split("###")[0]


@pytest.mark.parametrize("targets", [1, 2])
def test_the_way_back_is_a_table_of_its_own(tmp_path, targets):
    """Of the variants that have it, the first of the study aside, which knows one way."""
    onward = [kid(0.1 + place, contrast=f"t1>t{place}") for place in range(2, 2 + targets)]
    onward.append(kid(2.0, contrast="all"))
    back = kid(7.5, contrast="t2>t1" if targets == 1 else "t2+t3>t1")
    cells = cells_with(tmp_path, one_way=[onward], both=[[*onward, back]])
    rows = table.comparison(table.scores(cells))
    headings = ["all", *[row["contrast"] for row in onward[:-1]] * (targets > 1), back["contrast"]]
    assert view.contrasts(rows, "set") == headings and view.way_back(rows, "set") == [back["contrast"]]
    text = view.markdown("x", rows, dict.fromkeys(rows.dataset, "kid"))
    parts = dict(part.split("\n", 1) for part in text.split("### ")[1:])
    assert "one_way" not in (own := parts[f"Way back, {back['contrast']}"]) and "7.5" in own
    assert "7.5" not in parts["Mean over contrasts"] and "one_way" in parts["Mean over contrasts"]
    write_report("x", cells, tmp_path / "out")
    page = (tmp_path / "out/comparison.html").read_text()
    assert "The way back is below, and in no mean." in page
    assert ("each of them stands below" in page) == (targets > 1)
    summary = "Scores of each contrast and the way back" if targets > 1 else "Scores of the way back"
    assert (
        f"<summary>{summary}</summary>" in page
        and f"<h4>Way back, {back['contrast'].replace('>', '&gt;')}</h4>" in page
    )


def test_every_table_of_the_text_ends_with_an_empty_line(tmp_path):
    """Else Markdown takes what follows for a row."""
    cells = make_study(tmp_path / "demo", seeds=2)
    write_report("demo", cells, tmp_path / "out")
    lines = (tmp_path / "out/comparison.md").read_text().splitlines()
    assert any(line.startswith("The best value") for line in lines)
    after = [below for above, below in itertools.pairwise(lines) if above.startswith("|") and not below.startswith("|")]
    assert len(after) > 2 and set(after) == {""}
