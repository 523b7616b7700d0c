"""A job that is told to stop is queued again by Slurm, unless somebody cancelled it."""

import pytest

from gan import slurm
from gan.errors import GanError

SCONTROL = """#!/bin/sh
echo "$@" >> {calls}
case "$1" in
    show) echo "JobId=17 JobState={state} Reason=None" ;;
    requeue) {requeue} ;;
esac
"""


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A stand-in for Slurm's command: (state of the job, what ``requeue`` does) -> the calls that it saw."""
    calls = tmp_path / "calls"

    def install(state: str, requeue: str = "true"):
        command = tmp_path / "scontrol"
        command.write_text(SCONTROL.format(calls=calls, state=state, requeue=requeue))
        command.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        for name in ("SLURM_JOB_ID", "GAN_SLURM_JOB"):
            monkeypatch.setenv(name, "17")
        for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
            monkeypatch.delenv(name, raising=False)
        return lambda: calls.read_text().splitlines()

    return install


def test_outside_slurm_nothing_happens(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert slurm.job_id() is None and slurm.requeue() is None


def test_a_running_job_is_queued_again(scontrol):
    calls = scontrol("RUNNING")
    assert slurm.requeue() == "Slurm job 17 was requeued and will resume from this point"
    assert calls() == ["show job --oneliner 17", "requeue 17"]


@pytest.mark.parametrize("own", [None, "16"])
def test_a_job_that_the_workflow_has_not_submitted_is_left_alone(own, scontrol, monkeypatch):
    calls = scontrol("RUNNING")
    monkeypatch.setenv("GAN_SLURM_JOB", own) if own else monkeypatch.delenv("GAN_SLURM_JOB")
    assert slurm.requeue() is None
    with pytest.raises(FileNotFoundError):
        calls()


def test_of_an_array_the_task_alone_is_queued_again(scontrol, monkeypatch):
    calls = scontrol("RUNNING")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert slurm.requeue() == "Slurm job 17_3 was requeued and will resume from this point"
    assert calls() == ["show job --oneliner 17_3", "requeue 17_3"]


@pytest.mark.parametrize("state", ["CANCELLED", "COMPLETING", "PREEMPTED"])
def test_a_job_that_is_being_ended_stays_so(scontrol, state):
    calls = scontrol(state)
    assert slurm.requeue() is None
    assert calls() == ["show job --oneliner 17"]


def test_a_refusal_is_told(scontrol):
    scontrol("RUNNING", "echo 'Requested operation is presently disabled' >&2; exit 1")
    assert slurm.requeue() == (
        "Slurm job 17 could not be requeued (Requested operation is presently disabled); "
        "it ends here and counts as a failed attempt"
    )


def test_a_refusal_without_a_word_is_told(scontrol):
    scontrol("RUNNING", "echo >&2; exit 1")
    said = slurm.requeue()
    assert said and "could not be requeued" in said and "exit status 1" in said


def test_a_controller_that_does_not_answer_is_told(scontrol, monkeypatch):
    monkeypatch.setattr(slurm, "PATIENCE", 0.5)
    scontrol("RUNNING", "echo busy >&2; exec sleep 30")
    said = slurm.requeue()
    assert said and "timed out after 0.5 seconds" in said


def test_no_scontrol_is_told(scontrol, monkeypatch, tmp_path):
    scontrol("RUNNING")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    said = slurm.requeue()
    assert said and "could not be requeued" in said and "scontrol" in said


def test_first_node_of_a_job(tmp_path, monkeypatch):
    answers = {
        "squeue": 'test "$*" = "--noheader --jobs 17 --format %N" && echo "n[3-4]"',
        "scontrol": 'case "$2 $3 $4" in "hostnames n[3-4] ") printf "n3\\nn4\\n" ;; "node --oneliner n3") '
        'echo "NodeName=n3 NodeAddr=10.0.0.3 NodeHostName=n3" ;; *) exit 1 ;; esac',
    }
    for name, answer in answers.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert slurm.first_node() == "10.0.0.3"
    (tmp_path / "squeue").write_text("#!/bin/sh\necho\n")
    with pytest.raises(GanError, match="squeue names no node of job 17"):
        slurm.first_node()
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(GanError, match="SLURM_JOB_ID is not set"):
        slurm.first_node()


def test_a_job_is_claimed_by_its_own_id(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("GAN_SLURM_JOB", "16")
    slurm.claim()
    assert slurm.os.environ["GAN_SLURM_JOB"] == "17"
    monkeypatch.delenv("SLURM_JOB_ID")
    monkeypatch.delenv("GAN_SLURM_JOB")
    slurm.claim()
    assert "GAN_SLURM_JOB" not in slurm.os.environ
