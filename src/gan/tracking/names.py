"""Names in MLflow: the part before ``/`` is the section of the charts.

A score's name holds its number of generated images (as ``fid50k_full`` does), and the metric's own name holds its
extractor, so that unlike scores never share a chart or a column.
"""

import re
from typing import Any

from gan.cells import WHOLE


def step(kimg: float) -> int:
    """The step of MLflow, a whole number: real images seen, in which fractions of kimg stay apart."""
    return round(kimg * 1000)


def curve(row: dict[str, Any]) -> str:
    """The name of a snapshot's score: ``fid/val_n2000``, with ``_t1c`` for a single contrast."""
    return f"{row['metric']}/{row['split']}_n{row['n_fake']}{_contrast(row)}"


def final(row: dict[str, Any], kind: str = "best") -> str:
    """The name of a final score: ``best/fid_n10000``; other kinds are ``low``, ``high``, ``floor``, ``above_floor``."""
    return f"{kind}/{row['metric']}_n{row['n_fake']}{_contrast(row)}"


def allowed(name: str) -> str:
    """``name`` with the characters that MLflow refuses replaced by ``_``."""
    return re.sub(r"[^\w\-. /:]", "_", name, flags=re.ASCII)


def _contrast(row: dict[str, Any]) -> str:
    contrast = row.get("contrast") or WHOLE
    return "" if contrast == WHOLE else f"_{allowed(contrast)}"
