"""What jobs say on a terminal that they share: whole lines that name the cell, and no bars."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gan import lines
from gan.errors import logged

WRITER = """
import sys
from tqdm import tqdm
from gan.errors import logged
with logged(sys.argv[1]):
    for number in tqdm(range(300), mininterval=0):
        sys.stderr.write("line ")
        print(number, "x" * 200, file=sys.stderr)
"""


def test_two_writers_never_garble_each_other(tmp_path):
    logs = {f"phantom/{name}/s1": tmp_path / f"logs/phantom/{name}_seed1_train.log" for name in ("dcgan", "a_b")}
    reading, writing = os.pipe()
    jobs = [subprocess.Popen([sys.executable, "-c", WRITER, log], stderr=writing) for log in logs.values()]
    os.close(writing)
    with open(reading) as shared:
        said = shared.read().splitlines()
    assert all(job.wait() == 0 for job in jobs)
    for name, log in logs.items():
        wanted = [f"line {number} {'x' * 200}" for number in range(300)]
        assert [line for line in said if line.startswith(name)] == [f"{name}: {line}" for line in wanted]
        assert log.read_text().splitlines() == wanted, "without the name, and without a bar"
    assert len(said) == 600


def test_a_bar_becomes_a_line_now_and_then(tmp_path, capsys, monkeypatch):
    clock = iter([0.0, 10.0, 31.0, 31.0, 40.0, 62.0, 62.0])  # not asked for by a bar that has just begun
    monkeypatch.setattr(lines.time, "monotonic", lambda: next(clock))
    log = tmp_path / "logs/phantom/convert.log"
    with logged(log):
        sys.stderr.write("\rconvert:   0%|          | 0/8 [00:00<?, ?subject/s]")
        for done in (1, 4, 5, 8):
            sys.stderr.write(f"\rconvert:  {done}0%|#####     | {done}/8 [00:0{done}<00:04, 1.0subject/s]   ")
        sys.stderr.write("\n")
        sys.stderr.write("\r     \r")
    shown = ["convert: 4/8 [00:04<00:04, 1.0subject/s]", "convert: 8/8 [00:08<00:04, 1.0subject/s]"]
    assert log.read_text().splitlines() == shown
    assert capsys.readouterr().err.splitlines() == [f"phantom: {line}" for line in shown]


@pytest.mark.parametrize(
    ("log", "name"),
    [
        ("results/a/logs/ixi/stylegan2_ada_seed12_train.log", "ixi/stylegan2_ada/s12"),
        ("results/a/logs/ixi/indomain_extractor.log", "ixi"),
        ("results/a/logs/compare.log", ""),
        ("train.log", ""),
    ],
)
def test_the_log_names_who_speaks(log, name):
    assert lines.speaker(Path(log)) == name
