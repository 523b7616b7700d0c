"""What a job requests from Slurm: its identity, and to be requeued. Outside Slurm this has no effect."""

import os
import subprocess

from gan.errors import GanError

OWN = "GAN_SLURM_JOB"  # the variable with the id of a job that the workflow has submitted (workflow/rules/train.smk)
PATIENCE = 60.0  # s that Slurm's controller may take to answer


def job_id() -> str | None:
    """The id of the Slurm job that this process belongs to."""
    return os.environ.get("SLURM_JOB_ID")


def claim() -> None:
    """Call this job the workflow's own, which training may put back into the queue. Outside Slurm nothing happens."""
    if job := job_id():
        os.environ[OWN] = job


def first_node() -> str:
    """Network address of the first node of this job; `GanError` outside Slurm and where it does not answer."""
    job = job_id()
    try:
        if job is None:
            raise OSError("SLURM_JOB_ID is not set")
        nodes = _ask("squeue", "--noheader", "--jobs", job, "--format", "%N").strip()
        if not nodes:
            raise OSError(f"squeue names no node of job {job}")
        first = _ask("scontrol", "show", "hostnames", nodes).split()[0]
        return _word(_ask("scontrol", "show", "node", "--oneliner", first), "NodeAddr") or first
    except (OSError, subprocess.SubprocessError) as error:
        raise GanError(f"Slurm does not say which nodes this job has ({_reason(error)}); train on one node") from error


def requeue() -> str | None:
    """Put this job back into the queue, with the id and the resources that it has, and say so.

    Only a job that the workflow has submitted, which `OWN` names: any other is a user's own, in which more may run. Of
    an array it is the task alone. A job that was cancelled stays cancelled. None for these and outside Slurm; where
    Slurm refuses, what it said. The controller ends the job's processes some seconds after this call.
    """
    job = job_id()
    if job is None or os.environ.get(OWN) != job:
        return None
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"  # the id alone can mean the whole array
    try:
        if _word(_ask("scontrol", "show", "job", "--oneliner", job), "JobState") != "RUNNING":
            return None
        _ask("scontrol", "requeue", job)
    except (OSError, subprocess.SubprocessError) as error:
        return f"Slurm job {job} could not be requeued ({_reason(error)}); it ends here and counts as a failed attempt"
    return f"Slurm job {job} was requeued and will resume from this point"


def _reason(error: Exception) -> str:
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
    return (said.strip() or str(error)).splitlines()[-1]


def _word(shown: str, key: str) -> str | None:
    return next((word.removeprefix(f"{key}=") for word in shown.split() if word.startswith(f"{key}=")), None)


def _ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
