"""The rows of a check, and how they are shown."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A comparison. subject: the kernel or step; of: values, derivatives or gradients; error: the largest one,
    relative to the largest reference value (of gradients: norm by norm), infinite for NaN; tolerance: its limit."""

    subject: str
    of: str
    dtype: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance

    def said(self) -> str:
        """In one line, for an error."""
        return f"{self.subject}, {self.of} in {self.dtype}: off by {self.error:.2g}, allowed {self.tolerance:.2g}"

    def json(self) -> dict[str, Any]:
        """As JSON, which has no infinity: null."""
        return self._asdict() | {"error": self.error if math.isfinite(self.error) else None, "ok": self.ok}


def table(rows: Sequence[Row]) -> str:
    """Format the rows as a table."""
    lines = [("kernel", "of", "dtype", "largest error", "tolerance", "ok")]
    lines += [(*row[:3], f"{row.error:.2g}", f"{row.tolerance:.2g}", "yes" if row.ok else "NO") for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
