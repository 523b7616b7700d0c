"""The jobs that cells share, as a graph: what a cell waits for, and which of them have ended, run or failed."""

import re
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gan.cells import no_scores
from gan.status.disk import modified
from gan.status.jobs import AGAIN, Job, last_line, tail
from gan.study import Cell, Study

OWN = ("train", "make")  # jobs that make the generator of a cell, by what their logs are called
UNSAID = "ended without a word (killed?)"
BUG = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+\S.*\s*\Z", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One job. name: for people; of: its data set, if it has one; made: a file that is there once it has ended; needs:
    the jobs whose files it reads."""

    rule: str
    name: str
    of: str
    made: Path
    log: Path
    needs: tuple["Step", ...] = field(default=(), compare=False)

    def open(self) -> Iterator["Step"]:
        """The jobs that have to end yet, this one last. What an ended job was made of may be gone since."""
        if not self.made.exists():
            for step in self.needs:
                yield from step.open()
            yield self

    def whole(self) -> Iterator["Step"]:
        """All that it needs, this one last."""
        for step in self.needs:
            yield from step.whole()
        yield self


@dataclass(frozen=True)
class Shared:
    """How far a job is. state: done, running, queued, waiting or failed; note: since when; said: why it failed, ``log``
    has more."""

    step: Step
    state: str
    note: str = ""
    said: str = ""
    log: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.step.of}: {self.step.name}" if self.step.of else self.step.name


class Steps:
    """The jobs of ``study`` below ``root``, ``results/<study>``, that are no cell's own."""

    def __init__(self, study: Study, root: Path):
        self._study, self._root, self._logs = study, root, root / "logs"
        self._files = study.extractor_files()  # by extractor its sha256

    def before(self, cell: Cell) -> list[Step]:
        """What the training of ``cell``, or its making, reads."""
        study = self._study
        needed, made_of = [self._slices(cell.dataset)], study.works_on(cell)
        if study.trained(cell.variant):
            needed += [*self.scoring(cell), self._kernels()]
        elif made_of:
            needed += [self._kernels(), self._cell(made_of, "generator.pt")]
        if made_with := study.encoder(cell.variant):
            needed.append(self._extractor(cell.dataset, made_with))
        if source := study.source(cell):
            needed.append(self._cell(source, "weights.pt"))
        return needed

    def scoring(self, cell: Cell) -> list[Step]:
        """What the scores of ``cell`` are made with; nothing if it is not scored."""
        if no_scores(self._study.dataset(cell.dataset)):
            return []
        files = [self._file(kind) for kind in self._study.judges(cell.dataset) if kind in self._files]
        return [*files, self._judge(cell.dataset)]

    def utility(self, cell: Cell) -> list[Step]:
        """The networks of real images that those of ``cell`` are compared with."""
        folder, name = self._root / "utility" / cell.dataset, cell.dataset
        needs = (self._slices(name), self._convert(name))
        return [
            Step(
                "reference",
                f"reference of {task}, seed {cell.seed}",
                name,
                folder / task / f"seed{cell.seed}/reference.json",
                self._logs / name / f"{task}_seed{cell.seed}_reference.log",
                needs,
            )
            for task in self._study.tasks(cell)
        ]

    def all(self) -> list[Step]:
        """Each of them once, in the order in which they run."""
        cells = [*self._study.cells(), *self._study.sources()]
        ends = [step for cell in cells for step in (*self.before(cell), *self.scoring(cell), *self.utility(cell))]
        found = [step for end in (self.first(), *ends, *self.last()) for step in end.whole()]
        return [step for step in dict.fromkeys(found) if step.rule not in OWN]

    def first(self) -> Step:
        """What no cell waits for, and all pages read."""
        return self._own("baselines", "baselines.json")

    def last(self) -> list[Step]:
        """What reads the scores of all cells."""
        publish = [self._own("publish", "tracking.json")] if self._study.config["tracking"]["enabled"] else []
        return [self._own("compare", "comparison.html"), *publish]

    def _own(self, rule: str, made: str) -> Step:
        return Step(rule, rule, "", self._root / made, self._logs / f"{rule}.log")

    def _of(self, dataset: str, rule: str, name: str, made: str, log: str, *needs: Step) -> Step:
        return Step(rule, name, dataset, self._root / made, self._logs / dataset / f"{log}.log", needs)

    def _convert(self, name: str) -> Step:
        fetch = self._of(name, "fetch", "fetch", f"data/{name}/raw", "fetch")
        return self._of(name, "convert", "convert", f"data/{name}/volumes/volumes.csv", "convert", fetch)

    def _slices(self, name: str) -> Step:
        return self._of(name, "slices", "slices", f"data/{name}/store/store.json", "slices", self._convert(name))

    def _file(self, kind: str) -> Step:
        file = f"{kind}-{self._files[kind][:12]}"
        made = self._root.parent / f"extractors/{file}.pt"
        return Step("extractor_file", f"file of {kind}", "", made, self._logs / f"{file}.log")

    def _extractor(self, name: str, kind: str) -> Step:
        needs = [*([self._file(kind)] if kind in self._files else []), self._slices(name)]
        return self._of(
            name, "extractor", f"extractor {kind}", f"features/{name}/{kind}/extractor.pt", f"{kind}_extractor", *needs
        )

    def _judge(self, name: str) -> Step:
        folder, needs, store = f"features/{name}", [], self._slices(name)
        for kind in self._study.judges(name):
            made, log, extractor = f"{folder}/{kind}/real.npz", f"{kind}_features", self._extractor(name, kind)
            needs.append(self._of(name, "real_features", f"features {kind}", made, log, store, extractor))
            needs.append(extractor)
        needs.append(self._of(name, "image_facts", "image facts", f"{folder}/images.npz", "image_facts", store))
        return self._of(name, "judge", "judge", f"{folder}/judge.json", "judge", *needs)

    def _kernels(self) -> Step:
        return self._own("kernels", "kernels.json")

    def _cell(self, cell: Cell, file: str) -> Step:
        """The training, or making, of another cell."""
        rule, _ = own_rule(self._study, cell)
        log = self._logs / cell.dataset / f"{cell.variant}_seed{cell.seed}_{rule}.log"
        return Step(rule, f"{rule} {cell.folder}", "", self._root / cell.folder / file, log)


def own_rule(study: Study, cell: Cell) -> tuple[str, str]:
    """The job that makes the generator of ``cell``, as its log is called, and the section of `resources` for it."""
    if study.trained(cell.variant):
        return "train", "train"
    return "make", "evaluate" if study.works_on(cell) else "data"


def look(step: Step, jobs: dict[Path, Job]) -> Shared:
    """How far ``step`` is, which has not ended. jobs: by their logs."""
    job, log = jobs.get(step.log), step.log
    queued = job is not None and job.ended is None and (not job.started or job.fate()[0] == AGAIN)
    words = "" if queued else error_of(log, job)
    if not words and job and job.ended == "failed":
        words, log = job.fate()[0] or UNSAID, job.slurm_log or log
    if words:
        return Shared(step, "failed", said=words, log=log)
    if job is None or job.ended is not None:
        return Shared(step, "waiting")
    return Shared(step, "queued" if queued else "running", span(time.time() - job.fate()[1]))


def survey_steps(steps: Iterable[Step], wanted: Collection[Step], jobs: dict[Path, Job]) -> list[Shared]:
    """How far each of ``steps`` is; ``wanted``: those that something waits for."""
    return [look(step, jobs) if step in wanted else Shared(step, "done") for step in steps]


def error_of(log: Path, job: Job | None) -> str:
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
