"""The config becomes cells and recipes; whatever is wrong in it is told in one line."""

import copy
import importlib.util
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml
from driver import merge

from gan import study
from gan.config import complete, task_of
from gan.errors import GanError

REPOSITORY = Path(__file__).resolve().parent.parent
SCHEMA = REPOSITORY / "workflow/schemas/config.schema.yaml"

IXI = {"source": {"path": "data/ixi"}, "layout": "ixi"}


def load(config):
    return study.load(config, SCHEMA)


def keys(config):
    loaded = load(config)
    return {cell: study.run_key(loaded.recipe(cell)) for cell in loaded.cells()}


def edited(config, path, value):
    config = copy.deepcopy(config)
    *parents, last = path.split(".")
    part = config
    for name in parents:
        part = part.setdefault(name, {})
    part[last] = value
    return config


def test_cells_are_the_whole_grid(config):
    config["study"].update(datasets=["phantom", "ixi"], variants=["dcgan", "stylegan2"], seeds=[0, 3])
    cells = load(config).cells()
    assert len(cells) == len(set(cells)) == 8
    assert study.Cell("ixi", "dcgan", 3).folder == "ixi/dcgan/seed3"


def test_tasks_of_utility_are_those_of_the_masks_and_classes_of_a_cell(config):
    config["study"].update(datasets=["phantom"], variants=["dcgan", "seed000_labels"], seeds=[0])
    assert [load(config).tasks(cell) for cell in load(config).cells()] == [[], []]
    before = keys(config)
    config["utility"] = {}
    asked = load(config)
    assert [asked.tasks(cell) for cell in asked.cells()] == [[], ["classify"]] and keys(config) == before
    config["datasets"]["phantom"] |= {"mask": "seg", "regions": {"WT": [1, 2, 3]}}
    cells, masked = load(config).cells(), keys(config)
    assert [load(config).tasks(cell) for cell in cells] == [["segment"], ["segment", "classify"]]
    config["utility"] = {"also": ["two_sample"]}
    config["datasets"]["phantom"]["detect"] = 0.5
    assert load(config).tasks(cells[0]) == ["segment", "detect", "two_sample"] and keys(config) == masked
    config["datasets"]["phantom"]["split"] = {"train": 1, "val": 0, "test": 0}
    assert [load(config).tasks(cell) for cell in load(config).cells()] == [[], []], "no patient to test on"


def test_run_keys_are_distinct_and_stable_under_key_order(config):
    first = keys(config)
    assert len(set(first.values())) == len(first)
    shuffled = dict(reversed([(k, dict(reversed(v.items())) if isinstance(v, dict) else v) for k, v in config.items()]))
    assert keys(shuffled) == first


def test_gpus_that_do_not_share_out_over_nodes(config):
    for gpu in (1, 3):
        config["resources"]["train"] |= {"gpu": gpu, "nodes": 2}
        with pytest.raises(
            GanError, match=f"resources.train.gpu is {gpu}; give a multiple of resources.train.nodes, 2"
        ):
            load(config)


@pytest.mark.parametrize(
    ("path", "value", "changed"),
    [
        ("variants.dcgan.options", {"lr": 0.001}, {"dcgan"}),
        ("training.kimg", 10, {"dcgan", "stylegan2", "stylegan2_ada"}),
        ("datasets.ixi.slices.fraction", 0.3, {"dcgan", "stylegan2", "stylegan2_ada"}),
        ("datasets.chaos.slices.size", 64, set()),
        ("datasets.ixi.align", "rigid", {"dcgan", "stylegan2", "stylegan2_ada"}),
        ("datasets.ixi.missing", "refuse", set()),
        ("resources.train.gpu", 4, set()),
        ("resources.train.checkpoint_kimg", 1, set()),
        ("metrics.n_fake", 500, set()),
        ("variants.dcgan.baseline", "stylegan2", set()),
        ("tracking.uri", "http://127.0.0.1:5000", set()),
        ("datasets.ixi.source", {"path": "elsewhere.tar", "md5": "34901a0593b41dd19c1a1f746eac2d58"}, set()),
    ],
)
def test_an_edit_changes_the_keys_of_what_it_decides(config, path, value, changed):
    before, after = keys(config), keys(edited(config, path, value))
    assert {cell.variant for cell in before if before[cell] != after[cell]} == changed


@pytest.mark.parametrize(
    "source", [{"path": "/home/jane_doe/scans"}, {"url": "https://jane_doe:word@host/scans.zip?token=jane_doe"}]
)
def test_recipes_name_no_place(config, source):
    table = {"table": "/home/jane_doe/labels.csv", "subject": "id", "label": "type"}
    config = edited(edited(config, "datasets.ixi.source", source), "datasets.ixi.labels", table)
    loaded = load(config)
    assert "jane_doe" not in study.canonical(loaded.recipe(loaded.cells()[0]))
    other = edited(config, "datasets.ixi.source", {kind: f"{place}2" for kind, place in source.items()})
    assert set(keys(config).values()).isdisjoint(keys(other).values())


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("trainign", {}, "unknown key trainign; allowed here: study, datasets"),
        ("training.kimgs", 3, "unknown key training.kimgs; allowed here: kimg"),
        ("training.batch", 0, "training.batch"),
        ("training.batch", 30, "training.batch is 30"),
        ("study.variants", ["gan9000"], "'gan9000'; known: stylegan2"),
        ("study.datasets", [], "study.datasets"),
        ("study.name", "My Study", "study.name"),
        ("datasets.ixi.slices.axis", "axal", "datasets.ixi.slices.axis is 'axal'; allowed: axial, coronal, sagittal"),
        ("datasets.ixi.slices.size", 100, "on datasets.ixi: image size [100, 100] is no doubling"),
        ("datasets.ixi.slices.size", [100, 128], "on datasets.ixi: image size [100, 128] is no doubling"),
        ("datasets.ixi.reference", "t2", "datasets.ixi.reference is 't2'; allowed: t1"),
        ("datasets.ixi.mask", "t1", "datasets.ixi.mask"),
        ("datasets.ixi.split", {"train": 0.9, "val": 0.2, "test": 0.1}, "adds up to 1.2"),
        ("datasets.ixi.source", {"path": "a", "url": "http://b"}, "exactly one of path, url, phantom"),
        ("datasets.nifti.pattern", None, "datasets.nifti.pattern"),
        ("datasets.images.intensity", {"map": "window"}, "needs the values low and high"),
        ("datasets.images.intensity", {"map": "window", "low": 5, "high": 5}, "must be below high"),
        ("datasets.ixi.regions", {"whole": [1]}, "datasets.ixi.regions is set, but mask is null; name the mask"),
        ("datasets.ixi.detect", 0, "datasets.ixi.detect is set, but mask is null; name the mask"),
        ("utility", {"arms": ["real"]}, "utility.arms.0 is 'real'; allowed: synthetic, mixed_25"),
        ("utility", {"primary": "oracle"}, "utility.primary is 'oracle'; allowed: synthetic, mixed_25"),
        ("utility", {"arms": ["held"]}, "utility.primary is 'mixed_50', which is not among utility.arms"),
        ("variants.dcgan.family", "dcgn", "variants.dcgan.family is 'dcgn'; allowed: "),
        (
            "variants.dcgan.baseline",
            "stylegan",
            "variants.dcgan.baseline is 'stylegan'; allowed: null or another variant",
        ),
        ("variants.dcgan.baseline", "dcgan", "variants.dcgan.baseline is 'dcgan'; allowed: null or another variant"),
        ("variants.dcgan.options", {"lrate": 1}, "unknown key variants.dcgan.options.lrate; allowed here: z_dim"),
        (
            "variants.stylegan2.options",
            {"lr_phases": [[1, 2, 3]]},
            "options.lr_phases is [[1, 2, 3]]; it must be of type list of [float, float]",
        ),
        (
            "variants.stylegan2.options",
            {"lr_phases": [[9, 0.1], [8, 0.1]]},
            "config: variants.stylegan2.options: option lr_phases is [[9, 0.1], [8, 0.1]]; each pair must begin",
        ),
        (
            "variants.stylegan2.options",
            {"lr_phases": [[1000, 0.1]]},
            "variants.stylegan2.options.lr_phases has a phase from 1000 kimg, but its training ends at 1000",
        ),
        (
            "variants.stylegan2.options",
            {"attention": "linear", "attention_at": [256]},
            "option attention_at has 256; images of size [128, 128] have the resolutions 4, 8, 16, 32, 64, 128",
        ),
        ("variants.stylegan2.options", {"quantize": "replace", "quantize_at": [6]}, "option quantize_at has 6"),
        ("variants.dcgan.options", {"lr": "fast"}, "variants.dcgan.options.lr is 'fast'; it must be of type float"),
        ("variants.dcgan.options", {"lr": -1}, "must be at least 0"),
        ("variants.dcgan.options", {"lr": float("nan")}, "variants.dcgan.options.lr is nan; give a finite number"),
        ("training.kimg", float("inf"), "training.kimg is inf; give a finite number"),
        ("training.kimg", 1e300, "training.kimg: 1e+300 is greater than the maximum of 10000000"),
        ("training.batch", 10**9, "training.batch: 1000000000 is greater than the maximum"),
        ("resources.train.checkpoint_kimg", float("nan"), "resources.train.checkpoint_kimg is nan"),
        ("datasets.ixi.split", {"train": float("nan"), "val": 0.2, "test": 0.1}, "datasets.ixi.split.train is nan"),
        ("datasets.ixi.intensity", {"low": -5}, "datasets.ixi.intensity.low is -5; a percentile is between 0 and 100"),
        ("datasets.ixi.intensity", {"high": 900}, "(for intensities themselves set map to window)"),
        ("datasets.ixi.intensity", {"low": 99.9}, "datasets.ixi.intensity.low is 99.9; it must be below high, 99.5"),
        ("datasets.ixi.source", {"phantom": {"spacing": 1e-9}}, "datasets.ixi.source.phantom.spacing"),
        ("datasets.ixi.source", {"phantom": {"subjects": 10**9}}, "datasets.ixi.source.phantom.subjects"),
        ("study.seeds", [2**63], "study.seeds.0: 9223372036854775808 is greater than the maximum of 4294967295"),
        ("study.name", "line\n", "study.name has the name 'line\\n'; take small letters"),
        ("study.name", "a" * 65, "at most 64 characters"),
        ("study.name", "checkpoints", "no name that results/ uses for something else"),
        ("datasets.logs", IXI, "datasets has the name 'logs'"),
        ("datasets.ixi.labels", {"table": date(2024, 1, 2)}, "labels.table is 2024-01-02, a date; put it in quotes"),
        (
            "datasets.ixi",
            {date(2024, 1, 2): 1},
            "has the key 2024-01-02, which YAML does not read as text",
        ),
        ("datasets.ixi", {12: 1}, "datasets.ixi has the key 12"),
        ("study.seeds", {1, 2}, "study.seeds is {1, 2}, of the type set"),
        (
            "variants.dcgan.init_from",
            {"path": "/", "sha256": "0" * 64},
            "init_from.path is '/', a folder",
        ),
        ("variants.dcgan.options", {"conditional": True}, "datasets.ixi.labels is null"),
        ("datasets.ixi.labels", {"slice": 1}, "datasets.ixi.labels"),
        (
            "variants.stylegan2.options",
            {"attention_at": [16]},
            "attention_at is [16], but attention is none, so that it",
        ),
        ("variants.stylegan2.options", {"ada_target": 0.5}, "options.ada_target is 0.5, but augment is none"),
        ("variants.stylegan2.options", {"pl_weight": 0, "pl_every": 8}, "pl_every is 8, but pl_weight is 0"),
        ("datasets.ixi.labels", "contrast", 'datasets.ixi.labels is "contrast", but there is one contrast'),
        ("datasets.ixi", IXI | {"contrasts": ["t1", "t2"], "mask": "seg", "labels": "contrast"}, "set mask to null"),
        (
            "datasets.ixi",
            IXI | {"contrasts": ["t1", "t2"], "labels": "contrast"},
            "set its options.conditional to true",
        ),
        ("datasets.ixi.align", "affine", "datasets.ixi.align is 'affine'; allowed: false, true, rigid"),
        ("datasets.ixi.missing", "leave", "missing is leave, but there is one contrast, which every subject needs"),
        (
            "datasets.ixi",
            IXI | {"contrasts": ["t1", "t2"], "missing": "leave"},
            "missing is leave, but variants.stylegan2 makes all contrasts of an image",
        ),
        (
            "datasets.ixi",
            IXI | {"contrasts": ["t1", "t2"], "missing": "leave", "labels": "contrast"},
            "missing is leave, but labels is contrast",
        ),
        ("datasets.ixi.contrasts", ["joint"], "datasets.ixi has a contrast called 'joint'"),
        ("datasets.images.labels", {"slice": 4}, "pictures are no slices of a volume"),
        ("variants.stylegan2.options", {"augment": "everything"}, "allowed: none, mri, bg, bgc"),
        ("variants.stylegan2.training", {"kimgs": 1}, "unknown key variants.stylegan2.training.kimgs"),
        ("variants.stylegan2.training", {"batch": -4}, "variants.stylegan2.training.batch"),
        ("metrics.inception", {"url": None}, "metrics.inception names no file; give its path or url, or set GAN_INCEP"),
        ("metrics.inception", {"sha256": None}, "metrics.inception.sha256 is empty; it must be text"),
        ("training.kimg", "many", 'training.kimg is "many"; it must be a number'),
        ("variants", None, "variants is empty; it must be a block of keys and values"),
        ("study.seeds", 3, "study.seeds is 3; it must be a list"),
        ("metrics.extractors", ["vgg"], "'vgg'; allowed: inception, indomain, indomain3d, medicalnet, radiomics"),
        ("metrics.extractors", ["indomain3d"], "metrics.extractors is indomain3d, which sees whole volumes alone"),
    ],
)
def test_mistakes_are_told_in_one_line(config, path, value, words):
    with pytest.raises(GanError) as error:
        load(edited(config, path, value))
    assert words in str(error.value)
    assert str(error.value).startswith("config: ") and "\n" not in str(error.value)


def test_a_config_that_contains_itself_is_told(config):
    config["datasets"]["ixi"]["split"] = config["datasets"]
    with pytest.raises(GanError, match=r"^config: datasets\.ixi\.split contains itself; write out what it refers to$"):
        load(config)


def test_baselines_in_a_circle_are_told(config):
    config["variants"]["dcgan"]["baseline"], config["variants"]["stylegan2"]["baseline"] = "stylegan2", "dcgan"
    with pytest.raises(GanError, match=r"baseline leads in a circle \(stylegan2 <- dcgan <- stylegan2\)"):
        load(config)


@pytest.mark.parametrize("training", [{"batch": 4}, {"precision": "fp16"}])
def test_a_variant_that_is_not_in_use_need_not_suit_the_training(config, training):
    """seed001 has groups of 8, and DCGAN no fp16."""
    config["study"]["variants"] = ["stylegan2"]
    assert load(edited(config, "training", training)).variants == ["stylegan2"]
    config["study"]["variants"] = ["stylegan2", "seed001" if "batch" in training else "dcgan"]
    with pytest.raises(GanError, match="training"):
        load(edited(config, "training", training))


def test_one_series_needs_no_pattern(config):
    row = {"source": {"path": "data/scan"}, "layout": "dicom", "contrasts": ["t1"]}
    assert load(edited(config, "datasets.ixi", row)).dataset("ixi")["pattern"] is None
    with pytest.raises(GanError, match=r"datasets.ixi.pattern is null; layout dicom needs one"):
        load(edited(config, "datasets.ixi", row | {"contrasts": ["t1", "t2"]}))


@pytest.mark.parametrize(
    "options", [{"attention_at": [32]}, {"attention": "sagan", "attention_at": [16]}, {"pl_every": 4}]
)
def test_defaults_and_options_that_are_read_may_be_named(config, options):
    load(edited(config, "variants.stylegan2.options", options))


def test_all_shipped_rows_name_nothing_in_vain(config):
    config["training"] = {"batch": 32}
    pair = {"contrasts": ["t1", "t2"], "translate": {"source": ["t1"], "target": ["t2"]}}
    config["datasets"]["pairs"] = config["datasets"]["nifti"] | pair
    whole = complete(copy.deepcopy(config), SCHEMA)
    for task, dataset in (("generate", "images"), ("translate", "pairs")):
        rows = {name: row for name, row in config["variants"].items() if task == task_of(whole, name)}
        known = [name for name, row in rows.items() if not (row.get("options") or {}).get("conditional")]
        config["study"] |= {"variants": known, "datasets": [dataset]}
        assert load(config).cells()


def test_style_transfer_is_refused_of_volumes(config):
    config["datasets"]["whole"] = {**config["datasets"]["nifti"], "volumes": {"size": 16}}
    config["datasets"]["whole"].pop("slices", None)
    config["variants"]["painted"] = {"family": "style", "options": {"of": "dcgan", "features": "indomain"}}
    config["study"] |= {"variants": ["painted"], "datasets": ["whole"]}
    with pytest.raises(GanError, match=r"variants\.painted on datasets\.whole: volumes have no feature maps, .* leave"):
        load(config).cells()
    config["study"]["variants"] = ["dcgan"]
    assert load(config).cells()


def test_the_encoder_of_volumes_judges_volumes_alone(config):
    whole = {key: value for key, value in config["datasets"]["ixi"].items() if key != "slices"}
    config["datasets"]["heads"] = whole | {"volumes": {"size": 32, "spacing": 8}}
    config["metrics"]["extractors"] = ["indomain3d", "indomain"]
    study = load(config)
    assert study.judges("ixi") == ["indomain"] and study.judges("heads") == ["indomain3d", "indomain"]


def test_scores_as_published_are_refused_of_translations_and_volumes(config):
    pair = {"contrasts": ["t1", "t2"], "translate": {"source": ["t1"], "target": ["t2"]}}
    config["datasets"]["pairs"] = config["datasets"]["nifti"] | pair
    config["study"] |= {"variants": ["pix2pix"], "datasets": ["pairs"]}
    config["metrics"]["as_published"] = {}
    with pytest.raises(GanError, match=r"metrics\.as_published is set, but pairs is translated, .* set it to null"):
        load(config)
    whole = {key: value for key, value in config["datasets"]["ixi"].items() if key != "slices"}
    config["datasets"]["heads"] = whole | {"volumes": {"size": 32, "spacing": 8}}
    config["study"] |= {"variants": ["dcgan"], "datasets": ["heads"]}
    with pytest.raises(GanError, match=r"heads has whole volumes, .* set it to null"):
        load(config)
    config["study"]["datasets"] = ["ixi", "heads"]
    assert load(config).metrics["as_published"] == {"reference": "train", "n_fake": 50_000}


def test_baselines_are_those_of_the_study(config):
    config["study"]["variants"] = ["stylegan2_ada", "dcgan"]
    config["variants"]["stylegan2_ada"]["baseline"] = "stylegan2"
    config["variants"]["stylegan2"]["baseline"] = "dcgan"
    assert load(config).baselines() == {"stylegan2_ada": "stylegan2"}


def test_an_option_that_was_added_later_changes_no_run_key_and_differs_from_its_default(config):
    config["variants"]["stylegan2_ada"]["options"]["ada_oversample"] = False
    loaded = load(config)
    plain, other = (loaded.recipe(study.Cell("ixi", name, 0)) for name in ("stylegan2", "stylegan2_ada"))
    assert "ada_oversample" not in plain["variant"]["options"]
    assert study.differences(other, plain) == {"augment": ("none", "bgc"), "ada_oversample": (True, False)}


def test_how_real_volumes_change_is_in_the_run_keys_of_those_that_do_alone(config):
    options = {"augment_real": "affine"}
    config["variants"]["moved"] = config["variants"]["stylegan2"] | {"options": options}
    del config["datasets"]["ixi"]["slices"]
    config["datasets"]["ixi"]["volumes"] = {"size": 32}
    config["study"]["variants"] = ["stylegan2", "moved"]
    loaded = load(config)
    plain, moved = (loaded.recipe(study.Cell("ixi", name, 0)) for name in ("stylegan2", "moved"))
    assert moved["revisions"] == plain["revisions"] | {"reals": study.REALS_REVISION}
    assert study.differences(moved, plain)["augment_real"] == ("none", "affine")
    assert "revisions.reals" not in study.differences(moved, plain)


def test_how_masks_are_drawn_is_in_the_run_keys_of_those_that_draw_one_alone(config, tmp_path):
    config["datasets"]["masked"] = config["datasets"]["nifti"] | {"mask": "seg"}
    (tmp_path / "images").mkdir()
    config["variants"]["made"] = {"family": "external", "options": {"path": str(tmp_path / "images")}}
    config["study"] |= {"datasets": ["nifti", "masked"], "variants": ["stylegan2", "made"]}
    loaded = load(config)
    recipes = {
        (data, name): loaded.recipe(study.Cell(data, name, 0)) for data in loaded.datasets for name in loaded.variants
    }
    added = {key: set(found["revisions"]) - {"data", "train"} for key, found in recipes.items()}
    assert added == {key: {"masks"} if key == ("masked", "stylegan2") else set() for key in recipes}
    assert recipes["masked", "stylegan2"]["revisions"]["masks"] == study.MASKS_REVISION
    assert "revisions.masks" not in study.differences(recipes["masked", "made"], recipes["masked", "stylegan2"])


def test_a_translation_draws_no_mask(config):
    pair = {"contrasts": ["t1", "t2"], "mask": "seg", "translate": {"source": ["t1", "seg"], "target": ["t2"]}}
    config["datasets"]["pairs"] = config["datasets"]["nifti"] | pair
    config["variants"]["pix2pix"] = {"family": "pix2pix"}
    config["study"] |= {"datasets": ["pairs"], "variants": ["pix2pix"]}
    assert "masks" not in load(config).recipe(study.Cell("pairs", "pix2pix", 0))["revisions"]


def test_a_variant_says_in_what_it_differs_from_its_baseline(config):
    config["variants"]["stylegan2_ada"]["training"] = {"kimg": 500}
    loaded = load(config)
    recipe = {name: loaded.recipe(study.Cell("ixi", name, seed)) for seed, name in enumerate(loaded.variants)}
    found = study.differences(recipe["stylegan2_ada"], recipe["stylegan2"])
    assert found == {"augment": ("none", "bgc"), "training.kimg": (1000, 500)}
    assert study.differences(recipe["dcgan"], recipe["stylegan2"]) == {"family": ("stylegan2", "dcgan")}
    assert study.differences(recipe["dcgan"], recipe["dcgan"]) == {}


def test_driver_imports_neither_torch_nor_numpy():
    code = "import sys, gan.study; print(sorted({'torch', 'numpy', 'pandas', 'mlflow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_demo_is_an_overlay_of_the_shipped_config(config):
    overlay = yaml.safe_load((REPOSITORY / "demo.yaml").read_text())
    loaded = load(merge(config, overlay))
    assert loaded.name == "demo" and loaded.dataset("phantom")["contrasts"] == ["t1c"]


def test_page_of_options_is_up_to_date():
    spec = importlib.util.spec_from_file_location("render_config", REPOSITORY / "docs/render_config.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (REPOSITORY / "docs/config.md").read_text() == module.render(), "run `make docs`"
