"""A metric of features is a function and a line of facts; an extractor is a folder: nothing else is edited."""

import re
import runpy
from math import inf
from pathlib import Path

import numpy as np
import pytest

from gan.config import read_schema
from gan.errors import GanError
from gan.metrics import facts, scores
from gan.metrics.facts import FACTS, Fact
from gan.scoring import extractors
from gan.scoring.extractors import files, registry

REPOSITORY = Path(__file__).resolve().parent.parent
SCHEMA = str(REPOSITORY / "workflow/schemas/config.schema.yaml")

OPTIONS = """
from dataclasses import dataclass, field
from typing import ClassVar

from gan.scoring.extractors.contract import ExtractorOptions


@dataclass(frozen=True)
class Options(ExtractorOptions):
    SENTENCE: ClassVar[str] = "the mean of an image"

    scale: float = field(default=1.0, metadata={"type": "number", "description": "of the mean"})
"""
MODEL = """
class Mean:
    id, name, dim = "mean-1", "mean", 1

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, images):
        return (images.mean((1, 2)) * self.scale).astype("float32")[:, None]


def make(options, training_images, device):
    return {"scale": options.scale}


def load(content, device):
    return Mean(content["scale"])
"""


@pytest.fixture
def mean(tmp_path, monkeypatch):
    """A folder ``mean`` among those of the extractors."""
    (tmp_path / "mean").mkdir()
    for name, text in (("__init__", ""), ("options", OPTIONS), ("model", MODEL)):
        (tmp_path / f"mean/{name}.py").write_text(text)
    monkeypatch.setattr(extractors, "__path__", [*extractors.__path__, str(tmp_path)])
    caches = registry.names, read_schema
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def test_an_extractor_is_one_folder(mean, tmp_path):
    kinds = "inception", "indomain", "indomain3d", "mean", "medicalnet", "network", "radiomics", "random", "vgg19"
    assert registry.names() == kinds
    metrics = read_schema(SCHEMA)["properties"]["metrics"]["properties"]
    assert "mean" in metrics["extractors"]["items"]["enum"]
    assert metrics["mean"]["properties"] == {"scale": {"type": "number", "description": "of the mean", "default": 1.0}}
    files.save(tmp_path / "extractor.pt", "mean", files.make("mean", {"scale": 2.0}, lambda: np.empty(0, np.uint8)))
    extract = files.load(tmp_path / "extractor.pt")
    assert extract(np.full((3, 4, 4), 5, np.uint8)).tolist() == [[10]] * 3
    assert registry.metric_name("fd", extract.name) == "fd_mean"
    assert registry.sentence(extract.id) == "the mean of an image"


def test_settings_that_an_extractor_does_not_know_are_refused():
    with pytest.raises(GanError, match=r"metrics\.indomain: unknown key 'step'; allowed: dim, seed, steps"):
        files.make("indomain", {"step": 3}, lambda: np.empty(0, np.uint8))
    with pytest.raises(GanError, match="'vgg' is not known; allowed: inception"):
        files.make("vgg", {}, lambda: np.empty(0, np.uint8))


def test_every_metric_has_facts():
    assert {*scores.METRICS, *scores.PUBLISHED} < set(FACTS)
    assert {name for name, fact in FACTS.items() if fact.published and not fact.training} == set(scores.PUBLISHED)
    for name, fact in FACTS.items():
        assert facts.fact(name) is facts.fact(f"{name}_indomain") is fact
        assert fact.low <= (fact.floor or fact.low) < fact.high and fact.sentence and fact.better in (-1, 0, 1)
    assert facts.fact("novel_indomain") is None and facts.direction("novel_indomain") == 0
    assert facts.title("novel_indomain") == "Novel-indomain"


def test_the_metric_that_the_page_adds(tmp_path, monkeypatch):
    """The energy distance of docs/protocol.md, run as it is shown."""
    page = (REPOSITORY / "docs/protocol.md").read_text().split("## Adding a metric")[1]
    module, line, fact = (
        re.sub(r"^   ", "", code, flags=re.M) for code in re.findall(r"```python\n(.*?)```", page, re.S)
    )
    (tmp_path / "energy.py").write_text(module)
    energy_distances = runpy.run_path(str(tmp_path / "energy.py"))["energy_distances"]
    monkeypatch.setattr(scores, "METRICS", eval("{" + line + "}", {"energy_distances": energy_distances}))
    monkeypatch.setitem(FACTS, "energy", eval(fact.strip().rstrip(","), {"Fact": Fact, "inf": inf}))
    rng = np.random.default_rng(0)
    real, fake, train, unseen = ({"t1": rng.normal(shift, 1, (60, 3))} for shift in (0, 0.5, 0, 0))
    sets = scores.Sets(real, fake, np.arange(60) // 10, train, unseen, np.arange(60) // 10)
    row = scores.score(sets, bootstrap=20, seed=0)[0]
    x, y = real["t1"], fake["t1"]
    distance = lambda a, b: np.linalg.norm(a[:, None] - b[None], axis=2).mean()  # noqa: E731
    assert row["value"] == pytest.approx(2 * distance(x, y) - distance(x, x) - distance(y, y), rel=1e-4)
    assert row["floor"] < row["value"] and row["low"] < row["value"] < row["high"]
    assert facts.title("energy_indomain") == "Energy-indomain" and facts.direction("energy_indomain") == -1
