"""The benchmark of a step: what it writes, and what it says of that which the machine cannot run."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from gan import ops

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
NARROW = '{"channel_base": 64, "channel_max": 8, "z_dim": 8, "w_dim": 8}'


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location("benchmark_of_training", FOLDER / "training.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    yield module
    ops.use("cuda")
    torch.set_num_threads(threads)


def test_matrix_has_a_row_for_all_that_runs_and_a_word_for_the_rest(training, tmp_path, capsys):
    programs = ["--precision", "fp32", "tf32", "bf16", "fp16", "--ops", "reference", "cuda"]
    cases = ["--size", "16", "--batch", "4", "--settings", "auto", "paper", "--repeats", "1", "--options", NARROW]
    training.main([*programs, *cases, "--out", str(tmp_path / "deep/matrix")])
    found = json.loads((tmp_path / "deep/matrix.json").read_text())
    assert [(row["program"], row["settings"]) for row in found["rows"]] == [("fp32", "auto"), ("bf16", "auto")]
    for row in found["rows"]:
        per_step = {"G": 1, "Gpl": 4, "D": 1, "Dr1": 16}
        expected = {name: row["seconds"][name] / n * 250 for name, n in per_step.items()}
        assert row["s_per_kimg"] == pytest.approx(expected) and row["total"] == pytest.approx(sum(expected.values()))
        assert 0 < row["tflop"]["G"] < row["tflop"]["D"]
        assert row["images_per_s"] == pytest.approx(1000 / row["total"])
    left = {line.split(":")[0] for line in found["skipped"]}
    kernels = {f"{precision} kernels" for precision in ("fp32", "tf32", "bf16", "fp16")}
    assert left == kernels | {"tf32", "fp16", "16 x 16, batch 4, paper"}
    page = (tmp_path / "deep/matrix.md").read_text()
    assert all(line in page for line in found["skipped"]) and "| 16 | 4 | auto | bf16 |" in page
    assert "left out: fp16" in capsys.readouterr().out


def test_ratio_to_the_official_program(training):
    row = {"size": 16, "batch": 4, "settings": "auto", "s_per_kimg": {"G": 1.0}, "images_per_s": 1.0, "step_gb": 2.5}
    row |= {"tflop": {"G": 1.0}, "seconds": {"G": 0.5}}
    lines = training.table([row | {"program": "fp32", "total": 1.0}, row | {"program": "official", "total": 4.0}])
    assert lines.splitlines()[2] == "| 16 | 4 | auto | fp32 | 1 | 1 | 0.25 | 1 | 2 | 2.5 |"


def test_nothing_to_run_is_said(training, capsys):
    with pytest.raises(SystemExit, match="nothing of this can be run here"):
        training.main(["--precision", "fp16"])
    assert "left out: fp16" in capsys.readouterr().out
