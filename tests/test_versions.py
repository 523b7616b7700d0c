"""One source of versions: pyproject.toml's direct dependencies, the lock, and the conda file agree."""

import re
import tomllib
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent


def locked() -> dict[str, set[str]]:
    versions: dict[str, set[str]] = {}
    for line in (REPOSITORY / "requirements.lock").read_text().splitlines():
        if found := re.match(r"([A-Za-z0-9_.-]+)==([^ ;]+)", line):
            versions.setdefault(found[1].lower(), set()).add(found[2])
    return versions


def direct() -> list[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return [re.match(r"[A-Za-z0-9_.-]+", line)[0].lower() for line in project["dependencies"]]


def test_lock_holds_every_direct_dependency():
    assert set(direct()) <= set(locked())


def test_lock_names_no_host():
    assert "://" not in (REPOSITORY / "requirements.lock").read_text()


def test_conda_file_is_held_to_the_lock():
    environment = yaml.safe_load((REPOSITORY / "envs/study.yaml").read_text())
    pip = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    pinned = dict(line.split("==") for line in pip)
    assert set(pinned) == set(direct())
    for name, version in pinned.items():
        assert version in locked()[name], f"{name}: run `make lock` and adapt envs/study.yaml"
