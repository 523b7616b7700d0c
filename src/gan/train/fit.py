"""Whether a step on volumes fits into memory, asked before the first one: by what its family knows that it keeps."""

import re
from pathlib import Path

import torch

from gan import parallel
from gan.errors import GanError
from gan.train.trainer import Trainer

PER_WEIGHT = 16  # bytes: weight, gradient, two moments of Adam
WIDTH = {"bf16": 2, "fp16": 2}  # bytes of a number in a feature map; 4 in other precisions
ROOT = Path("/")


def require_memory(trainer: Trainer) -> None:
    """`GanError` with numbers and a remedy if a step of ``trainer`` needs more memory than there is.

    For volumes, and families that know what they keep (`Variant.kept_bytes`). The workspace of convolutions is not
    counted, so a step that is let through may still not fit.
    """
    size = trainer.dataset.shape.size
    if len(size) != 3:
        return
    share, pieces, room = trainer.batch // parallel.world(), trainer.microbatches, available(trainer.device)
    needs = {count: needed(trainer, share // count) for count in range(pieces, share + 1) if share % count == 0}
    now = needs.get(pieces)
    if room is None or now is None or now <= room:
        return
    group = getattr(trainer.variant.options, "mbstd_group", 1)
    enough = [n for n, bytes in needs.items() if bytes is not None and bytes <= room and share // n % group == 0]
    remedy = "take smaller widths (channel_base), fewer voxels or a larger device"
    if enough:
        remedy = f"set resources.train.microbatches to {enough[0]}, which needs {_said(needs[enough[0]])}"
    raise GanError(
        f"a step on {share // pieces} volumes of {' x '.join(map(str, size))} at a time in {trainer.precision} needs "
        f"about {_said(now)}, and the {trainer.device.type} has {_said(room)}; {remedy}"
    )


def needed(trainer: Trainer, images: int) -> int | None:
    """Bytes of a step that takes ``images`` at a time; None if the family does not know."""
    kept = trainer.variant.kept_bytes(images, WIDTH.get(trainer.precision, 4))
    if kept is None:
        return None
    weights = sum(p.numel() for network in trainer.networks.values() for p in network.parameters())
    return kept + PER_WEIGHT * weights + sum(t.numel() * 4 for t in trainer.ema.state_dict().values())


def available(device: torch.device) -> int | None:
    """Bytes that this process can still get on ``device``; None if nobody says."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text("proc/meminfo"), re.MULTILINE)
    limits = [int(found[1]) * 1024] if found else []
    # Of the control group of this process, and of those around it.
    group = re.search(r"^0::/(.*)$", _text("proc/self/cgroup"), re.MULTILINE)
    folder = Path(group[1]) if group else Path()
    for place in (folder, *folder.parents):
        limit = _text(f"sys/fs/cgroup/{place}/memory.max").strip()
        limits += [int(limit)] if limit.isdigit() else []
    return min(limits, default=None)


def _text(path: str) -> str:
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except OSError:  # not Linux, or not to be read
        return ""


def _said(count: int | None) -> str:
    count = count or 0
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
