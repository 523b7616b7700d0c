"""The states of cells as text: a table, below it what went wrong, and a summary."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gan.status.left import Left
from gan.status.states import STATES, Row
from gan.status.steps import Shared, span

NAMED = 3  # cells that an event names
BAR = range(5, 13)  # characters that a bar of progress may take
COLOURS = {"done": 32, "scored": 36, "trained": 36, "running": 34, "stopped": 33, "failed": 31}
LEFT = ("cell", "state", "")


def render(
    rows: Sequence[Row],
    width: int,
    left: Left | None = None,
    shared: Sequence[Shared] = (),
    *,
    cpu_h: float = 0.0,
    utf8: bool = True,
    bar: bool = False,
    colour: bool = False,
) -> str:
    """The states of ``rows`` and of the jobs that they share, events of training and the time that is ``left``.

    Sentences are wrapped at ``width`` characters; a progress bar is shown if there is room; empty columns are left out.
    cpu_h: hours of all jobs but training; utf8: False for ASCII only; colour: ANSI colours.
    """
    single = len({row.cell.dataset for row in rows}) == 1
    metrics = {row.score[0] for row in rows if row.score}
    lines = [_cells(row, single, len(metrics) == 1) for row in rows]
    titles = {"cell": rows[0].cell.dataset} if single else {}
    titles |= {"score": metrics.pop()} if len(metrics) == 1 else {}
    names = [name for name in lines[0] if any(line[name] for line in lines)]
    sizes = {name: max(len(titles.get(name, name)), *(len(line[name]) for line in lines)) for name in names}
    room = min(width - sum(sizes.values()) - 2 * len(sizes), BAR[-1])
    if bar and room in BAR:
        names.insert(2, "")
        sizes[""] = room
        for line, row in zip(lines, rows, strict=True):
            line[""] = _bar(row, room, utf8)
    text = [_line({name: titles.get(name, name) for name in names}, names, sizes)]
    for line, row in zip(lines, rows, strict=True):
        shown = _line(line, names, sizes)
        if colour and row.state in COLOURS:
            end = sizes["cell"] + 2 + len(line["state"])
            shown = f"{shown[: sizes['cell'] + 2]}\033[{COLOURS[row.state]}m{line['state']}\033[0m{shown[end:]}"
        text.append(shown)
    troubles = [_trouble(job.name, job.said, job.log, width) for job in shared if job.said]
    troubles += [_trouble(_name(row), row.said, row.log, width) for row in rows if row.said]
    text += ["", *troubles] if troubles else []
    events = _events(rows, width)
    text += ["", *events] if events else []
    text += ["", _wrapped(_summary(rows), width), *_shared(shared, cpu_h, width), *_left(left, width)]
    whole = "\n".join(text)
    return whole if utf8 else whole.encode("ascii", "replace").decode()


def _cells(row: Row, single: bool, alike: bool) -> dict[str, str]:
    """The columns of a row. single, alike: what all rows share, data set and metric, is in the header instead."""
    kimg = "" if row.kimg is None else f"{row.kimg:.4g}"
    running = row.state == "running"
    score = (row.score[0], f"{row.score[1]:.4g}", row.score[2]) if row.score else ()
    return {
        "cell": _name(row).partition("/")[2] if single else _name(row),
        "state": f"{row.state}: {row.note}" if row.note else row.state,
        "kimg": f"{kimg}/{row.total:g}" if kimg and row.total else "",
        "s/kimg": f"{row.rate:.3g}" if running and row.rate is not None else "",
        "ETA": "" if row.eta is None else span(row.eta),
        "resumed": f"{row.resumed}x" if row.resumed else "",
        "job": row.job,
        "score": " ".join(score[alike:]),
        "GPU-h": _hours(row.gpu_h),
        "CPU-h": "" if row.gpu_h else _hours(row.cpu_h),
    }


def _name(row: Row) -> str:
    return f"{row.cell.dataset}/{row.cell.variant}/s{row.cell.seed}"


def _hours(hours: float) -> str:
    return f"{hours:.{1 if hours >= 10 else 2}f}" if hours else ""


def _line(cells: dict[str, str], names: Sequence[str], sizes: dict[str, int]) -> str:
    parts = [cells[name].ljust(sizes[name]) if name in LEFT else cells[name].rjust(sizes[name]) for name in names]
    return "  ".join(parts).rstrip()


def _bar(row: Row, size: int, utf8: bool) -> str:
    part = (0.0 if row.kimg is None else min(1.0, row.kimg / row.total)) if row.total else float(row.state == "done")
    full, empty = ("█", "░") if utf8 else ("#", ".")
    return (full * int(part * size)).ljust(size, empty)


def _trouble(name: str, said: str, log: Path | None, width: int) -> str:
    """What went wrong, and the path of the log, alone on its line so that it can be copied."""
    wrapped = _wrapped(f"{name}: {said}", width)
    log = log and (log.relative_to(Path.cwd()) if log.is_relative_to(Path.cwd()) else log)
    return f"{wrapped}\n  {log}" if log else wrapped


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _events(rows: Sequence[Row], width: int) -> list[str]:
    """What training has warned of: each message once, with the first cells that have it."""
    cells: dict[str, list[str]] = {}
    for row in rows:
        for message in row.events.values():
            cells.setdefault(message, []).append(_name(row))
    return [_wrapped(f"{_first(names)}: {message}", width) for message, names in cells.items()]


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _summary(rows: Sequence[Row]) -> str:
    counts = Counter(row.state for row in rows)
    text = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state] or state in ("done", "failed"))
    gpu = sum(row.gpu_h for row in rows)
    hours = f"{_hours(gpu)} GPU-hours" if gpu else f"{_hours(sum(row.cpu_h for row in rows)) or 0} CPU-hours"
    return f"{text} of {len(rows)} cell{'s' * (len(rows) > 1)}; {hours} of training so far"


def _shared(shared: Sequence[Shared], cpu_h: float, width: int) -> list[str]:
    """How many of the jobs that cells share have ended, which ones run, are queued or have failed, and what all jobs
    but training have cost."""
    if not shared:
        return []
    text = f"{sum(job.state == 'done' for job in shared)} of {len(shared)} shared jobs done"
    for state in ("running", "queued", "failed"):
        if names := [f"{job.name}{f' ({job.note})' if job.note else ''}" for job in shared if job.state == state]:
            text += f"; {state}: {_first(names)}"
    cost = f"; {_hours(cpu_h)} CPU-hours of other jobs" if cpu_h else ""
    return [_wrapped(f"{text}{cost}", width)]


def _left(left: Left | None, width: int) -> list[str]:
    if left is None:
        return []
    alike = f"{left.at_once} jobs at a time" if left.at_once > 1 else "one job at a time"
    unknown = f"; not counted, as none has ended yet: {', '.join(left.unknown)}" if left.unknown else ""
    return [_wrapped(f"about {span(left.seconds)} left, {alike}{unknown}", width)]
