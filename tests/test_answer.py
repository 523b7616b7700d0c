"""The last lines of a run: the verdict in two lines, and where page, tables, samples and MLflow are."""

import atexit
import json
import logging
import os
import subprocess
import sys

import pytest
from fake_study import cells_with, kid, write
from snakemake.common import NOTHING_TO_BE_DONE_MSG

from gan.answer import answer, when_idle
from gan.served import address, serving

PAGE = r"""# tiny

## brain_t1

No evidence of a difference between a\_b and c: <their> KD\* intervals overlap. c has the best mean.

### Mean over contrasts

| variant | KD |

Can c be trusted? Its images are &lt; 1 away. This rests on 9 patients.

- a\_b is far from real.

## empty

No variant is scored yet.
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "comparison.md").write_text(PAGE.replace(r"\_", "_"))
    return tmp_path


def test_verdict_trust_and_paths(study):
    assert answer(study, 0) == [
        "brain_t1: No evidence of a difference between a_b and c: <their> KD* intervals overlap. c has the best mean.",
        "brain_t1: Can c be trusted? Its images are < 1 away. This rests on 9 patients.",
        "empty: No variant is scored yet.",
        f"page     {study}/comparison.html",
        f"tables   {study}/comparison.csv, differences.csv, scores.csv",
        f"samples  {study}/*/*/seed*/fake.png",
        f"MLflow   gan ui --study {study}",
    ]
    assert len(answer(study, 0, tracked=False)) == 6


SERVE = """
import sys
from pathlib import Path
from gan.served import serving
with serving(Path(sys.argv[1]), "http://127.0.0.1:5003"):
    print("served", flush=True)
    sys.stdin.read()
"""


def test_a_link_to_mlflow_only_while_it_is_served(study):
    command = [sys.executable, "-c", SERVE, str(study)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout.readline() == b"served\n"
        assert answer(study, 0)[-1] == "MLflow   http://127.0.0.1:5003"
        with serving(study, "http://127.0.0.1:5004"):
            assert address(study) == "http://127.0.0.1:5003", "the first one stays"
        server.kill()
    assert answer(study, 0)[-1] == f"MLflow   gan ui --study {study}"


def test_a_server_is_linked_if_it_has_taken_the_study(study):
    uri = "http://host:5000"
    noted = {"ok": True, "links": [f"{uri}/#/experiments/1"]}
    (study / "tracking.json").write_text(json.dumps(noted))
    assert answer(study, 0, uri=uri)[-1] == f"MLflow   {uri}/#/experiments/1"
    (study / "tracking.json").write_text(json.dumps(noted | {"ok": False}))
    assert answer(study, 0, uri=uri)[-1] == f"MLflow   gan ui --study {study}"


def test_cells_that_the_tables_do_not_hold_yet(tmp_path):
    old, new = cells_with(tmp_path, old=[[kid(0.5)]], new=[[kid(0.0123)]])
    for cell in (old, new):
        write(cell, "recipe.json", {})
    os.utime(old.folder / "scores.json", (50, 50))
    assert answer(tmp_path, 100) == [
        "scored: set/new/s0 (kid 0.0123)",
        f"The tables do not have this yet: `snakemake all` makes them, `gan report --study {tmp_path}` those so far.",
    ]
    assert answer(tmp_path, 1e12) == []


def test_a_call_with_nothing_to_do_ends_with_the_answer(monkeypatch):
    kept = []
    monkeypatch.setattr(atexit, "register", kept.append)
    logger = logging.getLogger("snakemake.logging")
    monkeypatch.setattr(logger, "filters", [])
    when_idle(print)
    logger.warning("Building DAG of jobs...")
    assert kept == []
    logger.warning(NOTHING_TO_BE_DONE_MSG)
    assert kept == [print]
