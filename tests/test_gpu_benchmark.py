"""The benchmark of a GPU, rehearsed on a CPU without the packages that its machine lacks."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gan.families.registry import options_of
from gan.ops import build

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = [sys.executable, str(ROOT / "benchmarks/gpu.py")]
ABSENT = ("snakemake", "jsonschema", "nibabel", "SimpleITK", "mlflow", "cleanfid", "pydicom")
BLOCKER = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {ABSENT!r}:
            raise ModuleNotFoundError(f"{{name}} is not on a machine with a GPU")

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A prepared folder, of a phantom."""
    path = tmp_path_factory.mktemp("gpu") / "prepared"
    subprocess.run([*PROGRAM, "--prepare", str(path), "--toy"], check=True, cwd=path.parent)
    return path


def measure(folder: Path, out: Path, *words: str) -> subprocess.CompletedProcess:
    """The benchmark where the packages are absent."""
    without = out.parent / "without"
    without.mkdir(exist_ok=True)
    (without / "sitecustomize.py").write_text(BLOCKER)
    command = [*PROGRAM, str(folder), "--out", str(out), "--device", "cpu", *words]
    environment = os.environ | {"PYTHONPATH": str(without)}
    return subprocess.run(command, env=environment, cwd=out.parent, capture_output=True, text=True)


def test_all_parts_without_the_packages_that_are_not_there(folder, tmp_path, request, monkeypatch):
    monkeypatch.setenv("GAN_OPS_CACHE", str(request.config.cache.mkdir("gan_ops")))
    library = build.build(build.HOST)  # which other tests have built
    shutil.copytree(library.parent, tmp_path / "out/cache/d/gan_ops" / library.parent.name)
    done = measure(folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    parts = json.loads((tmp_path / "out/results.json").read_text())["parts"]
    assert list(parts) == ["kernels", "steps", "training", "volumes", "translation", "bandwidth"]
    assert all(found["codes"] == [0] for found in parts.values()), parts
    assert parts["kernels"]["build"]["code"] == parts["kernels"]["tests"]["code"] == 0
    assert max(parts["kernels"]["conv3d"].values()) < 0.01
    (row,) = parts["steps"]["rows"]
    per_step = {"G": 1, "Gpl": 4, "D": 1, "Dr1": 16}
    assert row["total"] == pytest.approx(sum(row["seconds"][name] / n * 250 for name, n in per_step.items()))
    assert [line.split(": ")[1] for line in parts["steps"]["left_out"]] == ["GanError"]
    assert parts["volumes"]["rows"][0]["size"] == [16, 16, 16]
    assert (parts["training"]["kimg"], parts["training"]["code"]) == (0.064, 0)
    assert {row["kimg"] for row in parts["training"]["curve"]} == {0, 0.032, 0.064}
    assert (tmp_path / "out/training/cell/generator.pt").exists()
    assert (tmp_path / "out/training/best.pt").exists()
    (row,) = parts["translation"]["rows"]
    assert options_of(row["family"]).TASK == "translate" and row["total"] == pytest.approx(
        sum(row["seconds"].values()) * 500
    )
    page = (tmp_path / "out/results.md").read_text()
    assert page in done.stdout and "- kd_indomain at 0.064 kimg" in page
    assert page.index("## translation") < page.index("## Summary")


def test_a_part_that_breaks_loses_nothing_else(folder, tmp_path):
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/cases.json").write_bytes((folder / "cases.json").read_bytes())
    done = measure(tmp_path / "torn", tmp_path / "out", "--parts", "training", "bandwidth")
    parts = json.loads((tmp_path / "out/results.json").read_text())["parts"]
    assert parts["training"]["codes"] == [1] and "about.json: no such file" in done.stderr
    assert parts["bandwidth"]["codes"] == [0] and len(parts["bandwidth"]["left_out"]) == 1


def test_a_case_in_which_a_process_died_is_left_out_and_the_rest_is_done(folder, tmp_path):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import gpu_place
        import gpu_steps
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    name = gpu_steps.name_of(json.loads((folder / "cases.json").read_text())[1])
    found = {"rows": [], "left_out": [f"{name}: the process ended in it"]}
    end = time.monotonic() + 60
    gpu_steps.steps(gpu_place.Place(folder, tmp_path, "steps", torch.device("cpu"), end, found))
    assert found["rows"] == [] and [line.split(": ")[1] for line in found["left_out"]] == [
        "the process ended in it",
        "GanError",
    ]


def test_time_that_is_over_is_said(folder, tmp_path):
    measure(folder, tmp_path / "out", "--parts", "steps", "volumes", "--minutes", "0")
    parts = json.loads((tmp_path / "out/results.json").read_text())["parts"]
    assert parts == {name: {"left_out": [f"{name}: no time left"]} for name in ("steps", "volumes")}
