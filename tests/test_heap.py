"""A training on a CPU keeps the memory that it has freed."""

import platform
import subprocess
import sys

import pytest

from gan import run

COUNT = """
import resource
import torch
from gan.train.heap import keep_freed_memory

def last(turns):
    for turn in range(turns):  # the heap grows at first, by what small allocations cut off
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(1 << 24).fill_(1)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(last(3))
keep_freed_memory()
print(last(20))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_needs_no_new_pages():
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, check=True)
    default, kept = map(int, done.stdout.split())
    assert kept < 100 < default


def test_the_program_keeps_it_and_its_main_does_not(monkeypatch):
    calls = []
    monkeypatch.setattr(run, "keep_freed_memory", lambda: calls.append("kept"))
    for start, kept in ((run.main, []), (run.program, ["kept"])):
        with pytest.raises(SystemExit):
            start(["--help"])
        assert calls == kept
