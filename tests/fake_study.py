"""A study as it lies on disk, made up: what training and evaluation leave in the folders of its cells."""

import json
from pathlib import Path

import numpy as np

from gan.cells import CellFiles
from gan.grids import write_grid
from gan.study import run_key

VARIANTS = {"stylegan2": 0.034, "stylegan2_ada": 0.012, "dcgan": 0.075}
FAMILIES = {"stylegan2": "stylegan2", "stylegan2_ada": "stylegan2", "dcgan": "dcgan"}
START = 1_760_000_000


def make_study(
    root: Path, dataset: str = "phantom", variants: dict[str, float] = VARIANTS, seeds: int = 2
) -> list[CellFiles]:
    """Write the cells ``dataset`` x ``variants`` (name -> final KID) x ``seeds`` under ``root``."""
    cells = []
    for place, (variant, kid) in enumerate(variants.items()):
        for seed in range(seeds):
            cell = CellFiles(dataset, variant, seed, root / dataset / variant / f"seed{seed}")
            make_cell(cell, kid, np.random.default_rng(100 * place + seed))
            cells.append(cell)
    return cells


def make_cell(cell: CellFiles, kid: float, rng: np.random.Generator) -> None:
    """One finished cell whose KID at the end is about ``kid``."""
    (cell.folder / "snapshots").mkdir(parents=True)
    recipe = recipe_of(cell)
    key = run_key(recipe)
    write(cell, "recipe.json", recipe)
    kimgs = [0, 10, 20, 30, 40]
    decay = [kid + (0.5 - kid) * 0.12 ** (kimg / 12) + rng.normal(0, kid / 20) for kimg in kimgs]
    write(cell, "curve.json", {"run_key": key, "rows": curve_of(kimgs, decay)})
    scores = scores_of(decay[-1])
    write(cell, "scores.json", {**identity(cell, key), "scores": scores})
    write(cell, "replicates.json", {"run_key": key, "rows": [replicates_of(row, rng) for row in scores]})
    used = {"wall_s": 410.0, "cpu_s": 800.0 + 90 * kid, "gpu_s": 0.0, "peak_mem_mb": 1450.0, "peak_gpu_mem_mb": 0.0}
    write(cell, "cost.json", {**used, "device": "cpu", "threads": 2, "resumed": cell.seed})
    write_stats(cell, rng, ada="ada" in cell.variant)
    (cell.folder / "generator.pt").write_bytes(b"weights of " + cell.name.encode())
    for kimg in kimgs:
        grid(cell.folder / "snapshots" / f"kimg{kimg:05d}.png", rng, noise=120 * 0.12 ** (kimg / 12))
    grid(cell.folder / "fake.png", rng, noise=100 * kid)
    grid(cell.folder / "real.png", np.random.default_rng(0), noise=0)
    make_shown(cell, kid, rng)


def recipe_of(cell: CellFiles) -> dict:
    family = FAMILIES.get(cell.variant, "stylegan2")
    options = {"z_dim": 100, "lr": 2e-4} if family == "dcgan" else {"z_dim": 512, "lr": 0.0025, "r1_gamma": None}
    if family == "stylegan2":
        options["augment"] = "mri" if "ada" in cell.variant else "none"
    return {
        "data": {"source": "phantom", "contrasts": ["t1c", "t2f"], "size": 64, "intensity": "percentiles"},
        "variant": {"name": cell.variant, "family": family, "revision": 1, "options": options},
        "training": {"kimg": 40, "batch": 16, "snapshot_kimg": 10, "precision": "fp32"},
        **{"seed": cell.seed, "revisions": {"data": 1, "train": 1}},
    }


def identity(cell: CellFiles, key: str) -> dict:
    chosen = {"kimg": 40, "chosen": "best", "metric": "kd_indomain"}
    return {"dataset": cell.dataset, "variant": cell.variant, "seed": cell.seed, "run_key": key, "snapshot": chosen}


def score(metric: str, value: float, contrast: str = "all", width: float = 0.15, **own) -> dict:
    """A row of scores.json; keyword arguments replace single entries."""
    floor = {"kd_indomain": 0.006, "fd_indomain": 14.0}.get(metric, 0.8)
    row = {"metric": metric, "contrast": contrast, "split": "test", "value": value, "low": value * (1 - width)}
    row |= {"high": value * (1 + width), "floor": floor, "floor_low": floor - 0.01, "floor_high": floor + 0.01}
    row |= {"above_floor": value - floor, "above_floor_low": value * (1 - width) - floor}
    row |= {"above_floor_high": value * (1 + width) - floor, "n_floor": 180, "n_floor_subjects": 4}
    row |= {"n_real": 412, "n_subjects": 9, "n_fake": 2000, "truncation": 1.0}
    return {**row, "extractor": "indomain-7f3a", "seed": 0, **own}


def scores_of(kid: float) -> list[dict]:
    values = {"kd": (kid, 0.15), "fd": (20 + 900 * kid, 0.15), "precision": (0.8 - 3 * kid, 0.04)}
    values |= {"recall": (0.6 - 4 * kid, 0.05), "density": (0.9 - 3 * kid, 0.06), "coverage": (0.85 - 4 * kid, 0.05)}
    return [
        score(f"{name}_indomain", value * factor, contrast, width)
        for name, (value, width) in values.items()
        for contrast, factor in (("t1c", 1.1), ("t2f", 0.9), ("all", 1.0))
    ]


def replicates_of(row: dict, rng: np.random.Generator, resamples: int = 50) -> dict:
    """Replicates of a score: half of what moves them are patients, whom all cells share."""
    patients = np.random.default_rng(7).normal(0, 0.05, resamples)
    values = row["value"] * (1 + patients + rng.normal(0, 0.02, resamples))
    named = {key: row[key] for key in ("metric", "contrast", "extractor", "n_real", "n_fake", "seed")}
    return named | {"values": values.tolist()}


def curve_of(kimgs: list[int], values: list[float]) -> list[dict]:
    common = {
        "n_real": 180,
        "n_subjects": 4,
        "n_fake": 500,
        "truncation": 1.0,
        "extractor": "indomain-7f3a",
        "seed": 0,
        "split": "val",
        "contrast": "all",
    }
    return [
        {"kimg": kimg, "metric": metric, "value": number, "floor": floor, **common}
        for kimg, value in zip(kimgs, values, strict=True)
        for metric, number, floor in (
            ("kd_indomain", value, 0.006),
            ("fd_indomain", 900 * value, None),
            ("precision_indomain", 0.8 - 1.4 * value, 0.84),
            ("recall_indomain", 0.6 - 1.1 * value + 0.04 * np.sin(kimg), 0.81),
        )
    ]


def cells_with(tmp_path, **rows):
    """One cell a variant (or several, if lists of rows are given) with the scores that are named."""
    cells = []
    for variant, seeds in rows.items():
        for seed, scores in enumerate(seeds):
            cell = CellFiles("set", variant, seed, tmp_path / "set" / variant / f"seed{seed}")
            cell.folder.mkdir(parents=True)
            snapshot = {"kimg": 10, "chosen": "best", "metric": "kid"}
            write(cell, "scores.json", {"run_key": "k", "snapshot": snapshot, "scores": scores})
            cells.append(cell)
    return cells


def kid(value, width=0.001, **own):
    return score("kid", value, low=value - width, high=value + width, extractor="inception") | own


def write_stats(cell: CellFiles, rng: np.random.Generator, *, ada: bool, lines: int = 160) -> None:
    rows = []
    for place in range(1, lines + 1):
        kimg = 40 * place / lines
        row = {"kimg": kimg, "step": place * 16, "time": START + 2.5 * place}
        row["saved_kimg"] = 10 * ((place - 1) * 4 // lines)
        row |= {
            "loss/G": 1.2 + 0.3 * np.sin(kimg / 5) + rng.normal(0, 0.05),
            "loss/D": 0.9 - kimg / 90 + rng.normal(0, 0.05),
        }
        row |= {
            "logits/real": 0.5 + kimg / 60,
            "logits/fake": -0.4 - kimg / 50,
            "speed/s_per_kimg": 10.1,
            "memory/peak_gb": 1.4,
            "cost/cpu_h": 0.2 * place / lines,
        }
        if ada:
            row |= {"ada/rt": 0.6 + rng.normal(0, 0.03), "ada/p": min(0.4, kimg / 100)}
        rows.append({key: float(value) for key, value in row.items()})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (cell.folder / "stats.jsonl").write_text(text)


def make_shown(cell: CellFiles, kid: float, rng: np.random.Generator) -> None:
    """The folder ``shown``, as `gan.scoring.shown` writes it."""
    folder = cell.folder / "shown"
    folder.mkdir()
    grid(folder / "real.png", np.random.default_rng(0), noise=0, number=8)
    grid(folder / "fake.png", rng, noise=100 * kid, number=8)
    write(
        cell, "shown/positions.json", {"edges": np.linspace(0.2, 0.9, 9).tolist(), "images": list(range(8)), "of": 128}
    )
    grid(folder / "interpolation.png", rng, noise=100 * kid, number=16)
    if cell.variant != "dcgan":
        grid(folder / "mixing.png", rng, noise=100 * kid, number=16, columns=4)
    points = {
        name: rng.normal(shift, 1, (40, 2)).tolist() for name, shift in (("train", 0), ("test", 0), ("fake", 9 * kid))
    }
    values = (kid * np.array([1.4, 1.0, 0.8, 1.1, 1.9])).tolist()
    place = {"edges": np.linspace(0.2, 0.9, 6).tolist(), "value": values, "floor": [0.006] * 5, "fraction": [0.2] * 5}
    falling = np.exp(-np.arange(32) / 6)
    pixels = {
        "frequency": np.append(np.arange(9) / 16, 0.7071).round(4).tolist(),
        "power": {
            name: (more * 4.0 ** -np.arange(9) * 1e4).tolist()
            for name, more in (("fake", 1 + kid), ("train", 1), ("val", 1))
        },
        "histogram": {name: (falling / falling.sum()).tolist() for name in ("fake", "train", "val")},
    }
    plots = {
        "run_key": "k",
        "extractor": "indomain-7f3a",
        "contrasts": ["t1c", "t2f"],
        "map": points | {"explained": [0.4, 0.2]},
    }
    write(
        cell,
        "shown/plots.json",
        plots | {"positions": place | {"images": 40}, "pixels": {"t1c": pixels, "t2f": pixels}},
    )


def grid(
    path: Path, rng: np.random.Generator, noise: float, size: int = 64, number: int = 24, columns: int = 8
) -> None:
    """A grid of heads of two contrasts: bright rim, dark ventricles, more noise the worse the generator."""
    rows, across = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    images = np.zeros((number, 2, size, size), np.float32)
    for place in range(number):
        a, b = 0.6 + 0.12 * rng.random(), 0.75 + 0.12 * rng.random()
        r = (across / a) ** 2 + (rows / b) ** 2
        head = np.where(r < 1, 200.0, 8.0) - np.where(r < 0.85, 150.0, 0) + np.where(r < 0.72, 70.0, 0)
        head -= np.where((np.abs(across) - 0.12) ** 2 / 0.006 + rows**2 / 0.05 < 1, 90, 0)
        head += rng.normal(0, 3 + noise, head.shape)
        images[place] = np.stack([head, 255 - head]) / 127.5 - 1
    write_grid(path, images, columns)


def write(cell: CellFiles, name: str, value: dict) -> None:
    (cell.folder / name).write_text(json.dumps(value))
