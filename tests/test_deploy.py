"""Jobs run in the environments of `--sdm`, `--report` holds what it shows, `prefetch` gets what needs the internet.

Neither conda nor Apptainer is needed: programs of these names take their place, note how they are called, and run the
command here. The Python inside puts back what the finished study has, since the scripts would run here in any case.
"""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from driver import copy_workflow, edit, planned, run_snakemake, snakemake

REPOSITORY = Path(__file__).resolve().parent.parent

CONDA = """#!/usr/bin/env bash
case "$1 $2" in
"info --json") echo '{"platform": "linux-64", "conda_prefix": "'"$STANDINS"'"}' ;;
"--version ") echo "conda 25.1.0" ;;
"config --get") echo '{"get": {"channel_priority": "strict"}}' ;;
"env create")
    mkdir -p "${@: -1}/bin"
    cp "$STANDINS/inside/python" "${@: -1}/bin" ;;
esac
"""
ACTIVATE = 'export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n'
APPTAINER = """#!/usr/bin/env bash
if [ "$1" = --version ]; then echo "apptainer version 1.3.0"; exit; fi
echo "apptainer $*" >> "$CALLS"
until [[ "$1" = *.sif ]]; do shift; done
shift
PATH="$STANDINS/inside:$PATH" exec "$@"
"""
PYTHON = f"""#!/usr/bin/env bash
echo "$0 $*" >> "$CALLS"
case "$*" in
*" pip "*) ;;
*.py | "-m gan "*) cp -rn "$MADE/." results/tiny || true ;;
*) exec "{sys.executable}" "$@" ;;
esac
"""


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(scope="module")
def study(finished, tmp_path_factory):
    """One cell of the finished study, with the stand-ins on the PATH; ``calls`` is what they have noted."""
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("deployed") / "study", symlinks=True))
    shutil.rmtree(folder / "results/tiny/benchmarks")
    made = shutil.copytree(folder / "results/tiny", folder.with_name("made"), symlinks=True)
    edit(folder, {"study": {"variants": ["dcgan"]}})
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    standins, calls = tmp_path_factory.mktemp("standins"), folder / "calls"
    program(standins / "conda", CONDA)
    program(standins / "bin/activate", ACTIVATE)
    program(standins / "apptainer", APPTAINER)
    program(standins / "inside/python", PYTHON)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{standins}:{os.environ['PATH']}")
        patch.setenv("STANDINS", str(standins))
        patch.setenv("CALLS", str(calls))
        patch.setenv("MADE", str(made))
        yield SimpleNamespace(folder=folder, standins=standins, calls=calls, root=folder / "results/tiny")


@pytest.fixture(scope="module")
def by_conda(study) -> list[str]:
    """The calls of a run with conda from the volumes up to the trained generator."""
    arguments = ("--sdm", "conda", "--forcerun", "convert")
    snakemake(study.folder, "results/tiny/phantom/dcgan/seed0/generator.pt", *arguments)
    return study.calls.read_text().splitlines()


@pytest.fixture(scope="module")
def by_apptainer(study, by_conda) -> list[str]:
    """The calls of a run with Apptainer from there to the tables."""
    study.calls.unlink()
    (study.folder / "envs").mkdir()
    (study.folder / "envs/study.sif").touch()
    arguments = ("--sdm", "apptainer", "--apptainer-args=--nv", "--rerun-triggers", "mtime", "--forcerun", "train")
    snakemake(study.folder, "results/tiny/comparison.html", *arguments)
    return study.calls.read_text().splitlines()


def test_rules_run_in_their_conda_environments(study, by_conda):
    conda = study.folder / ".snakemake/conda"
    known = {(REPOSITORY / f"envs/{name}.yaml").read_text(): name for name in ("cpu", "gpu")}
    made = {str(file.with_suffix("")): known[file.read_text()] for file in conda.glob("*.yaml")}
    ran = {}
    for call in by_conda:
        if found := re.match(r"(.+)/bin/python (?:\S+\.(\w+)\.py$|-m gan (run) )", call):
            ran[found[2] or found[3]] = made[found[1]]
    with_torch = ("extractor", "real_features", "image_facts", "run")
    assert ran == {"convert": "cpu", "slices": "cpu"} | dict.fromkeys(with_torch, "gpu")


def test_each_conda_environment_gets_the_package_of_the_working_tree(by_conda):
    installs = [call for call in by_conda if " pip " in call]
    assert len(installs) == 2 and all(
        call.endswith("/bin/python -m pip install --no-deps --editable .") for call in installs
    )


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_conda_environment_without_a_clone_gets_the_package_of_the_driver(name, tmp_path):
    script = REPOSITORY / f"envs/{name}.post-deploy.sh"
    program(tmp_path / "bin/python", '#!/bin/sh\necho "$@"\n')
    path = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}

    def filled(**given):
        return subprocess.run(["sh", script], cwd=tmp_path, env=path | given, capture_output=True, text=True)

    assert filled(GAN_INSTALLABLE="/x y/gan.whl").stdout == "-m pip install --no-deps /x y/gan.whl\n"
    done = filled()
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith(f"error: {tmp_path}: no pyproject.toml here; start snakemake from the project's root")


def test_training_runs_in_the_image_and_sees_the_gpus(study, by_apptainer):
    (container,) = (call for call in by_apptainer if call.startswith("apptainer") and "-m gan run " in call)
    assert re.search(rf"exec --home {study.folder} --nv .*envs/study\.sif bash -c .*gan run", container)
    inside = [call for call in by_apptainer if call.startswith(str(study.standins / "inside/python"))]
    assert sum("-m gan run " in call for call in inside) == 1
    scripts = {found[1] for call in inside if (found := re.search(r"\.(\w+)\.py$", call))}
    assert scripts >= {"curve", "score"}


def test_missing_image_is_told_before_anything_runs(tmp_path):
    done = run_snakemake(copy_workflow(tmp_path), "all", "--sdm", "apptainer", "--dry-run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: envs/study.sif: no such image; build it with: apptainer build envs/study.sif envs/study.def"
    )


def test_a_job_never_gets_fewer_gpus_than_the_config_says(tmp_path):
    folder = copy_workflow(tmp_path)
    edit(folder, {"resources": {"train": {"gpu": 4}}})
    done = run_snakemake(folder, "all", "--resources", "gpu=2", "--dry-run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: resources.train.gpu is 4, and this call may hold 2 (--resources gpu=2, or `resources` of the profile); "
        "lower the one or raise the other"
    )
    for enough in (("--resources", "gpu=4"), ()):
        assert run_snakemake(folder, "all", *enough, "--dry-run").returncode == 0


def test_computing_rules_leave_a_benchmark(study, by_apptainer):
    files = {file.stem for file in (study.root / "benchmarks/phantom").glob("*.tsv")}
    cell = {f"dcgan_seed0_{rule}" for rule in ("curve", "score")}
    assert files == {"convert", "slices", "image_facts", "indomain_extractor", "indomain_features"} | cell
    header, values = (study.root / "benchmarks/phantom/dcgan_seed0_score.tsv").read_text().splitlines()
    assert float(dict(zip(header.split("\t"), values.split("\t"), strict=True))["s"]) > 0


def test_report_holds_what_it_shows_and_asks_no_server(study, by_apptainer):
    snakemake(study.folder, "results/tiny/comparison.html", "--report", "report.html", "--rerun-triggers", "mtime")
    report = (study.folder / "report.html").read_text()
    for file in ("comparison.html", "comparison.md", "comparison.csv", "scores.csv"):
        assert embedded(study.root / file) in report, file
    front = report.partition("workflow_desc = ")[2].partition("</script>")[0]
    assert "<iframe title" in front and "results['results/tiny/comparison.html'].data_uri" in front
    assert '"results/tiny/comparison.html": {"name": "comparison.html"' in report, "the key that the frame asks for"
    cell = "phantom/dcgan/seed0"
    for picture in ("data/phantom/store/contact_sheet.png", f"{cell}/fake.png", f"{cell}/real.png"):
        assert embedded(study.root / picture) in report, picture
    for text in (
        "the same budget and the same judge",
        "not a selection",
        "dimmed, in a red frame",
        "one row for each run",
    ):
        assert text in report
    assert not re.search(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["']?https?:""", report)
    snakemake(study.folder, "results/tiny/data/phantom/store", "--report", "part.html", "--rerun-triggers", "mtime")
    assert "System Message" not in report + (study.folder / "part.html").read_text(), "a caption is not well-formed"


def embedded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def test_prefetch_plans_what_needs_the_internet(tmp_path):
    folder = copy_workflow(tmp_path)
    assert planned(folder, "prefetch") == Counter({(rule, None, None): 1 for rule in ("prefetch", "fetch")})
    edit(folder, {"metrics": {"extractors": ["inception", "indomain"]}})
    assert {job[0] for job in planned(folder, "prefetch")} == {"prefetch", "fetch", "extractor_file"}


def test_pinned_archive_may_move_and_another_one_is_fetched(tmp_path):
    folder = copy_workflow(tmp_path)
    (folder / "scans").mkdir()
    (folder / "scans/a.txt").touch()
    archive = Path(shutil.make_archive(str(folder / "before"), "zip", folder / "scans"))
    source = {"path": str(archive), "sha256": hashlib.sha256(archive.read_bytes()).hexdigest()}
    row = {"layout": "images", "contrasts": ["t1"], "slices": {"size": 16}}
    edit(folder, {"study": {"datasets": ["moved"]}, "datasets": {"moved": row | {"source": source}}})
    snakemake(folder, "prefetch")
    edit(folder, {"datasets": {"moved": {"source": {"path": str(archive.rename(folder / "after.zip"))}}}})
    assert planned(folder, "prefetch") == Counter()
    edit(folder, {"datasets": {"moved": {"source": {"sha256": "0" * 64}}}})
    assert ("fetch", None, None) in planned(folder, "prefetch")
