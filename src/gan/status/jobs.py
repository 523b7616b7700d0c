"""The logs of Snakemake and its Slurm executor below ``.snakemake``: jobs begun, submitted and ended.

Written for the logs of Snakemake 9 and its Slurm plugin 2.8. What is not understood is passed over.
"""

import contextlib
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

NEWEST = 8  # logs of Snakemake that are read; jobs that are still open are in the last ones
TAIL = 2**15  # bytes at the end of a log that hold its last words
BEGUN = re.compile(r"(?:local)?rule \w+:")
FAILED = re.compile(r"Error in rule \w+:|Error in group ")
FIELD = re.compile(r"    (log|jobid): (.+)")
FINISHED = re.compile(r"Finished jobid: (\d+) ")
SUBMITTED = re.compile(r"Job (\d+) has been submitted with SLURM jobid (\S+) \(log: (.+)\)\.")
STAMP = re.compile(r"\[(\w{3} \w{3} [ \d]\d [\d:]{8} \d{4})\]")
QUOTED = re.compile(r"Logfile .+:")  # a log that Snakemake shows follows, between two equal lines of ===
CLOSED = ("Complete log(s): ", "Terminating processes on user")  # with all the jobs that were still open
ANEW = "Building DAG of jobs"  # the first words of an attempt in the log of its Slurm job
AGAIN = "requeued"
FATES = {  # by what Slurm prints, the telling ones first
    "emory limit": "out of memory",
    "oom-kill": "out of memory",
    "oom_kill": "out of memory",
    "Out Of Memory": "out of memory",
    "DUE TO TIME LIMIT": "time limit",
    "DUE TO NODE FAILURE": "node failure",
    "DUE TO PREEMPTION": "pre-empted",
    "CANCELLED AT": "cancelled",
}


@dataclass
class Job:
    """The last attempt at one job, as far as Snakemake has reported.

    began: s since the epoch; slurm: id of its Slurm job, slurm_log: what that prints, there once it has started; ended:
    None while nothing is known, else finished, failed, or dropped (its Snakemake has ended and taken it along).
    """

    began: float
    slurm: str = ""
    slurm_log: Path | None = None
    ended: str | None = None

    @property
    def started(self) -> bool:
        """False while Slurm has it in its queue for the first time."""
        return self.slurm_log is None or self.slurm_log.exists()

    def fate(self) -> tuple[str, float]:
        """Slurm's reason for its end, empty without one; and when this attempt began (s since the epoch)."""
        text = tail(self.slurm_log) if self.slurm_log else ""
        text = text[max(0, text.rfind(ANEW)) :]
        stamp = STAMP.search(text)
        began = _seconds(stamp[1]) if stamp else self.began
        if f"was {AGAIN}" in text or "DUE TO JOB REQUEUE" in text:
            return AGAIN, began
        return next((fate for words, fate in FATES.items() if words in text), ""), began


def read_jobs(snakemake: Path) -> dict[str, Job]:
    """The last attempt at each job by its log, named from below the folder of results, from ``.snakemake``."""
    jobs: dict[str, Job] = {}
    for path in sorted((snakemake / "log").glob("*.snakemake.log"))[-NEWEST:]:
        with contextlib.suppress(OSError):
            _read(_own(iter(path.read_text(encoding="utf-8", errors="replace").splitlines())), jobs)
    return jobs


def _read(lines: Iterable[str], jobs: dict[str, Job]) -> None:
    mine: dict[str, Job] = {}
    now, log, failing = 0.0, "", False
    for line in lines:
        if match := STAMP.fullmatch(line):
            now = _seconds(match[1])
        elif BEGUN.fullmatch(line) or FAILED.match(line):
            log, failing = "", not BEGUN.fullmatch(line)
        elif (match := FIELD.fullmatch(line)) and match[1] == "log":
            log = match[2].split(", ")[0].partition("results/")[2]
        elif match and failing:
            _end(mine, match[2], "failed")
        elif match and log:
            jobs[log] = mine[match[2]] = Job(now)
        elif match := SUBMITTED.fullmatch(line):
            if match[1] in mine:
                mine[match[1]].slurm, mine[match[1]].slurm_log = match[2], Path(match[3])
        elif match := FINISHED.match(line):
            _end(mine, match[1], "finished")
        elif line.startswith(CLOSED):
            for number, job in mine.items():
                _end(mine, number, job.ended or "dropped")


def _own(lines: Iterator[str]) -> Iterator[str]:
    """Lines of Snakemake itself, without the logs that it shows of failed jobs."""
    for line in lines:
        yield line
        if QUOTED.fullmatch(line):
            fence = next(lines, "")
            for quoted in lines:
                if quoted == fence:
                    break


def _end(jobs: dict[str, Job], number: str, how: str) -> None:
    if number in jobs:
        jobs[number].ended = how


def _seconds(stamp: str) -> float:
    return time.mktime(time.strptime(stamp, "%a %b %d %H:%M:%S %Y"))


def tail(path: Path) -> str:
    """The last `TAIL` bytes of a text, what a progress bar has overwritten left out; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(line.rpartition("\r")[2] for line in text.split("\n"))


def last_line(path: Path) -> str:
    """The last line of a log that is not empty."""
    lines = [line.strip() for line in tail(path).splitlines() if line.strip()]
    return lines[-1] if lines else ""
