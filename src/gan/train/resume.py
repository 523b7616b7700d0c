"""What may differ between a checkpoint and the process that resumes it, and the message for it.

It changes the result only by rounding: sums are taken in another order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from gan import ops, parallel


@dataclass(frozen=True)
class Change:
    """key: in the state of a checkpoint, and of the event ``<key>_changed``; message: with ``before`` and ``now``;
    lacking: the value for checkpoints without the key; words: for values; implied_by: a key whose change implies this
    one."""

    key: str
    message: str
    lacking: Any = None
    words: Mapping[str, str] = field(default_factory=dict)
    implied_by: str = ""


CHANGES = (
    Change("device", "resumed on {now} after running on {before}"),
    Change(
        "ops",
        "resumed with {now} after running with {before}",
        lacking="reference",
        words={"cuda": "the kernels", "reference": "PyTorch's functions"},
        implied_by="device",
    ),
    Change("ranks", "resumed with {now} processes after running with {before}", lacking=1),
    Change("microbatches", "resumed with {now} microbatches after running with {before}", lacking=1),
)


def circumstances(device: torch.device, microbatches: int) -> dict[str, Any]:
    """The values of `CHANGES` in this process, for the state of a checkpoint."""
    return {
        "device": device.type,
        "ops": ops.chosen(device),
        "ranks": parallel.world(),
        "microbatches": microbatches,
    }


def changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The event and the message of each value that differs from the ``saved`` state."""
    changed = {each.key for each in CHANGES if saved.get(each.key, each.lacking) != now[each.key]}
    for each in CHANGES:
        if each.key in changed and each.implied_by not in changed:
            before, after = saved.get(each.key, each.lacking), now[each.key]
            said = each.message.format(before=each.words.get(before, before), now=each.words.get(after, after))
            yield f"{each.key}_changed", f"{said}: results will not be bit-identical"
