"""What a GPU says of this program, in nine minutes: kernels, steps, a training with its scores, volumes, translations.

    python benchmarks/gpu.py --prepare build/gpu       # where the whole program is installed, with GAN_REAL_DATA
    git clone https://github.com/NVlabs/stylegan2-ada-pytorch build/gpu/official     # if it is to be measured, too
    git clone https://github.com/mingyuliutw/UNIT build/gpu/unit      # and of other translations, by their families
    python benchmarks/gpu.py build/gpu --out build/gpu_results                       # where the GPU is

The second machine needs this checkout, the folder, Python with torch, numpy, scipy, pandas, pyarrow, pillow, tqdm,
pyyaml, pytest and ninja, and nvcc; no Snakemake and no internet. Each part runs in a process of its own with a limit,
and its results are written as it goes: whatever breaks loses nothing else. ``--parts`` asks for some of them,
``--minutes`` for less in all; time that a part leaves goes to the training. ``--out`` gets a JSON file and logs of each
part, results.json and results.md.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGES = [str(HERE.parent / "src"), str(HERE)]  # which need not be installed
sys.path[:0] = PACKAGES

import torch  # noqa: E402
from gpu_parts import PARTS  # noqa: E402
from gpu_place import Place  # noqa: E402

from gan.errors import command  # noqa: E402
from gan.files import read_json, write_json  # noqa: E402

REHEARSAL = 6  # times as long on a CPU, which may do other work as well
FLAGS = "official", "official, fastest"  # later ones count where both were timed
ATTEMPTS = 3  # processes of a part: after one that dies, the next begins with the case that follows


def run(folder: Path, out: Path, names: Sequence[str], device: str, minutes: float) -> dict[str, Any]:
    """All parts one after another; what came out, also in ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    end, results = time.monotonic() + 60 * minutes, {"about": about(device), "parts": {}}
    for place, name in enumerate(names):
        later = sum(PARTS[other][1] for other in names[place + 1 :])
        limit = PARTS[name][1] * (REHEARSAL if device == "cpu" else 1)
        if name == "training":
            limit = max(limit, end - time.monotonic() - later)
        limit = min(limit, end - time.monotonic())
        if limit < 5:
            results["parts"][name] = {"left_out": [f"{name}: no time left"]}
            continue
        results["parts"][name] = part(folder, out, name, device, limit)
        write(out, results)
    write(out, results)
    return results


def part(folder: Path, out: Path, name: str, device: str, limit: float) -> dict[str, Any]:
    """One part in a process, and in a further one where it died; its results with the seconds and exit codes."""
    start, codes = time.monotonic(), []
    (out / f"{name}.json").unlink(missing_ok=True)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            [str(HERE.parent / "src"), str(HERE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        ),
        "GAN_OPS_CACHE": str(out.absolute() / "cache/d/gan_ops"),
        "TORCH_EXTENSIONS_DIR": str(out.absolute() / "cache/official"),
        "PYTHONUNBUFFERED": "1",
    }
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability()
        environment["TORCH_CUDA_ARCH_LIST"] = f"{major}.{minor}"
    path, known = out / f"{name}.json", None
    while len(codes) < ATTEMPTS and (left := limit - (time.monotonic() - start)) > 5:
        command = [sys.executable, __file__, str(folder), "--out", str(out), "--device", device]
        command += ["--only", name, "--seconds", f"{left:.0f}"]
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            codes.append(process.wait(left + 5))
        except subprocess.TimeoutExpired:
            codes.append(None)
        if codes[-1] is None or codes[-1] < 0:
            _end(process)
        before, known = known, path.read_text(encoding="utf-8") if path.exists() else None
        if codes[-1] in (0, None) or known == before:
            break
    found = read_json(path) if path.exists() else {}
    return found | {"took": round(time.monotonic() - start, 1), "codes": codes}


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def about(device: str) -> dict[str, Any]:
    gpu = device.startswith("cuda")
    return {
        "gpu": torch.cuda.get_device_name() if gpu else "none",
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version() if gpu else None,
        "cores": len(os.sched_getaffinity(0)),
        "date": datetime.now(UTC).date().isoformat(),
    }


def write(out: Path, results: dict[str, Any]) -> None:
    write_json(out / "results.json", results)
    (out / "results.md").write_text(page(results), encoding="utf-8")


def page(results: dict[str, Any]) -> str:
    """Markdown of all parts, the summary last."""
    lines, parts = ["; ".join(f"{key} {value}" for key, value in results["about"].items()), ""], results["parts"]
    for name, found in parts.items():
        lines += [f"## {name}: {found.get('took', 0)} s, exit codes {found.get('codes', [])}", ""]
        if name == "kernels":
            lines += [f"- {key}: {value}" for key, value in found.items() if key not in ("took", "codes")]
        if found.get("ceilings"):
            lines += [", ".join(f"{key} {value:.0f}" for key, value in found["ceilings"].items()), ""]
        lines += table(found.get("rows", []))
        lines += [f"- left out: {line}" for line in found.get("left_out", [])]
        lines += curve(found) if "curve" in found else []
        lines += [""]
    return "\n".join([*lines, *summary(parts), ""])


def curve(found: dict[str, Any]) -> list[str]:
    """What came of the training."""
    lines = [f"{found['seconds']:g} s for {found['kimg']:g} kimg at most, exit code {found['code']}", ""]
    for row in found["curve"]:
        if row["metric"] == found["curve"][0]["metric"] and row["contrast"] == "all":
            lines.append(f"- {row['metric']} at {row['kimg']:g} kimg: {row['value']:.4g} (floor {row['floor']:.3g})")
    return lines + [f"- event: {row['event']}: {row['message']}" for row in found["events"]]


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown: a row a program, with its phases in seconds per kimg, and how far it is from what was counted.

    *kernels* is the time of all kernels in a profile, one after another, without what a GPU waits between them.
    """
    if not rows:
        return []
    phases = list(dict.fromkeys(phase for row in rows for phase in row["s_per_kimg"]))
    head = ["step", *phases, "s/kimg", "of official", "kernels", "of official's", "images/s", "times floor", "TFLOP/s"]
    lines = [f"| {' | '.join(head)} | memory GB (counted) |", f"|---|{'---:|' * len(head)}"]
    for row in rows:
        cells = [f"{row['s_per_kimg'][phase]:.3g}" if phase in row["s_per_kimg"] else "" for phase in phases]
        for key in ("total", "kernels"):
            base = None if row["training"] else fastest(rows, key).get(case_of(row))
            cells.append(f"{row[key]:.3g}" if key in row else "")
            cells.append(f"{row[key] / base:.2f}" if base and key in row else "")
        cells.append(f"{1000 / row['total']:.3g}")
        cells.append(f"{row['total'] / max(row['floor'].values()):.2f}" if "floor" in row else "")
        cells.append(f"{row['tflop'] / row['total']:.0f}" if "tflop" in row else "")
        memory = f"{row['peak_gb']:.1f}" if "peak_gb" in row else ""
        cells.append(f"{memory} ({row['counted_gb']:.1f})" if "counted_gb" in row else memory)
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return [*lines, ""]


def case_of(row: dict[str, Any]) -> tuple:
    return row["family"], tuple(row["size"]), row["batch"]


def fastest(rows: Sequence[dict[str, Any]], key: str = "total") -> dict[tuple, float]:
    """Seconds per kimg of the official program by `case_of`, with its fastest flags where it was timed with them.

    key: total, or kernels for the time of its kernels alone.
    """
    named = {flags: [row for row in rows if row["program"].get("official") == flags and key in row] for flags in FLAGS}
    return {case_of(row): row[key] for flags in FLAGS for row in named[flags]}


def summary(parts: dict[str, Any]) -> list[str]:
    """What one looks for first."""
    lines = ["## Summary", ""]
    for name, found in parts.get("kernels", {}).items():
        if isinstance(found, dict) and "code" in found:
            lines.append(f"- {name}: {'well' if found['code'] == 0 else 'FAILED'}; {' / '.join(found['last'][-1:])}")
    rows = [row for name in ("steps", "translation") for row in parts.get(name, {}).get("rows", [])]
    for case, base in fastest(rows).items():
        own = [row for row in rows if case_of(row) == case and "official" not in row["program"] and not row["training"]]
        if own:
            best = min(own, key=lambda row: row["total"])
            lines.append(f"- {best['name']}: {base / best['total']:.2f} times as fast as the fastest official one")
        alone, its = [row for row in own if "kernels" in row], fastest(rows, "kernels").get(case)
        if alone and its:
            best = min(alone, key=lambda row: row["kernels"])
            lines.append(f"- {best['name']}: by the time of kernels alone {its / best['kernels']:.2f} times as fast")
    for row in parts.get("volumes", {}).get("rows", []):
        lines.append(f"- {row['name']}: {row['total']:.3g} s per kimg")
    if speed := parts.get("training", {}).get("speed"):
        lines.append(f"- training: {speed:.3g} s per kimg")
    return lines


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="the prepared folder")
    parser.add_argument("--prepare", type=Path, metavar="FOLDER", help="make the folder")
    parser.add_argument(
        "--config", type=Path, default=HERE / "gpu.yaml", help="study that it is made from (%(default)s)"
    )
    parser.add_argument("--toy", action="store_true", help="prepare a rehearsal of seconds, of a phantom")
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts together (%(default)g)")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--only", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if (given.prepare is None) == (given.folder is None or given.out is None):
        parser.error("give --prepare FOLDER, or FOLDER and --out")
    return given


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    given = arguments(argv)
    if given.prepare:
        from gpu_prepare import prepare

        prepare(given.prepare, given.config, given.toy)
    elif given.only:
        path = given.out / f"{given.only}.json"
        known = read_json(path) if path.exists() else {}
        device, end = torch.device(given.device), time.monotonic() + given.seconds
        PARTS[given.only][0](Place(given.folder.absolute(), given.out.absolute(), given.only, device, end, known))
    else:
        if given.device == "cuda" and not torch.cuda.is_available():
            raise SystemExit("error: torch sees no GPU here; --device cpu rehearses a folder made with --toy")
        results = run(given.folder, given.out, given.parts, given.device, given.minutes)
        print(page(results))
        print(f"{given.out / 'results.md'}")


if __name__ == "__main__":
    sys.exit(main())
