"""What a job asks of Slurm by itself: who it is, and to be queued again. Outside Slurm nothing happens."""

import os
import subprocess

PATIENCE = 60.0  # s that Slurm's controller may take to answer


def job_id() -> str | None:
    """The id of the Slurm job that this process belongs to."""
    return os.environ.get("SLURM_JOB_ID")


def requeue() -> str | None:
    """Put this job back into the queue, with the id and the resources that it has, and say so.

    A job that was cancelled stays cancelled. None outside Slurm and after a cancellation; where Slurm refuses, what it
    said. The controller ends the job's processes some seconds after this call.
    """
    job = job_id()
    if job is None:
        return None
    try:
        shown = _scontrol("show", "job", "--oneliner", job)
        state = next((word[9:] for word in shown.split() if word.startswith("JobState=")), "UNKNOWN")
        if state != "RUNNING":
            return None
        _scontrol("requeue", job)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        return f"Slurm job {job} could not be queued again ({reason}); it ends here and counts as a failed attempt"
    return f"Slurm job {job} is queued again and goes on from there"


def _scontrol(*arguments: str) -> str:
    command = ["scontrol", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
