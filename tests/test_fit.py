"""What a step on volumes needs: the law against what autograd keeps, and the error before the first step."""

import pytest
import torch
from test_variants import _batch, _make
from tiny import TinyData, paths, recipe

from gan.errors import GanError
from gan.families.contract import ImageShape
from gan.families.stylegan2 import memory
from gan.ops.precision import computing
from gan.train import fit
from gan.train.loop import train

SIZE, WIDTHS = (32, 32, 32), {"channel_base": 128, "channel_max": 16}


def _kept(variant, phase, precision):
    """Bytes of all storages that the loss of ``phase`` keeps, without weights."""
    seen, weights = {}, {p.untyped_storage().data_ptr() for p in variant.parameters()}
    for name, network in variant.networks().items():
        network.requires_grad_(name == phase.trains)

    def pack(tensor):
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), computing(precision):
        variant.loss(phase.name, _batch(variant.shape))
    return sum(count for place, count in seen.items() if place not in weights)


@pytest.mark.parametrize(("modulation", "precision", "width"), [("demod", "fp32", 4), ("adain", "bf16", 2)])
def test_the_law_says_what_autograd_keeps(modulation, precision, width):
    variant = _make("stylegan2", ImageShape(1, SIZE), modulation=modulation, **WIDTHS)
    expected = memory.kept(memory.features(SIZE, *WIDTHS.values()), modulation, width)
    for phase in variant.phases():
        images = 2 if phase.name == "Gpl" else 4  # of a batch of 4
        assert 0.8 < _kept(variant, phase, precision) / (images * expected[phase.name]) < 1.25, phase.name


def _recipe(**changes):
    given = recipe(batch=8, kimg=0.008)
    options = {"z_dim": 8, "w_dim": 8, "mbstd_group": 2, "pl_weight": 0.0, **WIDTHS, **changes}
    given["variant"] = {"name": "volumes", "family": "stylegan2", "options": options}
    return given


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (12e6, "needs about 51 MB, and the cpu has 12 MB; take smaller widths"),
        (40e6, "needs about 51 MB, and the cpu has 40 MB; set resources.train.microbatches to 2, which needs .. MB"),
    ],
)
def test_what_cannot_fit_is_said_before_the_first_step(room, words, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "available", lambda device: int(room))
    with pytest.raises(GanError, match=f"a step on 8 volumes of 32 x 32 x 32 at a time in fp32 {words}"):
        train(_recipe(), TinyData(8, 1, SIZE), paths(tmp_path))
    assert not list(tmp_path.rglob("*.pt"))


def test_memory_is_what_the_machine_and_the_group_of_the_process_leave(tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "ROOT", tmp_path)
    assert fit.available(torch.device("cpu")) is None
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert fit.available(torch.device("cpu")) == 8000 * 1024
    (tmp_path / "proc/self/cgroup").write_text("0::/job/step\n")
    (tmp_path / "sys/fs/cgroup/job/step").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/job/step/memory.max").write_text("max\n")
    (tmp_path / "sys/fs/cgroup/job/memory.max").write_text("4096000\n")
    assert fit.available(torch.device("cpu")) == 4096000


@pytest.mark.parametrize("case", ["stylegan2", "progan"])
def test_groups_of_one_volume_are_refused(case):
    with pytest.raises(GanError, match=r"option mbstd_group is 1, .* for volumes take 2 or more"):
        _make(case, ImageShape(1, (16, 16, 16)), mbstd_group=1)
