"""A training on a CPU keeps the memory that it has freed."""

import platform
import subprocess
import sys

import pytest

from gan import run

COUNT = """
import resource, sys
import torch
from gan.train.heap import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for turn in range(20):  # the heap grows at first, by what small allocations cut off
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(1 << 24).fill_(1)  # 64 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_needs_no_new_pages():
    faults = {
        way: int(subprocess.run([sys.executable, "-c", COUNT, way], capture_output=True, check=True).stdout)
        for way in ("keep", "default")
    }
    assert faults["keep"] < 100 < faults["default"]


def test_the_program_keeps_it_and_its_main_does_not(monkeypatch):
    calls = []
    monkeypatch.setattr(run, "keep_freed_memory", lambda: calls.append("kept"))
    for start, kept in ((run.main, []), (run.program, ["kept"])):
        with pytest.raises(SystemExit):
            start(["--help"])
        assert calls == kept
