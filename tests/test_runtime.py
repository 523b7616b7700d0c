"""The resources of a training, as one word of the command line."""

import dataclasses
import re
import subprocess
import sys

import pytest
import yaml
from conftest import SCHEMA

from gan import ops, runtime
from gan.errors import GanError
from gan.runtime import Runtime


def test_a_word_names_what_is_not_as_by_default():
    assert Runtime.parse("") == Runtime()
    expected = Runtime(device="cuda", gpus=2, threads=4, checkpoint_kimg=0.5)
    assert Runtime.parse("device=cuda,gpus=2,threads=4,checkpoint_kimg=0.5") == expected
    assert "step=auto (auto, graph, eager)" in runtime.usage()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("gpu=2", "--runtime: gpu=2: 'gpu' is no key; allowed: device, gpus, nodes, threads, ops, step, microbatches"),
        ("cuda", "--runtime: cuda: 'cuda' is no key; allowed: device, "),
        ("gpus=1,gpus=2", "--runtime: gpus=2: gpus is given twice; name it once"),
        ("gpus=two", "--runtime: gpus is 'two'; allowed: whole numbers from 0"),
        ("gpus=", "--runtime: gpus is ''; allowed: whole numbers from 0"),
        ("microbatches=0", "--runtime: microbatches is 0; allowed: whole numbers from 1"),
        ("checkpoint_kimg=0", "--runtime: checkpoint_kimg is 0.0; allowed: numbers above 0"),
        ("checkpoint_kimg=nan", "--runtime: checkpoint_kimg is nan; allowed: numbers above 0"),
        ("ops=kernels", "--runtime: ops is 'kernels'; allowed: auto, cuda, reference"),
        ("gpus=3,nodes=2", "--runtime: gpus is 3; it must be a multiple of the number of nodes, 2"),
    ],
)
def test_what_is_wrong_is_one_line_with_key_value_and_remedy(word, message):
    with pytest.raises(GanError, match=re.escape(message)) as error:
        Runtime.parse(word)
    assert "\n" not in str(error.value)


def test_the_config_allows_the_same():
    """The schema describes each field once more, for people: neither side may be forgotten."""
    asked = yaml.safe_load(SCHEMA.read_text())["$defs"]["train_resources"]["properties"]
    fields = {Runtime.resources()[each.name]: each for each in dataclasses.fields(Runtime)}
    assert set(fields) == set(asked) - {"mem_mb", "runtime"}
    for name, each in fields.items():
        if choices := each.metadata.get("allowed"):
            assert (list(choices), each.default) == (asked[name]["enum"], asked[name]["default"])
        elif name not in ("gpu", "threads"):  # a job asks for what the command takes without being asked
            least = asked[name]["exclusiveMinimum" if each.metadata["above"] else "minimum"]
            assert (each.metadata["least"], each.default) == (least, asked[name]["default"])


def test_implementations_of_the_operations_are_those_that_there_are():
    assert ("auto", *ops.IMPLEMENTATIONS) == runtime.OPS


def test_it_is_known_without_torch():
    code = "import sys, gan.runtime; print([name for name in ('torch', 'numpy') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
