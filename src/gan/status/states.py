"""The state of each cell of a study, from its files, its lock, and the logs of Snakemake and Slurm alone."""

import contextlib
import re
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan.cells import WHOLE, no_scores, number
from gan.scoring.extractors import registry
from gan.status.disk import Run, held, modified, read_object
from gan.status.jobs import AGAIN, Job, last_line, read_jobs, tail
from gan.study import Cell, Study, run_key

STATES = ("done", "trained", "running", "queued", "waiting", "stopped", "failed")
RECENT = 10  # rows whose speed counts
STARTUP = 180.0  # s from the start of a job until training holds its lock, at most
SKEW = 60.0  # s that the clocks of two machines may differ
SILENT = 600.0  # s without a row after which a running cell is reported as silent
UNSAID = "ended without a word (killed?)"
BUG = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+\S.*\s*\Z", re.MULTILINE)


@dataclass
class Row:
    """One cell. ``note``: detail of its state; ``said``: a sentence on what went wrong, ``log`` has more.

    kimg: shown to the discriminator so far, of ``total``; rate: s/kimg; score: (metric, value, split); gpu_h, cpu_h:
    hours spent up to the last row of statistics; job: id in Slurm; trained: whether training has ended; events: by
    name the last message of each event of the training, with its kimg.
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
    trained: bool = False
    events: dict[str, str] = field(default_factory=dict)

    @property
    def eta(self) -> float | None:
        """Seconds of training that are left, without scoring; None if unknown."""
        if self.state != "running" or self.rate is None or self.kimg is None:
            return None
        return max(0.0, self.total - self.kimg) * self.rate


def survey(study: Study, results: Path) -> list[Row]:
    """One row for every cell of ``study``, in its order; ``results`` is the folder that Snakemake writes into."""
    jobs = {results / name: job for name, job in read_jobs(results.parent / ".snakemake").items()}
    return [_row(study, cell, results, jobs) for cell in study.cells()]


def _row(study: Study, cell: Cell, results: Path, jobs: dict[Path, Job]) -> Row:
    recipe, root = study.recipe(cell), results / study.name
    key, folder = run_key(recipe), root / cell.folder
    state = results / "checkpoints" / key
    own = run_key(read_object(folder / "recipe.json")) == key
    run = Run(cell, key, state, [state, folder] if own else [state], root / "logs")
    row, lines = Row(cell, recipe["training"]["kimg"]), run.rows()
    _progress(row, lines)
    _cost(row, lines, run.object("cost.json"))
    row.events = {str(line["event"]): _event(line) for line in lines if line.get("event") and line.get("message")}
    row.trained = run.trained()
    row.score = _score(run)
    if run.done():
        row.state, row.kimg = "done", row.total
    elif held(state / "lock"):
        _running(row, run, lines)
    elif row.trained:
        row.kimg = row.total
        if reason := no_scores(study.dataset(cell.dataset)):
            row.state, row.note = "done", f"not scored, {reason}"
        else:
            _trained(row, run, jobs)
    else:
        _open(row, run, jobs)
        if row.state == "waiting":
            row.note, row.said, row.log = _missing(study, cell, root, jobs)
    return row


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
    row.state, row.job = "running", str(owner.get("job") or "")
    last = max([since, *(number(line.get("time")) or 0.0 for line in lines[-1:])])
    if (silence := time.time() - last) > SILENT:
        row.note = f"silent {span(silence)}"


def _trained(row: Row, run: Run, jobs: dict[Path, Job]) -> None:
    """Trained, and how far scoring is."""
    row.state = "trained"
    ended = max(modified(place / "cost.json") for place in run.places) - SKEW
    tried = [(job.began, rule, job) for rule in ("curve", "score") if (job := jobs.get(run.log(rule)))]
    began, rule, job = max(tried, default=(0.0, "", None), key=lambda found: found[:2])
    if not job or began < ended or job.ended == "finished":
        return
    log, (fate, _) = run.log(rule), job.fate()
    row.job, words = job.slurm, _error(log, job)
    if job.ended is None and (not job.started or fate == AGAIN):
        row.note = f"{rule} queued"
    elif words:
        row.state, row.said, row.log = "failed", words, log
    elif job.ended == "failed" or fate:
        row.state, row.said, row.log = "failed", f"{rule}: {fate or UNSAID}", job.slurm_log or log
    elif job.ended is None:
        row.note = f"{rule} runs"


def _open(row: Row, run: Run, jobs: dict[Path, Job]) -> None:
    """Not trained, and nobody trains it: queued, starting, stopped, failed, or not begun."""
    log, now = run.log("train"), time.time()
    job, held_at, words = jobs.get(log), modified(run.state / "lock"), _error(log, jobs.get(log))
    fate, began = job.fate() if job else ("", 0.0)
    row.job = job.slurm if job else ""
    if job and job.ended is None:
        if not job.started or fate == AGAIN:
            row.state, row.note = "queued", "again" if job.started else span(now - job.began)
            return
        seen = modified(job.slurm_log) if job.slurm_log else began
        if not fate and not words and held_at < began and now - seen < STARTUP:
            row.state, row.note = "running", "starting"
            return
    row.log = next((path for path in (job and job.slurm_log, log) if path and path.exists()), None)
    if words:
        row.state, row.said, row.log = "failed", words, log
    elif fate == "out of memory":
        row.state, row.said = "failed", "out of memory; raise mem_mb of resources.train"
    elif held_at or row.kimg is not None:
        last = last_line(log)
        why = fate or ("state saved" if "state saved" in last or "could not be queued" in last else "killed?")
        row.state, row.said = "stopped", f"stopped at {row.kimg or 0:.4g} kimg ({why})"
    elif job and job.ended in (None, "failed"):
        row.state, row.said = "failed", f"ended before it trained ({fate or 'killed?'})"
    else:
        row.job, row.log = "", None


def _missing(study: Study, cell: Cell, root: Path, jobs: dict[Path, Job]) -> tuple[str, str, Path | None]:
    """The step that a cell waits for, and how it failed if it did."""
    for chain in filter(None, _chains(study, cell, root)):
        made = [path.exists() for _, path, _ in chain]
        if made[-1]:  # what it was made of may be gone since
            continue
        step, _, log = chain[max((place for place, there in enumerate(made) if there), default=-1) + 1]
        job = jobs.get(log)
        words = _error(log, job) if not (job and job.ended is None and not job.started) else ""
        if not words and job and job.ended == "failed":
            words = job.fate()[0] or UNSAID
            log = job.slurm_log or log
        return (f"{step} failed", f"{step}: {words}", log) if words else (step, "", None)
    return "its turn", "", None


def _chains(study: Study, cell: Cell, root: Path) -> tuple[list[tuple[str, Path, Path]], ...]:
    """The steps that make data, judge, kernels and weights for training, in order: rule, file that it makes, log."""
    data, features, logs = (root / part / cell.dataset for part in ("data", "features", "logs"))
    store = [
        ("fetch", data / "raw", logs / "fetch.log"),
        ("convert", data / "volumes/volumes.csv", logs / "convert.log"),
        ("slices", data / "store/store.json", logs / "slices.log"),
    ]
    judge = []
    for kind in study.judges(cell.dataset):
        judge.append(("extractor", features / kind / "extractor.pt", logs / f"{kind}_extractor.log"))
        judge.append(("features", features / kind / "real.npz", logs / f"{kind}_features.log"))
    judge.append(("image_facts", features / "images.npz", logs / "image_facts.log"))
    judge.append(("judge", features / "judge.json", logs / "judge.log"))
    named = [(kind, f"{kind}-{sha256[:12]}") for kind, sha256 in study.extractor_files().items()]
    files = [
        [(f"file of {k}", root.parent / f"extractors/{name}.pt", logs.parent / f"{name}.log")] for k, name in named
    ]
    if not study.scored(cell.dataset):
        judge, files = [], []
    kernels = [("kernels", root / "kernels.json", root / "logs/kernels.log")]
    if made_with := study.encoder(cell.variant):
        judge.append(("extractor", features / made_with / "extractor.pt", logs / f"{made_with}_extractor.log"))
    needed = []
    for source, file in ((study.source(cell), "weights.pt"), (study.works_on(cell), "generator.pt")):
        if source:
            step = "train" if study.trained(source.variant) else "make"
            log = root / "logs" / source.dataset / f"{source.variant}_seed{source.seed}_{step}.log"
            needed.append([(f"{step} {source.folder}", root / source.folder / file, log)])
    return *files, store, judge, kernels, *needed


def _error(log: Path, job: Job | None) -> str:
    """The last line of a log that ends in an error or a traceback of the last attempt; else empty."""
    if job and modified(log) < job.began - 1:
        return ""
    line = last_line(log)
    return line if line.startswith("error: ") or BUG.search(tail(log)) else ""


def span(seconds: float) -> str:
    """A time for people: ``40s``, ``12m``, ``3h 20m``, ``2d 4h``."""
    minutes, hours, days = (int(seconds // unit) for unit in (60, 3600, 86400))
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m" if minutes else f"{int(seconds)}s"
