"""Kernels or reference: which of them a job uses for `gan.ops` on its GPU, and what is known of that GPU.

The check runs in its own process, as a faulty kernel destroys the whole CUDA context. The result is stored next to the
library, a file for each GPU model, and read by all later jobs.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gan import ops, parallel
from gan.check.rows import Row
from gan.errors import GanError
from gan.files import checksum, read_json, write_json
from gan.ops import build, extension

HELP = "what computes gan.ops on a GPU: kernels, or PyTorch's functions; auto: kernels that are built and checked"
LIMIT = 300.0  # s that a check may take
UNCHECKED = 3  # exit code of a check without a result
# Signals of its own faults; others come from outside.
CRASHES = {-number for number in (signal.SIGILL, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV)}
ERROR = re.compile(r"^(?:error|[\w.]*Error): (.+)$", re.MULTILINE)
DRIVER = Path("/proc/driver/nvidia/version")


def choose(wanted: str, device: torch.device) -> str | None:
    """Select what computes `gan.ops`: ``wanted`` is of `gan.runtime.OPS` and has no effect on a CPU. Returns the
    reason, in one line, if `auto` fell back to the reference, else None.

    Call it before this process uses the GPU, which may serve one process at a time. ``device`` without an index is
    that of LOCAL_RANK in the environment, else the first one. ``cuda`` raises `GanError` if the kernels are not built,
    or have not passed the check.
    """
    if device.type != "cuda":
        return None
    refusal = None if wanted == "reference" else _refusal(device)
    if refusal and wanted == "cuda":
        raise GanError(refusal)
    ops.use("reference" if refusal or wanted == "reference" else "cuda")
    return refusal


def graphs_refused(device: torch.device) -> str | None:
    """Why `auto` must not use CUDA graphs on the GPU ``device``, or None. Call it after `choose`."""
    if ops.chosen(device) == "reference":
        return (
            "graphs are checked with the kernels, which are not in use; resources.train.step graph takes them unchecked"
        )
    library = extension.find()
    known = _known(path := place(library, device), library, "graphs")
    return None if known == "" else f"{path}: {'not checked' if known is None else known}"


def agreed(refusal: str | None) -> str | None:
    """The first reason that `choose` returned on any rank; all ranks then use the reference, so that they agree."""
    refusals = [each for each in parallel.from_all(refusal) if each]
    if not refusals:
        return None
    ops.use("reference")
    return refusals[0]


def say(refusal: str | None) -> None:
    """Warn on stderr if the reference replaces the kernels."""
    if refusal:
        print(f"warning: {message(refusal)}", file=sys.stderr)


def message(refusal: str) -> str:
    """The warning for a refusal."""
    return f"falling back to PyTorch's functions, which are slower than the kernels: {refusal}"


def _refusal(device: torch.device) -> str | None:
    """Load the kernels for ``device``, or return why they cannot be used."""
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index)
    try:
        library = extension.find()
    except GanError as error:
        return str(error)
    path = place(library, device)
    with contextlib.ExitStack() as stack:
        reason = _known(path, library, "reason")
        if reason is None:
            with contextlib.suppress(OSError):  # read-only: the result cannot be stored, and each job checks for itself
                stack.enter_context(build.locked(path.with_suffix(".lock")))
            reason = _known(path, library, "reason")
        if reason is None:
            reason = _ask(library, device)
    if not reason:
        extension.load(library)
        return None
    return (
        f"{path}: the kernels of gan.ops are not trusted on {torch.cuda.get_device_name(device)} ({reason}); "
        f"repeat it with {build.prefix()}gan check, or choose ops: reference"
    )


def place(library: Path, device: torch.device) -> Path:
    """Path of the check's result for ``library`` on GPUs of the model of ``device``."""
    return library.with_name(f"{library.stem}.{re.sub(r'[^A-Za-z0-9]+', '-', _model(device))}.json")


def note(
    library: Path, device: torch.device, reason: str, rows: Sequence[Row] = (), graphs: str = "not checked"
) -> Path | None:
    """Store the result of a check; None if it cannot be written. reason: why the kernels must not be used, empty if
    they may; graphs: the same for CUDA graphs."""
    of_gpu = device.type == "cuda"
    found: dict[str, Any] = {
        **{"passed": not reason, "reason": reason, "graphs": graphs, "library": checksum(library)},
        **{"gpu": _model(device), "capability": list(torch.cuda.get_device_capability(device)) if of_gpu else None},
        **{"torch": torch.__version__, "cuda": torch.version.cuda, "driver": _driver() if of_gpu else None},
        **{"date": time.strftime("%F %T"), "errors": [row.json() for row in rows]},
    }
    path = place(library, device)
    try:
        write_json(path, found)
    except (OSError, GanError):
        return None
    return path


def _known(path: Path, library: Path, what: str) -> str | None:
    """The stored ``reason`` or ``graphs``, empty if the check passed; None without a result for this very library."""
    try:
        found = read_json(path)
        return found[what] if found["library"] == checksum(library) else None
    except (GanError, OSError, LookupError, TypeError):  # none yet, or not one of ours
        return None


def _ask(library: Path, device: torch.device) -> str:
    """Run the check, which stores its result; store a crash or a timeout here, unless it came from outside."""
    command = [sys.executable, "-m", "gan", "check", "--device", str(device), "--library", str(library)]
    print(f"{library}: checking the kernels on {_model(device)}, once, for some seconds", file=sys.stderr)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        told = ERROR.findall(done.stderr)
        reason = told[-1] if told else f"the check ended with code {done.returncode}"
        # an end from outside, like a cancelled job, says nothing about the kernels
        tells = done.returncode != UNCHECKED and (done.returncode >= 0 or done.returncode in CRASHES)
        passed = done.returncode == 0
    except subprocess.TimeoutExpired:
        reason, tells, passed = f"the check did not end within {LIMIT:g} s", True, False
    if passed:
        return ""
    if (known := _known(place(library, device), library, "reason")) is not None:
        return known
    if tells:
        note(library, device, reason)
    return reason


def _model(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _driver() -> str | None:
    with contextlib.suppress(OSError):
        found = re.search(r"Kernel Module\s+(?:for \S+\s+)?([\d.]+)", DRIVER.read_text(encoding="utf-8"))
        return found[1] if found else None
    return None
