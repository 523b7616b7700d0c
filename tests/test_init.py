"""A folder to work in without the clone: what `gan init` writes, and the wheel that holds the workflow."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY
from driver import edit, planned

from gan import project
from gan.__main__ import main


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built of a copy of what git has, so that nothing is left in the working tree."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True)
    if listed.returncode:
        pytest.skip("not a clone")
    packed = ("src/", "workflow/", "envs/", "slurm/", "profiles/")
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = REPOSITORY / name
        if path.is_file() and ("/" not in name or name.startswith(packed)):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(path.read_bytes())
    (source / "workflow/envs").symlink_to("../envs")
    command = [sys.executable, "-c", "from setuptools import build_meta as b; import sys; b.build_wheel(sys.argv[1])"]
    done = subprocess.run([*command, str(made)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(made.glob("*.whl"))


def test_a_new_folder_plans_the_study_and_another_one_is_refused(tmp_path, capsys):
    folder = tmp_path / "my_study"
    assert main(["init", str(folder)]) == 0
    assert "gan inspect" in capsys.readouterr().out
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    kept = {"config.yaml", "demo.yaml", "slurm/config.yaml", "profiles/default/config.yaml"}
    assert written == {"Snakefile", *kept}
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["study"]["name"] == "my_study"
    assert config["variants"] == yaml.safe_load((REPOSITORY / "config.yaml").read_text())["variants"]
    (folder / "tiny.yaml").write_text((REPOSITORY / "tests/tiny.yaml").read_text())
    edit(folder, {"study": {"variants": ["dcgan"]}})
    jobs = planned(folder, "all")
    assert jobs["train", "dcgan", "0"] == jobs["compare", None, None] == jobs["all", None, None] == 1
    assert main(["init", str(folder)]) == 1
    assert main(["init", str(folder / "Snakefile")]) == 1
    errors = capsys.readouterr().err.splitlines()
    said = "not empty; name a new folder, as a study never shares one with other files"
    assert errors == [f"error: {path}: {said}" for path in (folder, folder / "Snakefile")]


def test_the_wheel_holds_the_workflow_of_the_clone(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    bundle = tmp_path / "site/gan/bundle"
    for name in ("Snakefile", "config.yaml", "demo.yaml", "slurm/config.yaml", "profiles/default/config.yaml"):
        assert (bundle / name).read_bytes() == (REPOSITORY / name).read_bytes()
    paths = [path for path in (REPOSITORY / "workflow").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert len(paths) > 25
    for path in (*paths, *(REPOSITORY / "envs").glob("*.yaml")):
        name = path.relative_to(REPOSITORY)
        place = name if name.parts[0] == "workflow" else Path("workflow", name)
        assert (bundle / place).read_bytes() == path.read_bytes(), name
    # The installed package finds them, and makes the same wheel again for another environment.
    code = "import sys; from gan import project as p; print(p.root(), p.installable(p.Path(sys.argv[1])), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "again")],
        **{"cwd": tmp_path, "env": {"PYTHONPATH": str(tmp_path / "site")}, "capture_output": True, "text": True},
    )
    root, again = done.stdout.splitlines()
    assert Path(root) == bundle and Path(again).name == wheel.name
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())


def test_from_a_clone_the_workflow_is_that_of_the_clone():
    assert project.root() == REPOSITORY == project.installable(Path("unused"))
