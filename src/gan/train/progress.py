"""How far a training is: a bar on a terminal of its own, a line now and then in a log and in a job of the workflow."""

import sys
import time
from typing import Any

from tqdm import tqdm

LINE_EVERY = 30.0  # seconds between two lines in a log
SHOWN = {"loss/G": "G", "loss/D": "D", "ada/p": "p"}
BAR = "{desc}: {n:.1f}/{total:g} kimg |{bar}| {elapsed} < {remaining}, {rate_inv_fmt}{postfix}"


def title(recipe: dict[str, Any]) -> str:
    """The cell of ``recipe`` for people, ``phantom/dcgan/s0``, as far as it is named."""
    named = (recipe.get("data", {}).get("dataset"), recipe["variant"].get("name", recipe["variant"]["family"]))
    return "/".join([*filter(None, named), f"s{recipe['seed']}"])


class Progress:
    """Progress over ``total`` kimg from ``start``, with rate, time left and losses, on stderr if it is ``shown``.

    title: of a bar; lines have it from `gan.lines`, if several jobs share a terminal.
    """

    def __init__(self, total: float, start: float, title: str, shown: bool = True):
        self._total, self._shown = total, shown
        self._last = time.perf_counter(), start
        self._bar = None
        if shown and sys.stderr.isatty():
            self._bar = tqdm(total=total, initial=start, desc=title, unit="kimg", bar_format=BAR, dynamic_ncols=True)

    def row(self, row: dict[str, Any]) -> None:
        """Show a row of statistics."""
        kimg = min(row["kimg"], self._total)
        values = "".join(f", {label} {row[name]:.3g}" for name, label in SHOWN.items() if name in row)
        if self._bar is not None:
            self._bar.set_postfix_str(values.lstrip(", "), refresh=False)
            self._bar.update(kimg - self._bar.n)
            return
        now, (then, before) = time.perf_counter(), self._last
        if kimg > before and (now - then >= LINE_EVERY or kimg >= self._total):
            rate = (now - then) / (kimg - before)  # with snapshots and checkpoints, as the time left needs it
            left = tqdm.format_interval(rate * (self._total - kimg))
            self.say(f"{kimg:.1f}/{self._total:g} kimg, {rate:.3g} s/kimg, {left} left{values}")
            self._last = now, kimg

    def say(self, message: str) -> None:
        """A line that stays."""
        if self._shown:
            tqdm.write(message, file=sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
