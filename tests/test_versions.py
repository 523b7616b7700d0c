"""One source of versions: pyproject.toml's direct dependencies, the lock, and the environments of the rules agree."""

import ast
import importlib.metadata
import re
import tomllib
from pathlib import Path

import grimp
import pytest
import yaml

from gan.__main__ import COMMANDS

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENTS = sorted(path.stem for path in (REPOSITORY / "envs").glob("*.yaml"))
IMAGES = ("Dockerfile", "envs/study.def")
# what no module of ours imports by name: Snakemake reads its scripts' arguments, pandas Parquet and Excel; ninja builds
# what registries import on demand, where there is torch
MODELS = ("families", "scoring/extractors")
UNNAMED = {"cpu": {"snakemake", "pyarrow", "openpyxl"}, "gpu": {"snakemake", "pyarrow", "ninja"}}


def locked() -> dict[str, set[str]]:
    versions: dict[str, set[str]] = {}
    for line in (REPOSITORY / "requirements.lock").read_text().splitlines():
        if found := re.match(r"([A-Za-z0-9_.-]+)==([^ ;]+)", line):
            versions.setdefault(found[1].lower(), set()).add(found[2])
    return versions


def direct() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return {re.match(r"[A-Za-z0-9_.-]+", line)[0].lower() for line in project["dependencies"]}


def dependencies(environment: str) -> list:
    return yaml.safe_load((REPOSITORY / f"envs/{environment}.yaml").read_text())["dependencies"]


def pinned(environment: str) -> dict[str, str]:
    (pip,) = (item["pip"] for item in dependencies(environment) if isinstance(item, dict))
    return dict(line.split("==") for line in pip)


def started(environment: str) -> set[str]:
    """Modules of ours that the rules with this environment start from."""
    modules: set[str] = set()
    for file in (REPOSITORY / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE):
            if f"envs/{environment}.yaml" not in rule:
                continue
            modules |= {COMMANDS[name][0].partition(":")[0] for name in re.findall(r"python -m gan ([\w-]+)", rule)}
            for script in re.findall(r"\.\./(scripts/\w+\.py)", rule):
                nodes = ast.walk(ast.parse((REPOSITORY / "workflow" / script).read_text()))
                modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    if environment == "gpu":
        found = (path for folder in MODELS for path in (REPOSITORY / "src/gan" / folder).glob("*/model.py"))
        modules |= {".".join(path.with_suffix("").relative_to(REPOSITORY / "src").parts) for path in found}
    return {module for module in modules if module.startswith("gan.")}


def imported(modules: set[str]) -> set[str]:
    """Distributions that ``modules`` import, directly or through other modules of ours."""
    graph = grimp.build_graph("gan", include_external_packages=True)
    roots = {"gan"} | modules | {module.rsplit(".", 1)[0] for module in modules}
    reached = set().union(*(graph.find_upstream_modules(module) for module in roots))
    names = importlib.metadata.packages_distributions()
    return {name.lower() for module in reached for name in names.get(module, ()) if graph.is_module_squashed(module)}


def test_lock_holds_every_direct_dependency():
    assert direct() <= set(locked())


def test_lock_names_no_host():
    assert "://" not in (REPOSITORY / "requirements.lock").read_text()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environment_is_held_to_the_lock(environment):
    for name, version in pinned(environment).items():
        assert version in locked()[name], f"{name}: run `make lock` and adapt envs/{environment}.yaml"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environment_holds_what_its_rules_import_and_no_more(environment):
    assert set(pinned(environment)) == imported(started(environment)) & direct() | UNNAMED[environment]


@pytest.mark.parametrize("image", IMAGES)
def test_image_installs_the_lock_and_then_this_project_alone(image):
    """Nothing that pip would choose by itself, and the lock is among the files that the image gets."""
    text = (REPOSITORY / image).read_text()
    lock, project = re.findall(r"pip install (.*)", text)
    assert re.fullmatch(r"--no-cache-dir -r (/src/)?requirements\.lock", lock)
    assert re.fullmatch(r"--no-cache-dir --no-deps (/src|--editable \.)", project)
    before = text[: text.index(lock)]
    assert re.search(r"^ *(COPY|pyproject\.toml) requirements\.lock .*/$", before, re.MULTILINE)
    for line in re.findall(r"^(?:COPY|    (?=\w+\.toml|src )) *(.+) \S+$", text, re.MULTILINE):
        assert all((REPOSITORY / name).exists() for name in line.split()), line


def test_environments_and_images_have_one_python():
    found = {re.search(r"^from:? python:([\d.]+)", (REPOSITORY / name).read_text(), re.M | re.I)[1] for name in IMAGES}
    (image,) = found
    for environment in ENVIRONMENTS:
        assert f"python={image}" in dependencies(environment)
    assert f"--python-version {image}" in (REPOSITORY / "Makefile").read_text()
