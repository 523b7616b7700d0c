"""The last lines of a run: what the comparison says, in two lines a data set, and where everything lies."""

import atexit
import html
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

from gan.cells import WHOLE, CellFiles, number
from gan.served import address

TABLES = ("comparison.csv", "differences.csv", "scores.csv")


def answer(study: Path, since: float, *, tracked: bool = True, uri: str | None = None) -> list[str]:
    """Lines for the end of a run of ``results/<study>`` that began at ``since`` (s since the epoch).

    If the comparison was made since then: of each data set the verdict and whether it can be trusted, and the paths of
    page, tables and samples. Else the cells that were scored since then, as a call for one variant does. tracked, uri:
    `tracking` of the config.
    """
    text = study / "comparison.md"
    if not text.exists() or text.stat().st_mtime < since:
        return _scored(study, since)
    places = {
        "page": study / "comparison.html",
        "tables": f"{study}/{', '.join(TABLES)}",
        "samples": study / "*/*/seed*/fake.png",
    }
    if tracked:
        places["MLflow"] = (_linked(study) if uri else address(study)) or f"gan ui --study {study}"
    said = [f"{name}: {line}" for name, line in verdicts(text.read_text(encoding="utf-8"))]
    return [*said, *(f"{name:9}{place}" for name, place in places.items())]


def when_idle(say: Callable[[], None]) -> None:
    """Call ``say`` at the end of this process if Snakemake finds that there is nothing to do."""
    from snakemake.common import NOTHING_TO_BE_DONE_MSG

    def see(record: logging.LogRecord) -> bool:
        if record.getMessage() == NOTHING_TO_BE_DONE_MSG:
            atexit.register(say)
        return True

    logging.getLogger("snakemake.logging").addFilter(see)


def verdicts(text: str) -> list[tuple[str, str]]:
    """Of each data set in the ``text`` of a comparison.md its name with the first paragraph, and with that on trust."""
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name, *lines = [line for line in section.splitlines() if line.strip()]
        trust = next((line for line in lines if re.match(r"Can .+ be trusted\? ", line)), None)
        found += [(name, line) for line in (*lines[:1], trust) if line]
    return [(_plain(name), _plain(line)) for name, line in found]


def _plain(markdown: str) -> str:
    return html.unescape(re.sub(r"\\([\\`*\[\]|])", r"\1", markdown))


def _scored(study: Path, since: float) -> list[str]:
    """The cells with newer scores than the tables have, and how to get these."""
    done = [cell for cell in CellFiles.below(study) if _since(cell.folder / "scores.json", since)]
    if not done:
        return []
    named = ", ".join(f"{cell.name}{_lead(cell)}" for cell in done)
    return [
        f"scored: {named}",
        f"The tables do not have this yet: `snakemake all` makes them, `gan report --study {study}` those so far.",
    ]


def _since(path: Path, since: float) -> bool:
    return path.exists() and path.stat().st_mtime >= since


def _lead(cell: CellFiles) -> str:
    """The score by which the snapshot was chosen, in brackets."""
    scores = cell.object("scores.json")
    chosen = scores.get("snapshot")
    metric = chosen.get("metric") if isinstance(chosen, dict) else None
    rows = [row for row in scores.get("scores") or [] if (row.get("metric"), row.get("contrast")) == (metric, WHOLE)]
    value = number(rows[0].get("value")) if rows else None
    return "" if value is None else f" ({metric} {value:.4g})"


def _linked(study: Path) -> str | None:
    """The first link to the server that has taken the study; None if none has."""
    try:
        noted = json.loads((study / "tracking.json").read_text(encoding="utf-8"))
        return noted["links"][0] if noted["ok"] else None
    except (OSError, ValueError, LookupError, TypeError):
        return None
