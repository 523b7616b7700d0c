"""Style transfer: its losses, its feature maps, what a cell of it holds and what the judge and the report say of it."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from paired_store import TASK, make_store
from torch import nn
from torchvision.models import vgg

from gan.cells import WHOLE
from gan.data.store import Store
from gan.errors import GanError
from gan.families.contract import Given, ImageShape
from gan.families.registry import families, make_options
from gan.families.style.model import Style, Transfer, descend, gram
from gan.files import checksum, write_json
from gan.generate import main as generate
from gan.report import table, verdict, view
from gan.run import main as run
from gan.sampling.snapshot import Snapshot, load_generator, save_generator
from gan.scoring.cell import score_cell
from gan.scoring.extractors import files
from gan.scoring.extractors.indomain.model import Encoder, Stages
from gan.scoring.extractors.vgg19.model import Vgg, keys
from gan.scoring.extractors.vgg19.options import MAPS
from gan.scoring.judge import Judge, Protocol
from gan.scoring.reference import image_facts, prepare_extractor, real_features
from gan.study import Cell, load, run_key
from gan.train.images import StoreDataset

CPU = torch.device("cpu")
SCHEMA = Path(__file__).parent.parent / "workflow/schemas/config.schema.yaml"


class Few(nn.Module):
    """Two maps of few filters, of a network whose gradient is smooth."""

    names, content = ("first", "second"), ("second",)

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.requires_grad_(False)

    def style(self, size):
        return self.names

    def forward(self, images, names, pool):
        x = torch.nn.functional.softplus(self.first(images))
        found = {"first": x, "second": torch.nn.functional.softplus(self.second(x))}
        return {name: found[name] for name in names}


class Noise:
    """Ten images of noise; ``length`` of them if given."""

    def __init__(self, length=10, size=8, dtype=torch.float32):
        self.real = torch.rand(length, 1, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2 - 1
        self.shape = ImageShape(1, (size, size))

    def __len__(self):
        return len(self.real)

    def batch(self, indices):
        real = self.real[torch.from_numpy(np.asarray(indices))]
        return SimpleNamespace(real=real, labels=torch.zeros(len(real), 0))


def options(**given):
    return make_options("style", {"of": "x", "steps": 60, **given})


# losses


def test_gram_matrices_are_means_over_positions():
    levels = torch.tensor([1.0, 2.0, -3.0])
    constant = levels.reshape(1, 3, 1, 1).expand(1, 3, 4, 5)
    torch.testing.assert_close(gram(constant)[0], levels[:, None] * levels)
    torch.testing.assert_close(gram(torch.eye(6).reshape(1, 6, 2, 3))[0], torch.eye(6) / 6)
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    moved = maps.flatten(2)[..., torch.randperm(20)].reshape(maps.shape)
    torch.testing.assert_close(gram(moved), gram(maps))


def test_the_total_loss_is_that_of_the_equations_and_has_its_gradient():
    data = Noise(4, 5, torch.float64)
    transfer = Transfer(options(content_weight=0.3, style_weight=2.0), Few().double(), data)
    content, style, image = data.real[:3]
    loss = transfer.loss(content, style)
    maps = [
        {name: of[0].flatten(1) for name, of in transfer._maps(x, Few.names).items()} for x in (content, style, image)
    ]
    expected = 0.3 / 2 * (maps[2]["second"] - maps[0]["second"]).square().sum()
    for name in Few.names:
        ours, theirs = (of[name] @ of[name].T for of in (maps[2], maps[1]))
        expected += 2.0 / 2 * (ours - theirs).square().sum() / (4 * 4**2 * 25**2)
    torch.testing.assert_close(loss(image), expected)
    assert torch.autograd.gradcheck(loss, image.clone().requires_grad_(True))


def test_maps_are_scaled_to_a_mean_of_one_over_training_images():
    data = Noise()
    transfer = Transfer(options(), Few(), data)
    means = [transfer._maps(image, Few.names)["second"].abs().mean((0, 2, 3)) for image in data.real]
    torch.testing.assert_close(torch.stack(means).mean(0), torch.ones(4))


@pytest.mark.parametrize("given", [{"optimizer": "lbfgs"}, {"optimizer": "adam", "lr": 0.05, "steps": 300}])
def test_without_style_any_start_becomes_the_content(given):
    data = Noise()
    transfer = Transfer(options(style_weight=0, content_layers=("first",), **given), Few(), data)
    image, fate = transfer(data.real[0], data.real[1], start=data.real[2])
    assert fate.last < 1e-3 * fate.first
    torch.testing.assert_close(image, data.real[0], atol=0.05, rtol=0)


def test_without_content_gram_matrices_approach_and_the_image_is_free():
    data = Noise()
    transfer = Transfer(options(content_weight=0), Few(), data)
    image, fate = transfer(data.real[0], data.real[1], start=data.real[0])
    assert fate.last < 0.05 * fate.first
    assert (image - data.real[0]).abs().mean() > 0.01 and (image - data.real[1]).abs().mean() > 0.1


def test_an_image_with_its_own_style_stays_as_it_is():
    data = Noise()
    image, fate = Transfer(options(), Few(), data)(data.real[0], data.real[0], start=data.real[0])
    assert torch.equal(image, data.real[0]) and fate.first == fate.last == 0


def test_it_ends_when_the_loss_stalls_and_reports_nothing_finite_as_an_error():
    image, fate = descend(lambda x: (x - 0.5).square().sum(), torch.zeros(3), options(steps=300))
    assert fate.evaluations < 20 and fate.first == 0.75
    torch.testing.assert_close(image, torch.full((3,), 0.5))
    with pytest.raises(GanError, match="the loss of style transfer is nan"):
        descend(lambda x: (x * float("inf")).sum() - x.sum() * float("inf"), torch.ones(3), options())


# feature maps


@pytest.fixture(scope="module")
def torchvision_vgg(tmp_path_factory):
    """torchvision's graph of VGG-19 with an eighth of its filters and random weights, and its state in a file."""
    widths = [size if size == "M" else size // 8 for size in vgg.cfgs["E"]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = vgg.make_layers(widths).eval()  # type: ignore[arg-type]
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save({f"features.{name}": value for name, value in whole.state_dict().items()}, path)
    return whole, path


def content(path):
    return files.make("vgg19", {"path": str(path), "sha256": checksum(path)}, lambda: np.empty(0, np.uint8))


def test_maps_of_vgg19_are_those_of_torchvision(torchvision_vgg):
    whole, path = torchvision_vgg
    ours = Vgg(content(path)["weights"])
    assert keys()["conv4_2"] == "features.21" and keys()["conv5_1"] == "features.28"
    grey = torch.rand(2, 1, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    colour = ((grey + 1) / 2 - mean.reshape(1, 3, 1, 1)) / deviation.reshape(1, 3, 1, 1)
    for pool, layer in (("max", nn.MaxPool2d(2)), ("avg", nn.AvgPool2d(2))):
        found = ours(grey, MAPS, pool)
        x = colour
        for place, module in enumerate(whole):
            x = (layer if isinstance(module, nn.MaxPool2d) else module)(x)
            for name, key in keys().items():
                if key == f"features.{place - 1}":  # after the ReLU of a convolution
                    torch.testing.assert_close(found[name], x)
    assert list(found) == list(MAPS)
    assert ours.style((64, 64)) == ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    assert ours.style((128, 192))[-1] == "conv5_1"


def test_vgg19_is_an_extractor_as_well(torchvision_vgg, tmp_path):
    _, path = torchvision_vgg
    files.save(tmp_path / "extractor.pt", "vgg19", content(path))
    path_gone = files.load(tmp_path / "extractor.pt")
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 24), np.uint8)
    assert path_gone(images).shape == (3, 64) and path_gone.id == f"vgg19-{checksum(path)[:8]}"
    np.testing.assert_array_equal(path_gone(images[2:]), path_gone(images)[2:])


def test_style_with_maps_of_vgg19_falls(torchvision_vgg, tmp_path):
    files.save(tmp_path / "extractor.pt", "vgg19", content(torchvision_vgg[1]))
    known, data = files.load_encoder(tmp_path / "extractor.pt"), Noise(4, 32)
    kept = Style.make(options(n=2, steps=6), data, Given(draw=lambda batch: batch.real.flip(0) / 2, encoder=known))
    assert (kept(torch.arange(2)) - kept.content(torch.arange(2))).abs().mean() > 1e-3
    averages, maxima = (Transfer(options(pool=pool), known, data) for pool in ("avg", "max"))
    assert averages.style == ("conv1_1", "conv2_1", "conv3_1", "conv4_1") and averages.content == ("conv4_2",)
    image = data.real[0]
    assert not torch.equal(averages._maps(image, ["conv2_1"])["conv2_1"], maxima._maps(image, ["conv2_1"])["conv2_1"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "neither metrics.vgg19.path nor GAN_VGG19 is set; download https"),
        ({"path": "absent.pth"}, r"absent.pth: no such file \(metrics.vgg19.path\)"),
        ({"path": "whole"}, "sha256 is .*, but metrics.vgg19.sha256 says dcbb9e9d"),
        ({"path": "other"}, "not the state of torchvision's VGG-19"),
    ],
)
def test_another_file_is_refused(spec, message, torchvision_vgg, tmp_path, monkeypatch):
    monkeypatch.delenv("GAN_VGG19", raising=False)
    torch.save({"features.0.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "other.pth")
    if spec.get("path") == "whole":
        spec = {"path": str(torchvision_vgg[1])}
    elif spec.get("path") == "other":
        spec = {"path": str(tmp_path / "other.pth"), "sha256": checksum(tmp_path / "other.pth")}
    with pytest.raises(GanError, match=message):
        files.make("vgg19", spec, lambda: np.empty(0, np.uint8))


def test_stages_of_the_own_encoder_are_its_convolutions():
    encoder = Encoder((32, 32), 8).eval()
    stages, images = Stages(encoder, (32, 32)), torch.rand(2, 1, 32, 32)
    found = stages(images, stages.names)
    assert list(found) == ["stage1", "stage2", "stage3", "stage4"] and stages.style((32, 32)) == stages.names[:-1]
    torch.testing.assert_close(found["stage4"], encoder.convolutions(images))


# cells


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return make_store(tmp_path_factory.mktemp("style") / "store")


@pytest.fixture(scope="module")
def judge(store, tmp_path_factory) -> Judge:
    folder = tmp_path_factory.mktemp("judge")
    prepare_extractor("indomain", {"steps": 4, "dim": 16, "seed": 0}, store, folder / "extractor.pt", "cpu")
    real_features(folder / "extractor.pt", store, folder / "real.npz", "cpu")
    image_facts(store, folder / "images.npz")
    return Judge([folder / "extractor.pt"], [folder / "real.npz"], folder / "images.npz", "cpu", store)


@pytest.fixture(scope="module")
def encoder(judge, tmp_path_factory) -> Path:
    """The file of the judge's extractor."""
    return next(tmp_path_factory.getbasetemp().glob("judge*/extractor.pt"))


@pytest.fixture(scope="module")
def generators(store, tmp_path_factory) -> dict[str, Path]:
    """An untrained DCGAN of all channels, and the table of levels from t1 to t2."""
    folder, found = tmp_path_factory.mktemp("generators"), {}
    for family, given, task in (("dcgan", {"z_dim": 8, "channels": 4}, None), ("lookup", {}, TASK)):
        dataset = StoreDataset(Store.open(store), CPU, False, task)
        kind, its = families()[family].model, make_options(family, given)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            kept = kind.make(its, dataset, Given()) if task else kind.build_kept(its, dataset.shape)
        found[family] = folder / f"{family}.pt"
        stated = its.stated(0)
        save_generator(found[family], Snapshot(kept, family, stated, dataset.shape, 8, 0.0, family, dataset.meta))
    return found


def recipe(source: str, n: int, **given) -> dict:
    data = {"dataset": "pairs"} | ({"translate": TASK} if source == "lookup" else {})
    made_of = {"cell": f"pairs/{source}/seed0", "run_key": source}
    stated = options(n=n, features="indomain", **given).stated(0)
    return {
        "data": data,
        "variant": {"name": "restyled", "family": "style", "options": stated, "made_of": made_of},
        "training": {"kimg": 0, "batch": 1, "snapshot_kimg": 1, "precision": "fp32"},
        "seed": 0,
    }


@pytest.fixture
def make(store, generators, encoder, tmp_path):
    """Make a cell by the command; returns its folder."""

    def make(source: str, n: int, generator: str | None = None, code: int = 0, **given) -> Path:
        folder = tmp_path / f"{source}{n}"
        write_json(folder / "given.json", recipe(source, n, **given))
        words = ["--recipe", folder / "given.json", "--store", store, "--folder", folder, "--runtime", "device=cpu"]
        words += ["--checkpoints", tmp_path / "checkpoints", "--encoder", encoder]
        assert run([*map(str, [*words, "--generator", generators[generator or source]])]) == code
        return folder

    return make


def test_content_is_of_the_training_split_and_a_mask_is_that_of_its_content(make, store):
    folder = make("dcgan", 6, steps=4)
    kept, training = load_generator(folder / "generator.pt").network, StoreDataset(Store.open(store), CPU, False)
    stored = training.batch(kept.rows.numpy()).real
    assert len(set(kept.rows.tolist())) == 6
    torch.testing.assert_close(kept.content(torch.arange(6)), stored, atol=2e-5, rtol=0)
    images = kept(torch.arange(6))
    torch.testing.assert_close(images[:, 3], stored[:, 3], atol=2e-5, rtol=0)
    assert ((images - stored)[:, :3].abs().mean((1, 2, 3)) > 1e-3).all()


def test_an_image_depends_on_seed_and_index_alone(make):
    few, more = (load_generator(make("dcgan", n, steps=3, start="noise") / "generator.pt").network for n in (2, 4))
    assert torch.equal(few.images, more.images[:2]) and torch.equal(few.rows, more.rows[:2])
    assert not torch.equal(more.images[2], more.images[3])


def test_what_was_made_before_a_kill_is_kept(store, encoder, tmp_path):
    dataset = StoreDataset(Store.open(store), CPU, False)
    its, known = options(n=4, steps=3, features="indomain"), files.load_encoder(encoder)
    calls = []

    def stop_at(number):
        def check():
            calls.append(number)
            if len(calls) == number:
                raise KeyboardInterrupt

        return check

    given = Given(0, draw=lambda batch: batch.real.flip(-1), encoder=known, kept=tmp_path / "kept")
    whole = Style.make(its, dataset, given._replace(kept=None))
    with pytest.raises(KeyboardInterrupt):
        Style.make(its, dataset, given._replace(check=stop_at(3)))
    made = sorted((tmp_path / "kept").glob("*.npz"))
    assert len(made) == 2
    times = [path.stat().st_mtime_ns for path in made]
    again = Style.make(its, dataset, given)
    assert torch.equal(again.images, whole.images) and [path.stat().st_mtime_ns for path in made] == times


def test_outputs_that_are_copies_are_found_out(make, judge, tmp_path):
    """Without a style the images are their contents: the numbers of the leak are those of copies."""
    folder = make("dcgan", 12, steps=2, style_weight=0)
    score_cell(folder, judge, Protocol(bootstrap=20))
    scored = json.loads((folder / "scores.json").read_text())
    rows = {row["metric"]: row for row in scored["scores"] if row["contrast"] == WHOLE}
    assert rows["own_content_indomain"]["value"] == 1 and rows["own_content_indomain"]["n_fake"] == 12
    assert rows["own_content_pixels"]["value"] == 1
    assert rows["copies_indomain"]["value"] > 0.95
    assert rows["content_ssim"]["value"] == pytest.approx(1) and rows["content_mae"]["value"] == 0
    assert rows["kd_indomain"]["n_fake"] == 12
    generate(["--generator", str(folder / "generator.pt"), "--out", str(tmp_path / "images"), "--n", "2"])
    about = json.loads((tmp_path / "images/samples.json").read_text())
    assert (about["content"], about["anonymous"]) == ("real", False)


def test_generated_content_has_no_patient_to_be_found(make, judge):
    folder = make("dcgan", 5, steps=2, content="generated")
    score_cell(folder, judge, Protocol(bootstrap=0))
    metrics = {row["metric"] for row in json.loads((folder / "scores.json").read_text())["scores"]}
    assert {"content_ssim", "content_mae"} <= metrics and "own_content_indomain" not in metrics
    assert load_generator(folder / "generator.pt").network.rows.tolist() == [-1] * 5


def test_translations_are_styles_of_their_own_targets(make, judge, store):
    folder = make("lookup", 5, steps=3)
    snapshot = load_generator(folder / "generator.pt")
    assert snapshot.task is None and snapshot.shape.channels == 1
    targets = StoreDataset(Store.open(store), CPU, False, TASK).batch(snapshot.network.rows.numpy()).real
    torch.testing.assert_close(snapshot.network.content(torch.arange(5)), targets, atol=2e-5, rtol=0)
    score_cell(folder, judge, Protocol(bootstrap=0))
    scored = json.loads((folder / "scores.json").read_text())
    assert scored["snapshot"]["metric"] == "mae_fg", "the metric of the data set, which such a row does not have"
    assert {row["contrast"] for row in scored["scores"]} == {"t1>t2", WHOLE}
    assert {"kd_indomain", "own_content_indomain"} <= {row["metric"] for row in scored["scores"]}


def test_there_are_not_more_images_than_training_images(make, capsys):
    make("dcgan", 49, code=1)
    assert "option n is 49, but there are 48 training images" in capsys.readouterr().err


def test_the_cost_is_that_of_all_attempts(make):
    folder = make("dcgan", 2, steps=2)
    first = json.loads((folder / "cost.json").read_text())
    make("dcgan", 2, steps=2)
    again = json.loads((folder / "cost.json").read_text())
    assert again["resumed"] == 1 and again["started"] == first["started"]


def test_another_generator_than_the_recipe_names_is_refused(make, capsys):
    make("dcgan", 2, generator="lookup", code=1)
    assert "of the run lookup, but the recipe is made of pairs/dcgan/seed0, the run dcgan" in capsys.readouterr().err


# rows of the config


def config(**given) -> dict:
    row = {"source": {"phantom": {}}, "layout": "brats", "contrasts": ["t1n", "t2w"], "slices": {"size": 64}}
    return {
        "study": {"name": "s", "datasets": ["d"], "variants": ["v"], "seeds": [0, 1]},
        "datasets": {"d": row, "pairs": row | {"translate": {"source": ["t1n"], "target": ["t2w"]}}},
        "variants": {
            "dcgan": {"family": "dcgan"},
            "lookup": {"family": "lookup"},
            "v": {"family": "style", "options": {"of": "dcgan", **given}},
        },
        "metrics": {"extractors": ["indomain"]},
    }


def test_a_row_works_on_the_cell_of_its_data_set_and_seed():
    study = load(config(), SCHEMA)
    cells = [Cell("d", "v", 0), Cell("d", "v", 1)]
    assert study.cells() == cells and study.works_on(cells[1]) == Cell("d", "dcgan", 1)
    assert set(study.sources()) == {Cell("d", "dcgan", 0), Cell("d", "dcgan", 1)}
    assert study.extractors() == ["indomain", "vgg19"] and list(study.extractor_files()) == ["vgg19"]
    made_of = study.recipe(cells[1])["variant"]["made_of"]
    assert made_of["run_key"] == run_key(study.recipe(Cell("d", "dcgan", 1)))
    assert made_of["encoder"]["sha256"].startswith("dcbb9e9d")
    other = config()
    other["variants"]["dcgan"]["options"] = {"lr": 0.001}
    assert run_key(load(other, SCHEMA).recipe(cells[1])) != run_key(study.recipe(cells[1]))


def test_what_no_seed_changes_is_one_source():
    pairs = config(of="lookup", features="indomain")
    pairs["study"]["datasets"] = ["pairs"]
    study = load(pairs, SCHEMA)
    assert {study.works_on(cell) for cell in study.cells()} == {Cell("pairs", "lookup", 0)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"of": ""}, r"variants.v.options.of is ''; name the variant that it works on \(dcgan, lookup\)"),
        ({"of": "v"}, r"variants.v.options.of leads in a circle \(v <- v\)"),
        ({"of": "lookup"}, "variants.v translates images .* but datasets.d has no translate"),
        (
            {"conditional": True},
            "variants.v.options.conditional is true, but that of dcgan, which it works on, is false",
        ),
        ({"features": "inception"}, "variants.v.options.features is 'inception'; allowed: indomain, vgg19"),
        ({"style_layers": ["conv9_9"]}, "variants.v on datasets.d: options name the map 'conv9_9'; vgg19 has conv1_1"),
        ({"features": "indomain", "style_layers": ["stage9"]}, "'stage9'; indomain has stage1, stage2, stage3, stage4"),
        ({"features": "indomain", "pool": "max"}, 'options.pool is "max", but features is indomain'),
        ({"lr": 0.1}, "variants.v.options.lr is 0.1, but optimizer is lbfgs"),
        ({"content_weight": 0, "style_weight": 0}, "content_weight and style_weight are both 0"),
    ],
)
def test_rows_that_cannot_be_made_are_refused(given, said):
    with pytest.raises(GanError, match=said) as error:
        load(config(**given), SCHEMA)
    assert "\n" not in str(error.value)


# report


@pytest.mark.parametrize(
    ("given", "translates", "reason"),
    [
        ({"content": "real"}, False, "shows patients"),
        ({"content": "generated"}, True, "shows patients"),
        ({"content": "generated"}, False, ""),
        ({"content": "generated", "features": "indomain"}, False, "fitted to the judge's features"),
    ],
)
def test_why_a_row_takes_no_part(given, translates, reason):
    data = {"translate": TASK} if translates else {}
    stated = make_options("style", given).stated(0)
    assert table.no_contest({"data": data, "variant": {"family": "style", "options": stated}}) == reason
    assert options(**given).about(translates)["anonymous"] is (reason != "shows patients")


def test_a_row_that_takes_no_part_is_marked_and_never_leads():
    base = {"dataset": "d", "contrast": WHOLE, "metric": "kd_indomain", "status": "finished", "seeds": 3, "spread": 0.1}
    found = [("style", 0.1, "shows patients"), ("good", 1.0, ""), ("bad", 2.0, "")]
    own = [base | {"variant": v, "value": x, "low": x - 0.1, "high": x + 0.1, "left_out": why} for v, x, why in found]
    rows = pd.DataFrame(own, columns=table.COMPARISON_COLUMNS).assign(warnings="")
    assert rows.variant[table.best(rows)] == "good"
    assert [line.variant for line in view.wide(rows, "d", WHOLE, "kd_indomain")[0].lines] == ["good", "bad", "style"]
    answer = " ".join(verdict.verdict(rows, "d", "kd_indomain"))
    assert (
        answer.startswith("good has the lowest KD-indomain") and "Left out of this: style (shows patients)." in answer
    )
    assert "style (shows patients)" in view.markdown("t", rows, dict.fromkeys(rows.dataset, "kd_indomain"))
    alone = " ".join(verdict.verdict(rows[:1], "d", "kd_indomain"))
    assert alone == "There is nothing to compare. Left out of this: style (shows patients)."
