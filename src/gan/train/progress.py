"""How far a training is: a bar on a terminal, a line now and then in a log."""

import sys
import time
from typing import Any

from tqdm import tqdm

LINE_EVERY = 30.0  # seconds between two lines in a log
SHOWN = {"loss/G": "G", "loss/D": "D", "ada/p": "p"}


class Progress:
    """Progress over ``total`` kimg from ``start``, with rate, time left and losses, on stderr."""

    def __init__(self, total: float, start: float, title: str):
        self._total, self._start, self._title = total, start, title
        self._begun = self._last = time.perf_counter()
        self._seen, self._values = start, ""
        self._bar = None
        if sys.stderr.isatty():
            form = "{desc}: {n:.1f}/{total:g} kimg |{bar}| {elapsed} < {remaining}{postfix}"
            self._bar = tqdm(total=total, initial=start, desc=title, bar_format=form, dynamic_ncols=True)

    def row(self, row: dict[str, Any]) -> None:
        """Show a row of statistics."""
        values = [f"{label} {row[name]:.3g}" for name, label in SHOWN.items() if name in row]
        rate = row.get("speed/s_per_kimg")
        self._values = ", ".join(([f"{rate:.3g} s/kimg"] if rate else []) + values)
        self._seen = row["kimg"]
        if self._bar is not None:
            self._bar.set_postfix_str(self._values, refresh=False)
            self._bar.update(min(self._seen, self._total) - self._bar.n)
        elif time.perf_counter() - self._last >= LINE_EVERY or self._seen >= self._total:
            self._last = time.perf_counter()
            self.say(f"{self._seen:.1f}/{self._total:g} kimg, {self._values}, {self._left()} left")

    def say(self, message: str) -> None:
        """A line that stays."""
        tqdm.write(f"{self._title}: {message}", file=sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _left(self) -> str:
        done = self._seen - self._start
        if done <= 0:
            return "unknown time"
        left = (time.perf_counter() - self._begun) / done * max(0.0, self._total - self._seen)
        return tqdm.format_interval(left)
