"""What users see of an error: one line, an exit code, and the same line in the log and at the end of the workflow."""

import errno
import io
import os
import sys
from pathlib import Path

import pytest
import torch

from gan.errors import GanError, command, failures, full_disk, logged


def refusal(number: int, path: str | None = "results/x.pt") -> OSError:
    return OSError(number, os.strerror(number), path)


ERRORS = {
    "told": (GanError("x.nii: all-zero; remove it"), "error: x.nii: all-zero; remove it\n"),
    "full": (refusal(errno.ENOSPC), "error: results/x.pt: not written, no space left on the disk or in the quota"),
    "quota": (refusal(errno.EDQUOT, None), "error: results: not written, no space left on the disk or in the quota"),
    "read-only": (refusal(errno.EROFS), "error: results/x.pt: Read-only file system; change its permissions, or work"),
    "forbidden": (refusal(errno.EACCES), "error: results/x.pt: Permission denied; change its permissions, or work"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_the_user_can_mend_is_one_line(name, tmp_path, capsys):
    error, message = ERRORS[name]
    log = tmp_path / "logs/a.log"
    with pytest.raises(SystemExit) as ended, logged(log):
        raise error
    shown = capsys.readouterr().err
    assert ended.value.code == 1
    assert shown.startswith(message) and shown.count("\n") == 1 and log.read_text() == shown

    @command
    def main() -> int:
        raise error

    assert main() == 1
    assert capsys.readouterr().err == shown


class Limited(io.BytesIO):
    """A file on a disk with room for so many bytes."""

    def __init__(self, room: int):
        super().__init__()
        self.room = room

    def write(self, data) -> int:
        if self.tell() + len(data) > self.room:
            raise refusal(errno.ENOSPC, None)
        return super().write(data)


def test_a_disk_that_is_full_anywhere_in_a_checkpoint_is_one_line():
    """torch cannot end its archive then, and says `unexpected pos`."""
    content = {"weight": torch.zeros(3000), "moments": {"first": torch.ones(50, 50)}}
    whole = io.BytesIO()
    torch.save(content, whole)
    for room in range(0, whole.tell(), 997):
        with pytest.raises(GanError, match=r"^x\.pt: not written, no space left"), full_disk("x.pt"):
            torch.save(content, Limited(room))
    with pytest.raises(RuntimeError, match="a bug"), full_disk("x.pt"):
        raise RuntimeError("a bug")


@pytest.mark.parametrize("error", [ValueError("a bug"), refusal(errno.EIO), KeyError("x")])
def test_a_bug_keeps_its_traceback_in_the_log_too(error, tmp_path):
    with pytest.raises(type(error)), logged(tmp_path / "a.log"):
        raise error
    text = (tmp_path / "a.log").read_text()
    assert "Traceback" in text and "raise error" in text


def test_an_open_progress_bar_does_not_hide_the_error(tmp_path, capsys):
    with pytest.raises(SystemExit), logged(tmp_path / "a.log"):
        print("fetched", file=sys.stderr)
        sys.stderr.write("\rconvert:  50%|#####     | 4/8")
        raise GanError("x: y")
    assert capsys.readouterr().err.splitlines()[-1] == "error: x: y"
    assert (tmp_path / "a.log").read_text() == "fetched\nerror: x: y\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_log_that_cannot_be_written_hides_nothing(capsys):
    with pytest.raises(SystemExit), logged("/dev/full"):
        print("a line", file=sys.stderr)
        raise refusal(errno.ENOSPC)
    assert capsys.readouterr().err.startswith("a line\nerror: results/x.pt: not written, no space left")


def test_failures_are_the_logs_that_end_in_an_error(tmp_path):
    texts = {
        "b/slices": "warning: dim\nerror: no slice",
        "a": "error: early\nscores: 0.1",
        "b/c": "",
        "old": "error: o",
    }
    for name, text in texts.items():
        path = tmp_path / f"{name}.log"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        os.utime(path, (50, 50) if name == "old" else (150, 150))
    assert failures(tmp_path, since=100) == [f"error: no slice ({tmp_path}/b/slices.log)"]
    assert failures(tmp_path / "absent", since=0) == []


def test_a_failure_that_nobody_foresaw_is_told_with_its_log(tmp_path):
    log = tmp_path / "train.log"
    log.write_text("started\nTraceback (most recent call last):\n  File ...\nKeyError: 'a'\n")
    assert failures(tmp_path, since=0) == [
        f"error: unexpected, a bug in the program: KeyError: 'a' ({log} has the traceback)"
    ]


def test_a_traceback_below_nested_progress_bars_is_found(tmp_path):
    with pytest.raises(ValueError, match="nan"), logged(tmp_path / "a.log"):
        sys.stderr.write("\n")
        sys.stderr.write("\x1b[A")
        raise ValueError("nan")
    (line,) = failures(tmp_path, 0)
    assert line.startswith("error: unexpected, a bug in the program: ValueError: nan")
