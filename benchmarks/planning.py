"""Time to plan a large study, 4 data sets x 15 variants x 3 seeds, beside the bare start of Snakemake.

    python benchmarks/planning.py [--json FILE]

The aim is a dry run in under 10 s on two cores.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the planning of a large study.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(REPOSITORY / "workflow", folder / "workflow")
        shutil.copy(REPOSITORY / "Snakefile", folder)
        (folder / "config.yaml").write_text(yaml.safe_dump(large_study()))
        seconds = [timed(folder, "--dry-run", "--quiet", "all") for _ in range(args.repeats)]
        bare = [timed(folder, "--version") for _ in range(args.repeats)]
    result = {"cells": 180, "plan_s": min(seconds), "snakemake_start_s": min(bare), "ratio": min(seconds) / min(bare)}
    print("".join(f"{key:>20}  {value:.3g}\n" for key, value in result.items()), end="")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def large_study() -> dict:
    """A config of 180 cells."""
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    config["datasets"] = {f"phantom{i}": config["datasets"]["phantom"] for i in range(4)}
    config["variants"] = {
        f"variant{i}": {"family": "stylegan2", "options": {"lr": 0.001 + i * 1e-4}} for i in range(15)
    }
    config["study"] = {
        "name": "large",
        "datasets": list(config["datasets"]),
        "variants": list(config["variants"]),
        "seeds": [0, 1, 2],
    }
    return config


def timed(folder: Path, *arguments: str) -> float:
    """Wall seconds of one call of Snakemake."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "snakemake", *arguments], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
