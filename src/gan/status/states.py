"""The state of each cell of a study, from its files, its lock, and the logs of Snakemake and Slurm alone."""

import contextlib
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan.cells import WHOLE, no_scores, number
from gan.scoring.extractors import registry
from gan.status.disk import Run, held, modified, read_object
from gan.status.jobs import AGAIN, Job, last_line, read_jobs
from gan.status.steps import UNSAID, Shared, Step, Steps, error_of, look, own_rule, span, survey_steps
from gan.study import Cell, Study, run_key

STATES = ("done", "scored", "trained", "running", "queued", "waiting", "stopped", "failed")
SCORING, UTILITY = ("curve", "score"), "utility"  # rules, as their logs are called
RECENT = 10  # rows whose speed counts
STARTUP = 180.0  # s from the start of a job until training holds its lock, at most
SKEW = 60.0  # s that the clocks of two machines may differ
SILENT = 600.0  # s without a row after which a running cell is reported as silent


@dataclass
class Row:
    """One cell. ``note``: detail of its state; ``said``: a sentence on what went wrong, ``log`` has more.

    kimg: shown to the discriminator so far, of ``total``, which is 0 for a cell that is made and not trained; rate:
    s/kimg; score: (metric, value, split); gpu_h, cpu_h: hours spent up to the last row of statistics; job: id in Slurm;
    ahead: the jobs that have to end yet, as their logs are called; busy: whether one of them runs; events: by name the
    last message of each event of the training, with its kimg.
    """

    cell: Cell
    total: float
    state: str = "waiting"
    note: str = ""
    kimg: float | None = None
    rate: float | None = None
    resumed: int = 0
    job: str = ""
    score: tuple[str, float, str] | None = None
    gpu_h: float = 0.0
    cpu_h: float = 0.0
    said: str = ""
    log: Path | None = None
    ahead: tuple[str, ...] = ()
    busy: bool = False
    events: dict[str, str] = field(default_factory=dict)

    @property
    def eta(self) -> float | None:
        """Seconds of training that are left, without scoring; None if unknown."""
        if self.state != "running" or self.rate is None or self.kimg is None:
            return None
        return max(0.0, self.total - self.kimg) * self.rate


@dataclass(frozen=True)
class Survey:
    """A study: its cells, in its order, then those outside of the grid that one of it starts from or works on; and the
    jobs that cells share, in the order in which they run."""

    rows: list[Row]
    shared: list[Shared]


def survey(study: Study, results: Path) -> Survey:
    """The state of all jobs of ``study``; ``results`` is the folder that Snakemake writes into."""
    jobs = {results / name: job for name, job in read_jobs(results.parent / ".snakemake").items()}
    steps, others, rows, wanted = Steps(study, results / study.name), study.sources(), [], {}
    for cell in [*study.cells(), *others]:
        row, ends = _row(study, cell, results, jobs, steps, grid=cell not in others)
        rows.append(row)
        wanted |= dict.fromkeys(step for end in ends for step in end.open())
    done = all(row.state == "done" for row in rows)  # else the last jobs run again, though their files may be there
    wanted |= dict.fromkeys([*steps.first().open(), *(s for s in steps.last() if not (done and s.made.exists()))])
    return Survey(rows, survey_steps(steps.all(), wanted, jobs))


def _row(
    study: Study, cell: Cell, results: Path, jobs: dict[Path, Job], steps: Steps, *, grid: bool
) -> tuple[Row, list[Step]]:
    """The row of a cell, and the shared jobs that it needs yet. grid: whether the study asks for its scores."""
    recipe, root = study.recipe(cell), results / study.name
    key, folder = run_key(recipe), root / cell.folder
    state = results / "checkpoints" / key
    own = run_key(read_object(folder / "recipe.json")) == key
    run = Run(cell, key, state, [state, folder] if own else [state], root / "logs", *own_rule(study, cell))
    row, lines = Row(cell, recipe["training"]["kimg"]), run.rows()
    _progress(row, lines)
    _cost(row, lines, run.object("cost.json"))
    row.events = {str(line["event"]): _event(line) for line in lines if line.get("event") and line.get("message")}
    row.score = _score(run)
    unscored = no_scores(study.dataset(cell.dataset)) if grid else "others are made with it"
    row.ahead = _ahead(run, unscored is None, study.tasks(cell))
    before = steps.before(cell) if run.rule in row.ahead else []
    scoring = steps.scoring(cell) if SCORING[-1] in row.ahead else []
    utility = steps.utility(cell) if UTILITY in row.ahead else []
    # What it does now, else what it waits for.
    if held(state / "lock"):
        _running(row, run, lines)
    elif before:
        _open(row, run, jobs)
        if row.state == "waiting":
            row.note = _missing(before, jobs) or "its turn"
    else:
        row.kimg = row.total
        if scoring:
            _trained(row, run, jobs, "trained", SCORING)
        elif utility:
            _trained(row, run, jobs, "scored", (UTILITY,))
        else:
            row.state, row.note = "done", f"not scored, {unscored}" if unscored else ""
        if not row.note and row.state in ("trained", "scored"):
            row.note = _missing(scoring or utility, jobs)
    return row, [*before, *scoring, *utility]


def _ahead(run: Run, scored: bool, tasks: list[str]) -> tuple[str, ...]:
    """The jobs of a cell that have to end yet, as their logs are called. scored: whether its scores are asked for;
    tasks: of its utility."""
    useful = (UTILITY,) if scored and tasks and not run.useful(tasks) else ()
    if scored and run.done():
        return useful
    own = () if run.trained() else (run.rule,)
    return (*own, *(SCORING[run.curved() :] if scored else ()), *useful)


def _progress(row: Row, lines: list[dict[str, Any]]) -> None:
    kimgs = [kimg for line in lines if (kimg := number(line.get("kimg"))) is not None]
    row.kimg = kimgs[-1] if kimgs else None
    speeds = [speed for line in lines if (speed := number(line.get("speed/s_per_kimg"))) is not None]
    row.rate = statistics.median(speeds[-RECENT:]) if speeds else None


def _event(line: dict[str, Any]) -> str:
    return f"{line['event']} at {number(line.get('kimg'), 0.0):.4g} kimg: {line['message']}"


def _cost(row: Row, lines: list[dict[str, Any]], cost: dict[str, Any]) -> None:
    """Of a run that has ended from its cost, before that from its last rows."""
    last = {key: value for line in lines for key, value in line.items() if number(value) is not None}

    def hours(name: str) -> float:
        seconds = number(cost.get(f"{name}_s"))
        return last.get(f"cost/{name}_h", 0.0) if seconds is None else seconds / 3600

    row.gpu_h, row.cpu_h = hours("gpu"), hours("cpu")
    row.resumed = int(number(cost.get("resumed")) or last.get("resumed", 0))


def _score(run: Run) -> tuple[str, float, str] | None:
    """The metric that leads: of the chosen snapshot on the test split, before that of the newest one on the validation
    split. It is the first of the scores of a snapshot that are not descriptive, if there are such."""
    scores = run.object("scores.json")
    chosen = scores.get("snapshot")
    lead = chosen.get("metric") if isinstance(chosen, dict) else None
    if lead and (found := _leading(scores.get("scores"), lead)):
        return found
    paths = [path for place in run.places for path in place.glob("snapshots/kimg*.json")]
    for path in sorted(paths, key=_kimg, reverse=True):
        if found := _leading(read_object(path).get("rows")):
            return found
    return None


def _kimg(snapshot: Path) -> float:
    with contextlib.suppress(ValueError):
        return float(snapshot.stem.removeprefix("kimg"))
    return -1.0


def _leading(rows: Any, metric: str | None = None) -> tuple[str, float, str] | None:
    whole = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    whole = [row for row in whole if row.get("contrast") == WHOLE and metric in (None, row.get("metric"))]
    for row in sorted(whole, key=lambda row: registry.descriptive(str(row.get("extractor")))):
        value = number(row.get("value"))
        return None if value is None else (str(row.get("metric")), value, str(row.get("split", "")))
    return None


def _running(row: Row, run: Run, lines: list[dict[str, Any]]) -> None:
    owner, since = read_object(run.state / "lock"), modified(run.state / "lock")
    row.state, row.job, row.busy = "running", str(owner.get("job") or ""), True
    last = max([since, *(number(line.get("time")) or 0.0 for line in lines[-1:])])
    if run.rule == "make":  # it has no rows of statistics
        row.note = span(time.time() - since)
    elif (silence := time.time() - last) > SILENT:
        row.note = f"silent {span(silence)}"


def _trained(row: Row, run: Run, jobs: dict[Path, Job], state: str, rules: tuple[str, ...]) -> None:
    """In ``state``, and how far the jobs of ``rules``, which come next, are."""
    row.state = state
    ended = max(modified(place / "cost.json") for place in run.places) - SKEW
    tried = [(job.began, rule, job) for rule in rules if (job := jobs.get(run.log(rule)))]
    began, rule, job = max(tried, default=(0.0, "", None), key=lambda found: found[:2])
    if not job or began < ended or job.ended == "finished":
        return
    log, (fate, _) = run.log(rule), job.fate()
    row.job, words = job.slurm, error_of(log, job)
    if job.ended is None and (not job.started or fate == AGAIN):
        row.note = f"{rule} queued"
    elif words:
        row.state, row.said, row.log = "failed", words, log
    elif job.ended == "failed" or fate:
        row.state, row.said, row.log = "failed", f"{rule}: {fate or UNSAID}", job.slurm_log or log
    elif job.ended is None:
        row.note, row.busy = f"{rule} runs", True


def _open(row: Row, run: Run, jobs: dict[Path, Job]) -> None:
    """Not trained, and nobody trains it: queued, starting, stopped, failed, or not begun."""
    log, now, made = run.log(run.rule), time.time(), row.total == 0
    job, held_at, words = jobs.get(log), modified(run.state / "lock"), error_of(log, jobs.get(log))
    fate, began = job.fate() if job else ("", 0.0)
    row.job = job.slurm if job else ""
    if job and job.ended is None:
        if not job.started or fate == AGAIN:
            row.state, row.note = "queued", "again" if job.started else span(now - job.began)
            return
        seen = modified(job.slurm_log) if job.slurm_log else began
        silent = held_at >= began or now - seen >= STARTUP
        if not fate and not words and (not silent or (made and not held_at)):
            row.state, row.note, row.busy = "running", span(now - began) if made else "starting", True
            return
    row.log = next((path for path in (job and job.slurm_log, log) if path and path.exists()), None)
    if words:
        row.state, row.said, row.log = "failed", words, log
    elif fate == "out of memory":
        row.state, row.said = "failed", f"out of memory; raise mem_mb of resources.{run.resources}"
    elif held_at or row.kimg is not None:
        last = last_line(log)
        kept = any(words in last for words in ("state saved", "are kept", "could not be queued"))
        at = "" if made else f" at {row.kimg or 0:.4g} kimg"
        row.state, row.said = "stopped", f"stopped{at} ({fate or ('state saved' if kept else 'killed?')})"
    elif job and job.ended in (None, "failed"):
        row.state, row.said = "failed", f"ended before it {'was made' if made else 'trained'} ({fate or 'killed?'})"
    else:
        row.job, row.log = "", None


def _missing(steps: list[Step], jobs: dict[Path, Job]) -> str:
    """The job that has to end before those that read ``steps``, and whether it has failed; empty without one."""
    opened = dict.fromkeys(step for end in steps for step in end.open())
    failed = [step.name for step in opened if look(step, jobs).state == "failed"]
    if failed:
        return f"{failed[0]} failed"
    return next((step.name for step in opened), "")
