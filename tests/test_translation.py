"""Translation from a row of the config to scores: pairs, neighbours, floors, made rows, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from paired_store import EVERY, SIDE, SPLITS, TASK, make_store

from gan.cells import WHOLE
from gan.data.store import Store
from gan.errors import GanError
from gan.families.contract import Given, ImageShape, Source
from gan.families.registry import families, make_options
from gan.run import main as run
from gan.sampling.grid import Grid
from gan.sampling.snapshot import Snapshot, load_generator
from gan.sampling.tasks import sample, translated
from gan.scoring.cell import score_cell, score_snapshots
from gan.scoring.floors import lookup_floors
from gan.scoring.judge import Judge, Protocol
from gan.scoring.reference import image_facts, prepare_extractor, real_features
from gan.study import Cell, load, run_key
from gan.train.images import StoreDataset

CPU = torch.device("cpu")
SCHEMA = Path(__file__).parent.parent / "workflow/schemas/config.schema.yaml"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return make_store(tmp_path_factory.mktemp("pairs") / "store")


def data(store, split="train", **task) -> StoreDataset:
    return StoreDataset(Store.open(store), CPU, False, TASK | task, split)


def model(family, dataset):
    kind = families()[family].model
    return kind, kind.make(make_options(family, {}), dataset, Given()).eval()


# pairs


def test_source_and_target_are_of_the_same_slice(store):
    dataset = data(store)
    assert dataset.shape == ImageShape(1, (SIDE, SIDE), 0, 0, 1, 0) and len(dataset) == 48
    assert dataset.meta["channels"] == ["t2"] and dataset.meta["translate"] == TASK and dataset.meta["mask"] is None
    batch = dataset.batch(np.array([5, 0, 47]))
    t1, t2 = ((batch.source + 1) / 2, (batch.real + 1) / 2)
    torch.testing.assert_close(t2, 1 - t1 / 2, atol=2e-5, rtol=0)
    stored = Store.open(store).images[[5, 0, 47], 0]
    np.testing.assert_allclose(t1[:, 0].numpy() * 65535, stored, atol=0.01)


def halves(store, lacking=(), seed=0, subjects=None, label_of="subject"):
    """The subjects that give sources, and those that give targets; odd ones have another label."""
    opened = Store.open(store)
    odd = opened.index["subject"].str[1:].astype(int) % 2
    opened.index["label"] = odd.map(["even", "odd"].__getitem__)
    opened.index["has_t1"] = ~opened.index["subject"].isin(lacking)
    opened.meta |= {"split": {"seed": seed}, "label_of": label_of}
    if subjects:
        opened.index.loc[opened.index["subject"] > subjects, "split"] = "val"
    dataset = StoreDataset(opened, CPU, False, TASK)
    of = opened.index.set_index("row")["subject"]
    found = [of.loc[dataset.rows[indices]] for indices in dataset.halves()]
    assert sum(map(len, found)) == len(dataset) - 6 * len(lacking)
    return [set(subjects) for subjects in found]


def test_halves_of_the_training_subjects(store):
    """Two of each label in either half, none of another split; by the seed of the split."""
    sources, targets = halves(store)
    assert not sources & targets and sources | targets == {f"s{number:02}" for number in SPLITS["train"]}
    for half in (sources, targets):
        assert sorted(int(subject[1:]) % 2 for subject in half) == [0, 0, 1, 1]
    assert [len(half) for half in halves(store, label_of=None)] == [4, 4]
    assert halves(store) == [sources, targets] and any(halves(store, seed=seed)[0] != sources for seed in (1, 2, 3))


def test_a_subject_without_the_source_gives_targets_alone(store):
    first, other = halves(store)
    assert halves(store, lacking=[min(first)]) == [first - {min(first)}, other]
    with pytest.raises(GanError, match="no training subject of the half that gives sources has all of them; change"):
        halves(store, lacking=first)


def test_one_subject_has_no_halves(store):
    with pytest.raises(GanError, match="option pairing is disjoint, which needs two training subjects, but there is 1"):
        halves(store, subjects="s00")


def test_neighbours_are_of_the_same_scan_and_a_missing_one_repeats_the_slice(store):
    dataset, stored = data(store, source=["t1", "flair"], neighbours=1), Store.open(store).images
    assert dataset.shape.sources == 6 and dataset.shape.neighbours == 1
    source = (dataset.batch(np.array([0, 1, 5])).source + 1) / 2 * 65535
    rows = [[0, 0, 1], [0, 1, 2], [4, 5, 5]]  # the first and the last slice of a subject have one neighbour
    expected = np.stack([[stored[row, channel] for channel in (0, 2) for row in around] for around in rows])
    np.testing.assert_allclose(source.numpy(), expected, atol=0.01)


def test_only_slices_at_the_distance_of_training_are_neighbours(store):
    opened = Store.open(store)
    opened.index.loc[opened.index["row"] == 1, "slice"] = EVERY * 1 + 1
    found = opened.neighbours(opened.rows("train"), 1)
    assert found[:3].tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 3]]


def test_a_subject_without_the_target_is_no_target(tmp_path):
    store = make_store(tmp_path / "store", lacking=(2, 12))
    assert len(data(store)) == 7 * 6 and len(data(store, "test")) == 3 * 6
    opened = Store.open(store)
    assert "s02" not in set(opened.index["subject"].iloc[data(store).rows])
    # as a source it is zeros, in training alone
    assert len(data(store, source=["t2"], target=["t1"])) == 8 * 6
    assert len(data(store, "test", source=["t2"], target=["t1"])) == 3 * 6
    floors = lookup_floors(store, TASK)
    assert floors["test"]["mae_whole", "t1>t2"] < 1


# rows that are made


def test_lookup_learns_any_function_of_the_level(store):
    dataset = data(store)
    kind, kept = model("lookup", dataset)
    batch = dataset.batch(np.arange(48))
    made = kind.draw(kept, Source(batch.source, batch.labels))
    assert (made - batch.real).abs().max() < 2 / 255  # a level is as wide as that
    unseen = data(store, "test").batch(np.arange(24))
    assert (kind.draw(kept, Source(unseen.source, unseen.labels)) - unseen.real).abs().max() < 2 / 255


def test_lookup_draws_a_line_between_levels_that_no_voxel_has(store):
    kind, kept = model("lookup", data(store))
    levels = torch.linspace(-1, 1, 256).reshape(1, 1, 16, 16)
    made = kind.draw(kept, Source(levels, torch.zeros(1, 0))).flatten()
    inner = slice(30, 220)  # levels that training has, or has around them
    torch.testing.assert_close(made[inner], 0.5 - levels.flatten()[inner] / 2, atol=0.02, rtol=0)


def test_lookup_of_several_sources_is_least_squares_of_them_and_their_squares(store):
    dataset = data(store, source=["t1", "flair"])
    kind, kept = model("lookup", dataset)
    batch = dataset.batch(np.arange(48))
    made = kind.draw(kept, Source(batch.source, batch.labels))
    assert (made - batch.real).abs().max() < 1e-3
    x = batch.source.movedim(1, -1).reshape(-1, 2).double().numpy()
    terms = np.concatenate([np.ones((len(x), 1)), x, x**2], 1)
    expected, *_ = np.linalg.lstsq(terms, batch.real.reshape(-1, 1).double().numpy(), rcond=None)
    np.testing.assert_allclose(kept.weights.numpy(), expected, atol=1e-3)


def test_copy_is_the_slice_itself(store):
    dataset = data(store, source=["t1", "flair"], target=["t2"], neighbours=2)
    kind, kept = model("copy", dataset)
    batch = dataset.batch(np.arange(4))
    t1 = data(store).batch(np.arange(4)).source
    assert torch.equal(kind.draw(kept, Source(batch.source, batch.labels)), t1)


def test_a_target_is_out_of_reach_of_a_translation(store):
    kind, kept = model("lookup", data(store))
    batch = data(store, "test").batch(np.arange(3))
    assert torch.isfinite(kind.draw(kept, Source(batch.source, batch.labels))).all()
    assert not hasattr(Source(batch.source, batch.labels), "real")


# cells


@pytest.fixture(scope="module")
def cells(store, tmp_path_factory) -> Path:
    """The cells copy and lookup with their scores, and the judge's files."""
    folder = tmp_path_factory.mktemp("cells")
    prepare_extractor("indomain", {"steps": 4, "dim": 16, "seed": 0}, store, folder / "extractor.pt", "cpu")
    real_features(folder / "extractor.pt", store, folder / "real.npz", "cpu")
    image_facts(store, folder / "images.npz", lookup_floors(store, TASK))
    judge = Judge([folder / "extractor.pt"], [folder / "real.npz"], folder / "images.npz", "cpu", store)
    for name in ("copy", "lookup"):
        recipe = {
            "data": {"dataset": "pairs", "translate": TASK},
            "variant": {"name": name, "family": name, "options": {}},
            "training": {"kimg": 0, "batch": 1, "snapshot_kimg": 1, "precision": "fp32"},
            "seed": 0,
        }
        (folder / f"{name}.json").write_text(json.dumps(recipe))
        given = ["--recipe", folder / f"{name}.json", "--store", store, "--folder", folder / name]
        assert run([*map(str, given), "--checkpoints", str(folder / "states"), "--runtime", "device=cpu"]) == 0
        score_snapshots(folder / name, judge, Protocol(bootstrap=0))
        score_cell(folder / name, judge, Protocol(bootstrap=20))
    return folder


def scores(cells, name, contrast="t1>t2"):
    content = json.loads((cells / name / "scores.json").read_text())
    return content["snapshot"], {row["metric"]: row for row in content["scores"] if row["contrast"] == contrast}


def scores_of(cells, name):
    return json.loads((cells / name / "scores.json").read_text())["scores"]


def test_a_made_row_has_one_snapshot_and_scores_like_any_other(cells):
    chosen, rows = scores(cells, "lookup")
    assert chosen == {"kimg": None, "chosen": "best", "metric": "mae_fg"}
    assert {"mae_fg", "ssim_fg", "psnr_fg", "mae_tumour", "kd_indomain", "fd_indomain"} <= rows.keys()
    assert rows["mae_fg"]["split"] == "test" and rows["mae_fg"]["n_subjects"] == len(SPLITS["test"])
    assert rows["mae_fg"]["low"] <= rows["mae_fg"]["value"] <= rows["mae_fg"]["high"]
    assert {path.name for path in (cells / "lookup/snapshots").iterdir()} == {
        "kimg00000.pt", "kimg00000.png", "kimg00000.json",
    }  # fmt: skip
    assert json.loads((cells / "lookup/curve.json").read_text())["rows"][0]["metric"] == "mae_fg"
    assert (cells / "lookup/fake.png").read_bytes() == (cells / "lookup/snapshots/kimg00000.png").read_bytes()


def test_the_floor_is_what_lookup_reaches(cells):
    (_, copy), (_, lookup) = scores(cells, "copy"), scores(cells, "lookup")
    for metric in ("mae_fg", "ssim_fg", "mae_tumour"):
        assert lookup[metric]["value"] == pytest.approx(lookup[metric]["floor"])
        assert copy[metric]["floor"] == lookup[metric]["floor"]
    assert lookup["mae_fg"]["value"] < 1 < copy["mae_fg"]["value"]
    assert scores(cells, "copy", WHOLE)[1]["mae_fg"]["value"] == copy["mae_fg"]["value"]


def test_values_are_those_of_the_images(cells, store):
    _, rows = scores(cells, "copy")
    stored = Store.open(store).images[66:, :2].astype(np.float64) / 257
    assert rows["mae_whole"]["value"] == pytest.approx(np.abs(stored[:, 0] - stored[:, 1]).mean(), abs=0.01)


class BothWays(torch.nn.Module):
    """Copies sources, and makes targets 10 levels brighter on the way back."""

    def __init__(self):
        super().__init__()
        self.register_buffer("brighter", torch.tensor(10 / 127.5))

    def forward(self, images, labels, backward=False):
        return images + self.brighter if backward else images


def judged(cells, store, network, family, sources=1, **task):
    """Rows of a network that is no file, as (metric, contrast) -> row."""
    judge = Judge([cells / "extractor.pt"], [cells / "real.npz"], cells / "images.npz", "cpu", store)
    data = load_generator(cells / "copy/generator.pt").data | {"translate": TASK | task}
    shape = ImageShape(1, (SIDE, SIDE), sources=sources, neighbours=sources // 2)
    rows, _ = judge.scores(cells, Snapshot(network, family, {}, shape, 1, data=data), Protocol(bootstrap=20))
    return {(row["metric"], row["contrast"]): row for row in rows}


def test_the_way_back_is_scored_by_itself(cells, store):
    """The other rows are those of a family that knows one way; a floor of its own; in no mean."""
    rows = judged(cells, store, BothWays().eval(), "cyclegan")
    onward = {key: row for key, row in rows.items() if key[1] != "t2>t1"}
    expected = {(row["metric"], row["contrast"]): row for row in scores_of(cells, "copy")}
    assert onward.keys() == expected.keys()
    for key, row in expected.items():
        assert {name: onward[key][name] for name in row} == row, key
    back, asked = ({metric for metric, contrast in rows if contrast == way} for way in ("t2>t1", "t1>t2"))
    assert back == asked, "copies are looked for among what the data set asks for alone"
    stored = Store.open(store).images[66:, :2].astype(np.float64) / 257
    error = np.abs((stored[:, 1] + 10).clip(max=255) - stored[:, 0]).mean()
    back = rows["mae_whole", "t2>t1"]
    assert back["value"] == pytest.approx(error, abs=0.01) and back["split"] == "test" and len(back["replicates"]) == 20
    assert back["floor"] < 2 < back["value"] and back["above_floor"] == back["value"] - back["floor"]
    assert rows["kd_indomain", "t2>t1"]["value"] != rows["kd_indomain", "t1>t2"]["value"]


def test_there_is_no_way_back_to_more_than_single_contrasts(cells, store):
    network = BothWays().eval()
    network.forward = lambda images, labels, backward=False: images[:, 1:2]
    assert {contrast for _, contrast in judged(cells, store, network, "cyclegan", 3, neighbours=1)} == {"t1>t2", WHOLE}


def test_a_made_row_is_the_same_when_made_again(cells, store, tmp_path):
    given = ["--recipe", cells / "lookup.json", "--store", store, "--folder", tmp_path / "again"]
    run([*map(str, given), "--checkpoints", str(tmp_path / "states"), "--runtime", "device=cpu"])
    for name in ("generator.pt", "real.png", "snapshots/kimg00000.png"):
        assert (tmp_path / "again" / name).read_bytes() == (cells / "lookup" / name).read_bytes()


def test_a_translation_depends_on_its_image_alone(cells, store):
    snapshot, images = load_generator(cells / "lookup/generator.pt"), data(store, "test").batch(np.arange(20)).source
    whole = next(translated(snapshot, [Source(images, torch.zeros(20, 0))], 0))
    alone = next(translated(snapshot, [Source(images[7:8], torch.zeros(1, 0))], 0))
    assert torch.equal(whole[7:8], alone)


def test_pictures_show_source_translation_target_and_difference(cells, store):
    grid = Grid(data(store, "val"), seed=0)
    images, picture = grid.draw(load_generator(cells / "lookup/generator.pt"))
    source, made, target, difference = picture.unbind(1)
    assert torch.equal(made, images[:, 0]) and torch.allclose(difference, (made - target) / 2)
    assert torch.equal(grid.real, torch.stack([source, target], 1))
    labelled = data(store, "val").batch(data(store, "val").marked).source[:, 0]
    assert len(labelled) == 6
    assert all((source[:6] == one).flatten(1).all(1).any() for one in labelled), "slices with a label come first"


def test_a_translator_asked_to_generate_says_what_it_does(cells):
    with pytest.raises(GanError, match=r"lookup translates images \(gan translate\) and has no latents"):
        sample(load_generator(cells / "lookup/generator.pt"), 3, seed=0)


def test_the_judge_of_translations_needs_their_store(cells):
    judge = Judge([cells / "extractor.pt"], [cells / "real.npz"], cells / "images.npz", "cpu")
    with pytest.raises(GanError, match="the judge was given no store"):
        score_cell(cells / "copy", judge, Protocol(bootstrap=0))


# rows of the config


def config(**changes) -> dict:
    row = {"source": {"phantom": {}}, "layout": "brats", "contrasts": ["t1n", "t2w"], "mask": "seg"}
    row |= {"translate": {"source": ["t1n"], "target": ["t2w"]}}
    return {
        "study": {"name": "s", "datasets": ["d"], "variants": ["v"], "seeds": [3, 4]},
        "datasets": {"d": row | changes.pop("row", {})},
        "variants": {"v": {"family": "lookup"} | changes.pop("variant", {})},
        **changes,
    }


LONG = {"size": [304, 256], "fit": "pad"}


@pytest.mark.parametrize("family", ["unit", "cyclegan", "pix2pix", "lookup"])
def test_translators_take_sizes_that_no_small_grid_reaches(family):
    load(config(row={"slices": LONG}, variant={"family": family}), SCHEMA)


def test_the_task_is_in_the_recipe_and_not_in_the_store():
    study = load(config(), SCHEMA)
    assert study.recipe(Cell("d", "v", 3))["data"]["translate"] == TASK | {"source": ["t1n"], "target": ["t2w"]}
    plain = load(config(row={"translate": None}, variant={"family": "dcgan"}), SCHEMA)
    assert plain.store_spec("d") == study.store_spec("d")
    assert "translate" not in plain.recipe(Cell("d", "v", 3))["data"]


def test_a_row_that_no_seed_changes_is_one_cell_and_its_key_knows_no_budget():
    study = load(config(), SCHEMA)
    assert [cell.seed for cell in study.cells()] == [3]
    longer = load(config(training={"kimg": 7}), SCHEMA)
    keys = {run_key(one.recipe(Cell("d", "v", 3))) for one in (study, longer)}
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variant": {"family": "dcgan"}}, "generates images (family dcgan), but datasets.d has translate"),
        ({"row": {"translate": None}}, "translates images (family lookup), but datasets.d has no translate"),
        ({"row": {"translate": {"source": ["t1n"], "target": ["t1n"]}}}, "'t1n' is source and target"),
        ({"row": {"translate": {"source": ["pd"], "target": ["t2w"]}}}, "translate.source names 'pd'; allowed: t1n"),
        ({"row": {"translate": {"source": ["t1n"], "target": ["seg"]}}}, "translate.target names 'seg'; allowed: t1n"),
        ({"row": {"translate": {"source": ["t1n"]}}}, "target"),
        ({"row": {"labels": "contrast", "mask": None}}, "each image is of one contrast"),
        ({"variant": {"training": {"kimg": 3}}}, "variants.v.training is set, but lookup is not trained"),
        ({"variant": {"init_from": {"dataset": "d", "variant": "v"}}}, "v"),
        (
            {"row": {"translate": None, "slices": LONG}, "variant": {"family": "dcgan"}},
            "variants.v on datasets.d: image size [304, 256] is no doubling of a small grid",
        ),
        (
            {
                "row": {"slices": {"size": 32}},
                "variant": {"family": "unit", "options": {"d_layers": 5, "d_last_kernel": 2}},
            },
            "variants.v on datasets.d: option d_layers is 5, d_last_kernel 2; images of size [32, 32] are too small",
        ),
        (
            {"row": {"slices": {"size": [50, 64]}}, "variant": {"family": "unit", "options": {"down_kernel": 4}}},
            "variants.v on datasets.d: option down_kernel is 4, which halves even sides; images of size [50, 64]",
        ),
        (
            {"variant": {"family": "unit", "options": {"d_shrink": "mean2"}}},
            "but d_scales is 1, so that it does nothing",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changes, said):
    with pytest.raises(GanError) as error:
        load(config(**changes), SCHEMA)
    assert said in str(error.value) and "\n" not in str(error.value)
