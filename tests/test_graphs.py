"""Replayed phases make the numbers of phases that run operation by operation.

A CUDA graph repeats kernels with the addresses and numbers that they had. `Tape` does the same with the operations of
PyTorch on any device: what a phase takes from Python, or from a tensor that is another one each time, shows there too.
"""

import contextlib
import copy
import functools
import re

import pytest
import torch
from golden import CASES
from test_precision import _recipe
from tiny import TinyData, sources
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gan import ops, parallel
from gan.check import graphs as check
from gan.errors import GanError
from gan.families.contract import Batch
from gan.train import graphs
from gan.train.graphs import Graphs
from gan.train.trainer import Trainer

CPU = torch.device("cpu")
OFTEN = {"r1_every": 1, "pl_every": 1}  # so that every phase is replayed in a few steps


class Tape(TorchDispatchMode):
    """Notes the operations of a phase with their tensors, and does them again with the same tensors.

    A graph is recorded without doing anything; here the recording was the first replay.
    """

    def __init__(self):
        super().__init__()
        self.calls, self.done = [], True

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, result in [] if self.done else self.calls:
            for mine, its in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(mine, torch.Tensor) and mine.data_ptr() != its.data_ptr():
                    mine.copy_(its)
        self.done = False


class Tapes(Graphs):
    """Tapes in the place of graphs."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr(graphs, "WARM_UP", 1)
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
        super().__init__(CPU)
        self.replayed = []

    def run(self, name, compute, parameters):
        self.replayed += [name] * (name in self._recorded)
        return super().run(name, compute, parameters)

    def _beside(self):
        return contextlib.nullcontext()

    def _capture(self, compute):
        with Tape() as tape:
            scalars = compute()
        return tape, scalars


def _trainer(case, tapes=None, precision="fp32", **options):
    recipe = copy.deepcopy(_recipe(case, precision))
    family = recipe["variant"]["family"]
    recipe["variant"]["options"] |= (OFTEN if family == "stylegan2" else {}) | options
    data = TinyData(size=16, channels=2, labels=2, sources=sources(family))
    return Trainer(recipe, data, CPU, graphs=tapes)


def _same(one, other):
    pairs = zip(tree_leaves(one.state_dict()), tree_leaves(other.state_dict()), strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def _compare(one, other, steps):
    """Weights, moments, moving averages, statistics, sums for the log and random generators: to the bit."""
    for step in range(steps):
        for trainer in (one, other):
            torch.manual_seed(step)
            trainer.advance(measure=step % 3 == 0)
        assert _same(one, other), f"step {step}"


@pytest.mark.parametrize("case", CASES)
def test_replayed_steps_are_the_steps(case, monkeypatch):
    tapes = Tapes(monkeypatch)
    one, other = _trainer(case), _trainer(case, tapes)
    _compare(one, other, steps=6)
    assert set(tapes.replayed) == {phase.name for phase in other.phases}


def test_a_schedule_goes_on(monkeypatch):
    """The learning rate is no number of the recording."""
    schedule = {"lr_warmup_kimg": 0.016, "lr_phases": [[0, 0.002], [0.02, 0.001]]}
    _compare(_trainer("stylegan2", **schedule), _trainer("stylegan2", Tapes(monkeypatch), **schedule), steps=6)


def test_networks_that_grow_are_recorded_anew(monkeypatch):
    """From the end of the first level to the first steps of the second: two kinds of steps, the share grows in one."""
    tapes = Tapes(monkeypatch)
    one, other = (_trainer("progan", given, phase_kimg=0.064) for given in (None, tapes))
    one.step = other.step = 13
    _compare(one, other, steps=3)
    assert other.variant.form == (0, 0) and tapes.replayed == ["G", "D"]
    _compare(one, other, steps=4)
    assert other.variant.form == (0, 1) and tapes.replayed == ["G", "D"] * 3


def test_the_check_of_a_gpu_replays_all_phases(monkeypatch):
    monkeypatch.setattr(check, "STEPS", check.EVERY * 3)
    monkeypatch.setattr(check, "WARM_UP", 1)
    tapes = Tapes(monkeypatch)
    expected = check.losses(CPU, None)
    assert check.losses(CPU, tapes) == expected and set(tapes.replayed) == {"G", "Gpl", "D", "Dr1"}
    assert list(check.compare(CPU)) == []


@pytest.mark.parametrize("error", [None, GanError("no recording"), torch.OutOfMemoryError("full")])
def test_a_gpu_that_cannot_record_is_found(error, monkeypatch, capsys):
    """What does not fit into memory says nothing of graphs, and is not noted of them."""

    def losses(device, graphs):
        if graphs and error:
            raise error
        return {"phase/G": 1.0 if graphs else 1.1}

    monkeypatch.setattr(check, "losses", losses)
    monkeypatch.setattr(check, "Graphs", lambda device: "graphs")
    if isinstance(error, torch.OutOfMemoryError):
        with pytest.raises(torch.OutOfMemoryError):
            list(check.compare(torch.device("cuda")))
        return
    (row,) = check.compare(torch.device("cuda"))
    assert not row.ok and row.subject == "graph of G"
    assert capsys.readouterr().err == ("with CUDA graphs: no recording\n" if error else "")


@pytest.mark.parametrize(
    ("step", "device", "microbatches", "expected"),
    [
        ("auto", "cpu", 1, ""),
        ("eager", "cuda", 1, ""),
        (
            "auto",
            "cuda",
            2,
            "instead of as CUDA graphs, which is slower: resources.train.microbatches is 2",
        ),
        ("auto", "cuda", 1, "which is slower: a note says so"),
        ("graph", "cpu", 1, GanError("resources.train.step is graph, but CUDA graphs are for a GPU; set it to eager")),
        ("graph", "cuda", 4, GanError("resources.train.microbatches is 4, CUDA graphs are for whole batches; set")),
        ("graph", "cuda", 1, Graphs),
    ],
)
def test_who_gets_graphs(step, device, microbatches, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    given = step, torch.device(device), microbatches, "a note says so"
    if isinstance(expected, GanError):
        with pytest.raises(GanError, match=re.escape(str(expected))):
            graphs.pick_graphs(*given)
        return
    found, said = graphs.pick_graphs(*given)
    assert isinstance(found, Graphs) == (expected is Graphs) and said.find("" if found else expected) >= 0


def test_several_gpus_get_none(monkeypatch):
    monkeypatch.setattr(parallel, "world", lambda: 2)
    with pytest.raises(GanError, match=r"resources.train.gpu is 2, CUDA graphs are for one; set it to eager"):
        graphs.pick_graphs("graph", torch.device("cuda"), 1, None)


def _growing(trainer, loss, *given):
    return loss(*given)[0] * (1 + trainer.step), {}


def test_what_is_taken_from_python_shows(monkeypatch):
    """Or this test of tests would pass with anything."""
    one, other = _trainer("stylegan2"), _trainer("stylegan2", Tapes(monkeypatch))
    for trainer in (one, other):
        monkeypatch.setattr(trainer.variant, "loss", functools.partial(_growing, trainer, trainer.variant.loss))
    with pytest.raises(AssertionError, match="step 2"):
        _compare(one, other, steps=3)


class OnGpu(TinyData):
    """Batches on the GPU, moved as `gan.run` does it."""

    def batch(self, indices):
        return Batch(*(part.pin_memory().cuda(non_blocking=True) for part in super().batch(indices)))


def _losses(case, steps, graph=False, kernels=False, precision="fp32", size=16, **options):
    """The losses of each phase on the GPU, in the order of its steps."""
    ops.use("cuda" if kernels else "reference")
    device, rows = torch.device("cuda"), {}
    recipe = copy.deepcopy(_recipe(case, precision))
    recipe["variant"]["options"] |= options
    data = OnGpu(size=size, channels=2, labels=2, sources=sources(CASES[case][0]))
    trainer = Trainer(recipe, data, device, graphs=Graphs(device) if graph else None)
    for _ in range(steps):
        trainer.advance(measure=False)
        for name, value in trainer.meter.read().items():
            if name.startswith("phase/"):
                rows.setdefault(name, []).append(value)
    return {name: torch.tensor(values) for name, values in rows.items()}


@pytest.fixture
def gpu(monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    yield
    ops.use("cuda")


def _near(one, other, steps):
    """Where rounding differs, so do weights after some steps, and losses more and more: on a CPU those of the kernels
    were equal to five digits for 50 steps, and 9 % apart, in one phase, after 180."""
    for name, right in one.items():
        early = len(right) * 50 // steps
        torch.testing.assert_close(other[name][:early], right[:early], rtol=1e-2, atol=1e-3, msg=name)
        torch.testing.assert_close(other[name].mean(), right.mean(), rtol=0.1, atol=1e-3, msg=name)


@pytest.mark.gpu
@pytest.mark.parametrize("case", ["stylegan2_ada", "stylegan2_topk", "dcgan", "progan"])
def test_on_a_gpu_200_replayed_steps_are_the_steps(gpu, case):
    _near(_losses(case, 200), _losses(case, 200, graph=True), 200)


@pytest.mark.gpu
@pytest.mark.parametrize("graph", [False, True])
def test_on_a_gpu_200_steps_with_the_kernels_are_the_steps(gpu, graph):
    _near(_losses("stylegan2_ada", 200), _losses("stylegan2_ada", 200, graph, kernels=True), 200)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_on_a_gpu_other_precisions_are_replayed(gpu, precision):
    one, other = (_losses("stylegan2_ada", 60, graph, True, precision) for graph in (False, True))
    _near(one, other, 60)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_on_a_gpu_every_case_is_replayed(gpu, case):
    options = OFTEN if CASES[case][0] == "stylegan2" else {}
    one, other = (_losses(case, 8, graph, **options) for graph in (False, True))
    for name, right in one.items():  # the gradient of a reflection is added up in any order
        torch.testing.assert_close(other[name], right, rtol=1e-2, atol=1e-3, msg=lambda found, name=name: name + found)


@pytest.mark.gpu
@pytest.mark.parametrize("kernels", [False, True])
def test_on_a_gpu_steps_of_volumes_are_replayed(gpu, kernels):
    """With ADA, whose maps in space have operations of their own."""
    given = {"size": (16, 16, 16), "augment": "mri", "ada_p": 0.5, **OFTEN}
    one, other = (_losses("stylegan2", 8, graph, kernels, **given) for graph in (False, True))
    for name, right in one.items():
        torch.testing.assert_close(other[name], right, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.gpu
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("first", ["cpu", "cuda"])
def test_on_a_gpu_a_saved_state_goes_on(gpu, graph, first):
    """To the bit after a GPU, and at all after a CPU, where weights and moments have another memory format."""
    ops.use("reference")
    recipe, device = copy.deepcopy(_recipe("stylegan2_adain", "fp32")), torch.device("cuda")
    data, later = OnGpu(size=16, channels=2, labels=2), []
    if first == "cpu":
        trainer = Trainer(recipe, TinyData(size=16, channels=2, labels=2), CPU)
    else:
        trainer = Trainer(recipe, data, device, graphs=Graphs(device) if graph else None)
    for _ in range(5):
        trainer.advance(measure=False)
    state = copy.deepcopy(trainer.state_dict())
    for again in (False, True):
        if again:
            trainer = Trainer(recipe, data, device, graphs=Graphs(device) if graph else None)
            trainer.load_state_dict(state)
        for _ in range(5):
            trainer.advance(measure=False)
        later.append(trainer.state_dict()["variant"])
    for name, value in later[0].items():
        assert first == "cpu" or torch.equal(value, later[1][name]), name
    assert all(value.isfinite().all() for value in later[1].values() if value.is_floating_point())


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("graph", [False, True])
def test_on_a_gpu_no_step_waits(gpu, case, graph):
    """Every operation that would hold up the host is an error; those of the recording are not a step's."""
    ops.use("reference")
    device = torch.device("cuda")
    recipe = copy.deepcopy(_recipe(case, "fp32"))
    recipe["variant"]["options"] |= OFTEN if recipe["variant"]["family"] == "stylegan2" else {}
    data = OnGpu(size=16, channels=2, labels=2, sources=sources(CASES[case][0]))
    trainer = Trainer(recipe, data, device, graphs=Graphs(device) if graph else None)
    for _ in range(20):
        trainer.advance(measure=False)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            trainer.advance(measure=False)
    finally:
        torch.cuda.set_sync_debug_mode("default")
