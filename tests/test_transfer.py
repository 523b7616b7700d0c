"""A training starts from the networks of another: what comes along, what begins anew, what is refused."""

import copy
import json
import os
import re
import signal

import pytest
import torch
from conftest import SCHEMA
from driver import copy_workflow, edit, snakemake
from golden import CASES
from test_train import cli, dcgan, make_store
from tiny import TinyData, outcome, paths, recipe, sources

from gan import study
from gan.cells import stats as read_stats
from gan.errors import GanError
from gan.families.registry import defaults, trained
from gan.files import checksum
from gan.study import Cell, run_key
from gan.train.loop import train
from gan.train.outputs import release
from gan.train.signals import Stopped
from gan.train.trainer import Trainer
from gan.train.transfer import load_weights, save_weights, transfer

CPU = torch.device("cpu")
EVERY = dict(CASES.values())  # options of a case of each family
STYLEGAN2 = CASES["stylegan2"][1]
SOURCE = recipe(kimg=0.16)
START = {"cell": "random/tiny/seed0", "run_key": run_key(SOURCE)}


def run(base, given, data=None, init_from=None, **options):
    return train(given, data or TinyData(), paths(base, init_from), **options)


def from_source(start=START, **changes):
    given = recipe(**changes)
    given["variant"]["init_from"] = start
    return given


def trainer(family, options, data, seed=0):
    given = recipe(batch=4, seed=seed)
    given["variant"] = {"family": family, "options": defaults(family) | options}
    return Trainer(given, data, CPU), given


def left_by(path, family, options, data, steps=3):
    """A training of ``steps``, its weights in ``path``, and the recipe of one that starts from them."""
    source, given = trainer(family, options, data)
    for _ in range(steps):
        source.advance(measure=False)
    save_weights(path, source, given, run_key(given), 0.012)
    start = {"init_from": {"cell": "a/b/seed0", "run_key": run_key(given)}}
    return source, given | {"variant": given["variant"] | start}


def states(trained):
    return {name: network.state_dict() for name, network in trained.networks.items()}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weights.pt of a finished training."""
    base = tmp_path_factory.mktemp("source")
    run(base, SOURCE)
    return base / "cell/weights.pt"


# ---------------------------------------------------------------- what comes along


@pytest.mark.parametrize("family", trained())
def test_networks_and_average_come_along_and_nothing_else(family, tmp_path):
    data = TinyData(12, 1, 16, 2, sources(family))
    source, given = left_by(tmp_path / "weights.pt", family, EVERY[family], data)
    target, _ = trainer(family, EVERY[family], data, seed=1)
    plain, _ = trainer(family, EVERY[family], data, seed=1)
    random = torch.get_rng_state()
    loaded = load_weights(given, tmp_path / "weights.pt")
    assert loaded is not None
    said = transfer(target, loaded)
    total = sum(len(state) for state in states(source).values())
    assert said == f"starts from a/b/seed0: {total} of {total} tensors"
    for name, state in states(source).items():
        for key, tensor in state.items():
            assert torch.equal(states(target)[name][key], tensor), key
    assert all(torch.equal(target.ema.state_dict()[key], tensor) for key, tensor in source.ema.state_dict().items())
    networks = tuple(f"{name}." for name, child in target.variant.named_children() if child in target.networks.values())
    for key, tensor in plain.variant.state_dict().items():
        if not key.startswith(networks):
            assert torch.equal(target.variant.state_dict()[key], tensor), f"{key} is the variant's: it begins anew"
    assert not any(optimizer.state for optimizer in target.optimizers.values())
    assert (target.step, target.meter.read()) == (0, {}) and torch.equal(torch.get_rng_state(), random)
    target.advance(measure=True)
    target.require_finite(0.004, target.meter.read())


@pytest.mark.parametrize(
    ("data", "options", "new"),
    [
        (TinyData(12, 3, 16), {}, {"G.synthesis.images.0.weight", "G.synthesis.images.2.bias", "D.from_image.weight"}),
        (TinyData(12, 1, 16, 2), {"conditional": True}, {"G.mapping.embed.weight", "D.logits.weight"}),
        (TinyData(12, 1, 32), {}, {"G.synthesis.convs.5.weight", "D.blocks.3.first.weight"}),
        (TinyData(12, 1, 16), {"attention": "sagan", "attention_at": [8]}, {"D.attention.1.gamma"}),
    ],
    ids=["contrasts", "labels", "size", "attention"],
)
def test_what_does_not_fit_is_named_and_stays_as_it_was_drawn(data, options, new, tmp_path):
    source, given = left_by(tmp_path / "weights.pt", "stylegan2", STYLEGAN2, TinyData(12, 1, 16))
    target, _ = trainer("stylegan2", STYLEGAN2 | options, data, seed=1)
    plain, _ = trainer("stylegan2", STYLEGAN2 | options, data, seed=1)
    loaded = load_weights(given, tmp_path / "weights.pt")
    assert loaded is not None
    said, names = transfer(target, loaded).split("; new are ")
    assert new <= set(names.split(", "))
    found = re.fullmatch(r"starts from a/b/seed0: (\d+) of (\d+) tensors", said)
    assert found and int(found[2]) - int(found[1]) == len(names.split(", "))
    for network, state in states(target).items():
        for key, tensor in state.items():
            of = plain if f"{network}.{key}" in names.split(", ") else source
            assert torch.equal(tensor, states(of)[network][key]), key
    target.advance(measure=False)


def test_blocks_of_another_size_are_those_of_their_resolution(tmp_path):
    source, given = left_by(tmp_path / "weights.pt", "stylegan2", STYLEGAN2, TinyData(12, 1, 16))
    target, _ = trainer("stylegan2", STYLEGAN2, TinyData(12, 1, 32), seed=1)
    loaded = load_weights(given, tmp_path / "weights.pt")
    assert loaded is not None
    transfer(target, loaded)
    mine, its = (each.networks["D"].blocks for each in (target, source))
    assert torch.equal(mine["1"].second.weight, its["1"].second.weight)
    assert (list(mine), list(its)) == (["3", "2", "1"], ["2", "1"])


# ---------------------------------------------------------------- a run


def test_a_run_starts_from_the_average_of_its_source_and_says_so(weights, tmp_path, capfd):
    run(tmp_path, from_source(), init_from=weights)
    first = torch.load(tmp_path / "cell/snapshots/kimg00000.pt", weights_only=True)["state"]
    content = torch.load(weights, weights_only=True)
    assert all(torch.equal(first[key], tensor) for key, tensor in content["ema"].items())
    assert {key: content[key] for key in ("family", "run_key", "kimg")} == {
        **{"family": "tiny", "run_key": run_key(SOURCE), "kimg": 0.16}
    }
    event, *others = [row for row in read_stats(tmp_path / "cell/stats.jsonl") if "event" in row]
    count = sum(len(state) for state in content["networks"].values())
    said = f"starts from random/tiny/seed0: {count} of {count} tensors"
    assert (event["event"], event["step"], event["message"], others) == ("transferred", 0, said, [])
    assert said in capfd.readouterr().err
    assert json.loads((tmp_path / "cell/recipe.json").read_text())["variant"]["init_from"] == START


def test_source_and_seed_decide_the_result(weights, tmp_path):
    for name, given in (("a", from_source()), ("b", from_source()), ("c", from_source(seed=1))):
        run(tmp_path / name, given, init_from=weights)
    run(tmp_path / "new", recipe())
    found = {name: outcome(tmp_path / name / "cell") for name in ("a", "b", "c", "new")}
    assert found["a"] == found["b"]
    assert len({found[name]["weights.pt"] for name in found}) == 3


@pytest.mark.parametrize("step", [4, 24])
def test_a_resumed_run_does_not_start_again(weights, tmp_path, step):
    run(tmp_path / "whole", from_source(), init_from=weights)

    def stop(row):
        if row["step"] == step and "event" not in row:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        run(tmp_path / "parts", from_source(), init_from=weights, emit=stop)
    run(tmp_path / "parts", from_source(), init_from=tmp_path / "gone.pt")
    assert outcome(tmp_path / "parts/cell") == outcome(tmp_path / "whole/cell")


def test_weights_outlive_the_state_and_their_loss_is_told(tmp_path):
    run(tmp_path, SOURCE)
    (tmp_path / "state/weights.pt").rename(tmp_path / "kept.pt")
    with pytest.raises(GanError, match=r"state/weights\.pt: gone, though its run has ended; .*delete"):
        run(tmp_path, SOURCE)
    (tmp_path / "kept.pt").rename(tmp_path / "state/weights.pt")
    run(tmp_path, SOURCE)
    release(tmp_path / "state")
    assert load_weights(from_source(), tmp_path / "cell/weights.pt") is not None


def damaged(path, weights):
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    return path


REFUSED = {
    "no file named": (
        lambda folder, w: (from_source(), None),
        "--init-from is missing: the recipe starts from random/",
    ),
    "not asked for": (lambda folder, w: (recipe(), w), "but the recipe starts from new networks; leave it out"),
    "absent": (
        lambda folder, w: (from_source(), folder / "no.pt"),
        "no.pt: no such file; name the weights.pt of random",
    ),
    "damaged": (
        lambda folder, w: (from_source(), damaged(folder / "bad.pt", w)),
        "bad.pt: not a weights.pt, or a damag",
    ),
    "a generator": (
        lambda folder, w: (from_source(), w.with_name("generator.pt")),
        "or a damaged one (unknown format)",
    ),
    "another run": (
        lambda folder, w: (from_source({"cell": "a/b/seed0", "run_key": "0" * 12}), w),
        f"of the run {run_key(SOURCE)}, but the recipe starts from a/b/seed0, the run 000000000000; name",
    ),
    "another file": (lambda folder, w: (from_source({"sha256": "0" * 64}), w), "init_from requires 000000"),
    "another family": (
        lambda folder, w: (
            {"variant": {"family": "dcgan", "init_from": {"sha256": checksum(w)}}},
            w,
        ),
        "of the family tiny, not dcgan; start from",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_sources(name, weights, tmp_path):
    make, message = REFUSED[name]
    with pytest.raises(GanError) as error:
        load_weights(*make(tmp_path, weights))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_file_is_known_by_its_checksum_and_its_place_is_not_told(weights, tmp_path):
    digest = checksum(weights)
    run(tmp_path, from_source({"sha256": digest}), init_from=weights)
    first = read_stats(tmp_path / "cell/stats.jsonl")[0]
    assert first["message"].startswith(f"starts from the file with sha256 {digest[:12]}: ")
    assert str(weights.parent) not in json.dumps(first)


def test_too_little_to_start_from(tmp_path):
    _, given = left_by(tmp_path / "weights.pt", "stylegan2", STYLEGAN2, TinyData(12, 1, 16))
    loaded = load_weights(given, tmp_path / "weights.pt")
    assert loaded is not None
    target, _ = trainer("stylegan2", STYLEGAN2 | {"channel_max": 4}, TinyData(12, 1, 16))
    with pytest.raises(GanError, match=r"init_from: a/b/seed0 has \d+% of the generator's parameters .*equal widths"):
        transfer(target, loaded)


def test_the_command_starts_from_a_file(tmp_path):
    """Without a value, as the rule gives it for a cell that starts anew, the option is as good as absent."""
    make_store(tmp_path / "store")
    assert cli(tmp_path, dcgan(), "--init-from") == 0
    path = (tmp_path / "cell/weights.pt").rename(tmp_path / "weights.pt")
    given = dcgan(seed=1)
    given["variant"]["init_from"] = {"cell": "a/dcgan/seed0", "run_key": run_key(dcgan())}
    assert cli(tmp_path, given, "--init-from", str(path)) == 0
    assert read_stats(tmp_path / "cell/stats.jsonl")[0]["event"] == "transferred"


# ---------------------------------------------------------------- freeze-D


FROZEN = STYLEGAN2 | {"freeze_d": 5, "r1_every": 2}


def test_frozen_layers_stay_to_the_bit_and_pass_the_gradient_on(tmp_path):
    """The first five at 16 x 16: from_image, first, second and skip of 16 x 16, first of 8 x 8."""
    _, given = left_by(tmp_path / "weights.pt", "stylegan2", STYLEGAN2, TinyData(12, 1, 16))
    target, _ = trainer("stylegan2", FROZEN, TinyData(12, 1, 16), seed=1)
    loaded = load_weights(given, tmp_path / "weights.pt")
    assert loaded is not None
    transfer(target, loaded)
    before = {name: {k: v.clone() for k, v in state.items()} for name, state in states(target).items()}
    for _ in range(2):
        target.advance(measure=False)
    state = copy.deepcopy(target.state_dict())
    target.advance(measure=False)
    resumed, _ = trainer("stylegan2", FROZEN, TinyData(12, 1, 16), seed=1)
    resumed.load_state_dict(state)
    resumed.advance(measure=False)
    frozen = ("from_image.", "blocks.2.", "blocks.1.first.")
    for key, parameter in target.networks["D"].named_parameters():
        assert torch.equal(parameter, before["D"][key]) == key.startswith(frozen), key
        assert parameter.grad is None or not key.startswith(frozen)
        assert torch.equal(parameter, dict(resumed.networks["D"].named_parameters())[key])
    changed = [not torch.equal(tensor, before["G"][key]) for key, tensor in states(target)["G"].items()]
    assert sum(changed) > len(changed) / 2


def test_layers_that_nothing_has_trained_are_not_frozen(tmp_path):
    _, given = left_by(tmp_path / "weights.pt", "stylegan2", STYLEGAN2, TinyData(12, 1, 16))
    loaded = load_weights(given, tmp_path / "weights.pt")
    assert loaded is not None
    target, _ = trainer("stylegan2", FROZEN, TinyData(12, 3, 16))
    with pytest.raises(GanError, match=r"a/b/seed0 has no D\.from_image\.weight of this shape, and option freeze_d"):
        transfer(target, loaded)


def test_more_layers_than_there_are():
    with pytest.raises(GanError, match="freeze_d is 8; the discriminator has 7 layers to freeze"):
        trainer("stylegan2", STYLEGAN2 | {"freeze_d": 8}, TinyData(12, 1, 16))


# ---------------------------------------------------------------- the study


def with_start(config, **changes):
    """The shipped config with a variant ``late`` that starts from another data set, and a variant ``early``."""
    late = {"family": "stylegan2", "init_from": {"dataset": "phantom", "variant": "early"}} | changes
    config["variants"] |= {"early": {"family": "stylegan2"}, "late": late}
    config["study"] |= {"datasets": ["ixi", "phantom"], "variants": ["stylegan2", "late"], "seeds": [0, 1]}
    return config


def load(config):
    return study.load(config, SCHEMA)


def test_recipe_names_the_run_that_it_starts_from(config):
    loaded = load(with_start(config))
    late, early = Cell("ixi", "late", 1), Cell("phantom", "early", 1)
    assert loaded.source(late) == early and loaded.source(early) is None
    assert loaded.sources() == [Cell("phantom", "early", 1), Cell("phantom", "early", 0)]
    key = run_key(loaded.recipe(early))
    assert loaded.recipe(late)["variant"]["init_from"] == {"cell": "phantom/early/seed1", "run_key": key}
    assert "init_from" not in loaded.recipe(Cell("ixi", "stylegan2", 0))["variant"]
    config["variants"]["early"]["options"] = {"lr": 0.001}
    other = load(config)
    assert run_key(other.recipe(late)) != run_key(loaded.recipe(late))
    assert run_key(other.recipe(Cell("ixi", "stylegan2", 0))) == run_key(loaded.recipe(Cell("ixi", "stylegan2", 0)))


def test_a_fixed_seed_and_a_chain_of_sources(config):
    config["variants"]["first"] = {"family": "stylegan2"}
    config = with_start(config)
    config["variants"]["early"]["init_from"] = {"dataset": "ixi", "variant": "first", "seed": 7}
    assert set(load(config).sources()) == {
        Cell("phantom", "early", 0),
        Cell("phantom", "early", 1),
        Cell("ixi", "first", 7),
    }


def test_published_settings_of_a_transfer_give_way_to_those_of_the_row(config):
    options = load(with_start(config)).recipe(Cell("ixi", "late", 0))["variant"]["options"]
    assert (options["ada_kimg"], options["ema_rampup"]) == (100.0, None)
    options = load(with_start(config, options={"augment": "mri", "ada_kimg": 50})).recipe(Cell("ixi", "late", 0))[
        "variant"
    ]["options"]
    assert (options["ada_kimg"], options["ema_rampup"]) == (50, None)
    plain = defaults("stylegan2")
    assert (plain["ada_kimg"], plain["ema_rampup"]) == (500.0, 0.05)


def test_recipe_of_a_file_names_its_checksum_alone(config):
    start = {"path": "/home/jane_doe/weights.pt", "sha256": "ab" * 32}
    loaded = load(with_start(config, init_from=start))
    assert loaded.recipe(Cell("ixi", "late", 0))["variant"]["init_from"] == {"sha256": "ab" * 32}
    assert loaded.weights(Cell("ixi", "late", 0)) == "/home/jane_doe/weights.pt" and loaded.sources() == []
    assert "jane_doe" not in study.canonical(loaded.recipe(Cell("ixi", "late", 0)))


MISTAKES = [
    ({"init_from": {}}, "init_from names nothing; give dataset and variant (and seed) of a cell, or path and sha256"),
    ({"init_from": {"path": "a.pt"}}, "init_from names path; give dataset and variant"),
    (
        {"init_from": {"path": "a.pt", "sha256": "ab" * 32, "seed": 1}},
        "init_from names path, seed, sha256; give dataset and variant",
    ),
    ({"init_from": {"dataset": "phantom", "variant": "erly"}}, "init_from.variant is 'erly'; known: stylegan2, "),
    ({"init_from": {"dataset": "fantom", "variant": "early"}}, "init_from.dataset is 'fantom'; known: phantom, "),
    (
        {"init_from": {"dataset": "phantom", "variant": "dcgan"}},
        "init_from.variant is 'dcgan' of the family dcgan, but late is of the family stylegan2; name a variant of that",
    ),
    (
        {"init_from": {"dataset": "phantom", "variant": "late"}},
        "init_from leads in a circle (late <- late), and a cell cannot start from itself; name a variant without",
    ),
    (
        {"init_from": None, "options": {"freeze_d": 3}},
        "options.freeze_d is 3, but variants.late.init_from is null: layers",
    ),
    (
        {"options": {"freeze_d": 17}},
        "late on datasets.ixi: option freeze_d is 17; the discriminator has 16 layers",
    ),
    ({"init_from": {"data": "phantom"}}, "unknown key variants.late.init_from.data; allowed here: dataset, variant"),
]


@pytest.mark.parametrize(("changes", "words"), MISTAKES)
def test_mistakes_are_told_in_one_line(config, changes, words):
    with pytest.raises(GanError) as error:
        load(with_start(config, **changes))
    assert words in str(error.value)
    assert str(error.value).startswith("config: ") and "\n" not in str(error.value)


def test_a_circle_of_two(config):
    config = with_start(config)
    config["variants"]["early"]["init_from"] = {"dataset": "ixi", "variant": "late"}
    with pytest.raises(GanError, match=r"in a circle \(early <- late <- early\)"):
        load(config)


def test_a_source_outside_of_the_grid_must_fit_its_data_too(config):
    config = with_start(config, init_from={"dataset": "chaos", "variant": "early"})
    config["variants"]["early"]["options"] = {"conditional": True}
    with pytest.raises(GanError, match=r"variants\.early\.options\.conditional is true, but datasets\.chaos\.labels"):
        load(config)


def test_the_workflow_trains_what_a_cell_starts_from(tmp_path):
    folder = copy_workflow(tmp_path)
    start = {"family": "dcgan", "init_from": {"dataset": "other", "variant": "early", "seed": 4}}
    edit(folder, {"variants": {"late": start, "early": {"family": "dcgan"}}, "study": {"variants": ["dcgan", "late"]}})
    source = {"source": {"phantom": {"subjects": 8}}, "layout": "brats", "contrasts": ["t2w"], "slices": {"size": 16}}
    edit(folder, {"datasets": {"other": source}})
    output = snakemake(folder, "--dry-run", "-p", "all")
    weights = "results/tiny/other/early/seed4/weights.pt"
    jobs = [block for block in re.split(r"\n(?=(?:local)?rule )", output) if block.startswith("rule train:")]
    names = [re.search(r"dataset=(\w+), variant=(\w+), seed=(\d)\n", job) for job in jobs]
    starts = [re.search(r"--init-from (.*?) --terms", job) for job in jobs]
    assert {name.groups(): start[1] for name, start in zip(names, starts, strict=True) if name and start} == {
        ("phantom", "dcgan", "0"): "",
        ("phantom", "late", "0"): weights,
        ("other", "early", "4"): "",
    }
    assert not re.search(r"rule (curve|score):\n    input: \S*other/early", output), "it is trained, not scored"
