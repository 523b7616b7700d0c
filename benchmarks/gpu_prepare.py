"""The folder that `benchmarks/gpu.py` needs on a machine with a GPU: made where all packages are, read where few are.

``stores/<data set>.tar.gz``, ``judge/{extractor.pt, real.npz, images.npz}``, ``recipe.json`` of the training,
``cases.json`` with every step to time and what was counted of it, ``about.json``. A checkout of the official program
goes to ``official``.
"""

import argparse
import importlib
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import floors
import torch
from official import AUGMENTATIONS
from steps import SETTINGS, Program

from gan.errors import GanError
from gan.families.registry import options_of, trained
from gan.files import write_json

HERE = Path(__file__).resolve().parent
SCHEMA = HERE.parent / "workflow/schemas/config.schema.yaml"
KEPT = ("images.npy", "index.parquet", "subjects.csv", "store.json")
LIMIT = 60e6  # bytes of the folder, without the official program

BF16 = {"precision": "bf16", "ops": "cuda", "step": "graph"}
FP32 = BF16 | {"precision": "fp32"}
TF32 = BF16 | {"precision": "tf32"}
FP16 = BF16 | {"precision": "fp16"}
EAGER = BF16 | {"step": "eager"}
REFERENCE = EAGER | {"ops": "reference"}
REFERENCE_GRAPH = BF16 | {"ops": "reference"}
AUTOTUNED = BF16 | {"cudnn": "autotuned"}  # which this program does not do: two runs of one seed would differ
OFFICIAL, FASTEST = {"official": "official"}, {"official": "official, fastest"}
ADA = {"augment": "bgc", "ada_p": 0.5, **SETTINGS["auto"]}

# (size, batch, options, programs), the ones that matter most first: time may end before the list does.
STEPS: list[tuple[tuple[int, ...], int, dict[str, Any], list[dict[str, str]]]] = [
    ((256, 256), 16, ADA, [BF16, FASTEST, EAGER]),
    ((64, 64), 32, ADA, [BF16, FASTEST, EAGER]),
    ((256, 256), 64, ADA, [BF16, FASTEST, EAGER]),
    ((256, 256), 16, ADA, [TF32, FP16, FP32]),
    ((64, 64), 32, ADA, [TF32, FP16, FP32]),
    ((256, 256), 64, ADA, [TF32, FP16]),
    ((256, 256), 16, ADA, [REFERENCE_GRAPH, REFERENCE, OFFICIAL]),
    ((64, 64), 32, ADA, [REFERENCE, OFFICIAL]),
    ((256, 256), 16, ADA, [AUTOTUNED]),
]
LARGE = {"channel_base": 2048, "channel_max": 256}
VOLUMES = [
    ((64, 64, 64), 16, LARGE, [BF16]),
    ((64, 64, 64), 16, LARGE | {"augment": "mri", "ada_p": 0.2}, [BF16]),
    ((64, 64, 64), 16, LARGE | {"augment": "mri", "ada_p": 0.2, "ada_oversample": False}, [BF16]),
    ((128, 128, 128), 8, LARGE | {"channel_base": 4096}, [BF16]),
    ((128, 128, 128), 8, LARGE, [EAGER]),
    ((128, 128, 128), 4, {"channel_base": 8192, "channel_max": 512}, [BF16]),
    ((64, 64, 64), 16, LARGE, [REFERENCE]),
]
FP32_EAGER = REFERENCE | {"precision": "fp32"}
TRANSLATING = [name for name in trained() if options_of(name).TASK == "translate"]
TRANSLATIONS: list[tuple[str, tuple[int, ...], int, list[dict[str, str]]]] = [
    *((family, (256, 256), 1, [BF16, TF32, OFFICIAL]) for family in TRANSLATING),
    *((family, (256, 256), 16, [BF16, TF32]) for family in TRANSLATING),
]
NARROW = {"channel_base": 64, "channel_max": 8, "z_dim": 8, "w_dim": 8}
TOY_STEPS = [((16, 16), 4, NARROW, [REFERENCE])]
TOY_VOLUMES = [((16, 16, 16), 4, NARROW, [REFERENCE])]
TOY_TRANSLATIONS = [(TRANSLATING[0], (32, 32), 2, [FP32_EAGER])]
TOY = """
study: {name: gpu, datasets: [phantom], variants: [stylegan2_ada], seeds: [0]}
datasets:
  phantom:
    source: {phantom: {subjects: 8, matrix: 32, spacing: 6.0}}
    contrasts: [t1c]
    slices: {size: 16, fraction: 0.1}
    split: {train: 0.5, val: 0.25, test: 0.25}
variants:
  stylegan2_ada: {options: {z_dim: 8, w_dim: 8, channel_base: 64, channel_max: 8, augment: mri}}
training: {kimg: 0.064, batch: 8, snapshot_kimg: 0.032}
metrics: {extractors: [indomain], indomain: {steps: 2, dim: 8}, n_fake: 64, n_fake_curve: 50}
"""


def prepare(folder: Path, config: Path, toy: bool) -> None:
    """Make ``folder`` from the data sets and the variant of the study ``config``; toy: of a phantom, in seconds."""
    import yaml

    from gan.study import Study, load

    base = yaml.safe_load((HERE.parent / "config.yaml").read_text(encoding="utf-8"))
    overlay = yaml.safe_load(TOY if toy else config.read_text(encoding="utf-8"))
    study: Study = load(_over(base, overlay), SCHEMA)
    folder.mkdir(parents=True, exist_ok=True)
    first = study.cells()[0]
    with tempfile.TemporaryDirectory() as scratch:
        for name in study.datasets:
            store = _store(study, name, Path(scratch) / name)
            _pack(store, folder / f"stores/{name}.tar.gz")
            if name == first.dataset:
                _judge(study, store, folder / "judge")
    recipe = study.recipe(first)
    write_json(folder / "recipe.json", recipe)
    write_json(folder / "cases.json", [*_cases(recipe, toy)])
    protocol = {key: study.metrics[key] for key in ("n_fake", "n_fake_curve", "seed") if key in study.metrics}
    write_json(folder / "about.json", {"dataset": first.dataset, "protocol": protocol, "torch": torch.__version__})
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and "official" not in path.parts)
    if size > LIMIT:
        most = f"at most {LIMIT / 1e6:.0f} travel"
        raise GanError(f"{folder}: {size / 1e6:.0f} MB, {most}; take fewer slices in {config}")
    print(f"{folder}: {size / 1e6:.1f} MB; a checkout of NVlabs/stylegan2-ada-pytorch goes into {folder / 'official'}")


def _over(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``overlay``, as Snakemake lays a --configfile over another."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _over(base[key], value) if both else value
    return merged


def _store(study: Any, name: str, scratch: Path) -> Path:
    from gan.data.slices import build_store
    from gan.data.sources import fetch
    from gan.data.volumes import convert

    workers = os.cpu_count() or 1
    fetch(study.dataset(name)["source"], scratch / "raw", workers=workers)
    convert(study.volumes_spec(name), scratch / "raw", scratch / "volumes", workers=workers)
    build_store(study.store_spec(name), scratch / "volumes", scratch / "store", workers=workers, name=name)
    return scratch / "store"


def _pack(store: Path, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name in KEPT:
            archive.add(store / name, name)


def _judge(study: Any, store: Path, folder: Path) -> None:
    from gan.scoring.reference import image_facts, prepare_extractor, real_features

    folder.mkdir(exist_ok=True)
    kind = study.metrics["extractors"][0]
    prepare_extractor(kind, study.metrics[kind], store, folder / "extractor.pt", "cpu")
    real_features(folder / "extractor.pt", store, folder / "real.npz", "cpu")
    image_facts(store, folder / "images.npz")


def _cases(recipe: dict[str, Any], toy: bool):
    """Every case as a dict: part, size, channels, batch, options, program, counts."""
    slices = [("steps", "stylegan2", 3, case) for case in (TOY_STEPS if toy else STEPS)]
    volumes = [("volumes", "stylegan2", 1, case) for case in (TOY_VOLUMES if toy else VOLUMES)]
    translations = [
        ("translation", family, 1, (size, batch, _as_published(family, size[0], 4 if toy else 64), programs))
        for family, size, batch, programs in (TOY_TRANSLATIONS if toy else TRANSLATIONS)
    ]
    training, channels = recipe["training"], len(recipe["data"]["contrasts"])
    size, own = recipe["data"]["slices"]["size"], recipe["variant"]["options"] | {"ada_p": 0.2}
    program = (EAGER if toy else BF16) | {"precision": training["precision"]}
    trained = ((size, size) if isinstance(size, int) else tuple(size), training["batch"], own, [program])
    all_cases = ("steps", "stylegan2", channels, trained), *slices, *volumes, *translations
    for part, family, planes, (size, batch, options, programs) in all_cases:
        for program in programs:
            case = {"part": part, "family": family, "size": size, "channels": planes, "batch": batch}
            case["options"] = options
            yield case | {"program": program, "counts": _counts(case, program), "training": options is own}


def _as_published(family: str, size: int, width: int) -> dict[str, Any]:
    """The options that make the networks of the program of its authors (`translation.py`)."""
    given = argparse.Namespace(size=size, width=width, norm="instance", channels=1)
    return importlib.import_module(f"official_{family}").options(given)


def _counts(case: dict[str, Any], program: dict[str, str]) -> dict[str, Any] | None:
    """See `floors.count`. Not counted: the official program, and translations, since nothing is autocast nowhere."""
    if "official" in program:
        assert case["options"].get("augment", "none") in AUGMENTATIONS
    if "official" in program or case["part"] == "translation":
        return None
    made = Program(program["precision"], program["ops"])  # graphs count as without
    shape = case["batch"], case["channels"], *case["size"]
    print(f"counting {'x'.join(map(str, case['size']))}, batch {case['batch']}, {made.name}", flush=True)
    return floors.count(
        lambda batch, device: made.phases(case["family"], case["options"], batch, device), shape, made.ops == "cuda"
    )
