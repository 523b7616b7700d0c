"""Gradients go to the other ranks while backward computes, and become means, whatever comes when."""

import contextlib
import time
from unittest import mock

import pytest
import torch
from parallel_worker import CASES, CPU, data, recipe, start
from torch import nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from gan import parallel
from gan.train import exchange
from gan.train.exchange import Exchange, buckets
from gan.train.trainer import Trainer

WIDTH, LAYERS, STEPS = 16, 4, 4
LAYER = 8 * (WIDTH * WIDTH + WIDTH)  # bytes in float64


# ---------------------------------------------------------------- what two ranks do


def network() -> nn.ModuleList:
    torch.manual_seed(0)
    return nn.ModuleList(nn.Linear(WIDTH, WIDTH, dtype=torch.float64) for _ in range(LAYERS))


def backward(layers: nn.ModuleList, used, events: list[str]) -> None:
    """Of the layers in ``used``, on other inputs on each rank; notes when the gradient of an output is known."""
    layers.zero_grad()
    x = torch.randn(3, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(parallel.rank() + 1))
    for index in used:
        x = layers[index](x).tanh()
        x.register_hook(lambda _, index=index: events.append(f"layer {index}"))
    x.square().sum().backward()


def gradients(layers: nn.Module) -> dict[str, torch.Tensor | None]:
    return {name: None if p.grad is None else p.grad.clone() for name, p in layers.named_parameters()}


def means(layers: nn.ModuleList, used) -> dict[str, torch.Tensor | None]:
    """Of gradients without an exchange, which each rank then gets from the other."""
    backward(layers, used, [])
    with parallel.together():
        return {
            name: None if mine is None else parallel.gather(mine[None]).mean(dim=0)
            for name, mine in gradients(layers).items()
        }


@contextlib.contextmanager
def noted(events: list[str]):
    """Context in which ``events`` gets what is sent, and where backward ends."""
    send, finish = torch.distributed.all_reduce, exchange._Pass.finish

    def end(current):
        events.append("end")
        return finish(current)

    def sent(flat, **how):
        if how.get("async_op"):  # a loss waits for what it exchanges
            events.append(f"sent {flat.nbytes}")
        return send(flat, **how)

    with mock.patch.object(torch.distributed, "all_reduce", sent), mock.patch.object(exchange._Pass, "finish", end):
        yield


def passes(reverse: bool = False) -> list[dict]:
    """Backward passes through other layers each time; reverse: layers are defined in the other order."""
    exchange.SIZE = LAYER
    layers, found = network(), []
    order = list(layers)[::-1] if reverse else list(layers)
    sending = Exchange([parameter for layer in order for parameter in layer.parameters()])
    for used in (range(LAYERS), range(LAYERS), (0, 2), (0, 2), (0, 1, 2, 3), (1, 3)):
        expected, events = means(layers, used), []
        with noted(events), sending.sending():
            backward(layers, used, events)
        place = {name: _place(p.grad) for name, p in layers.named_parameters() if p.grad is not None}
        found.append({"events": events, "found": gradients(layers), "expected": expected, "place": place})
    return found


def _place(gradient: torch.Tensor) -> tuple[int, int]:
    return gradient.storage_offset(), gradient.untyped_storage().nbytes()


def failed() -> dict:
    """A pass in which backward fails on both ranks after a bucket has gone, and the next one."""
    exchange.SIZE = LAYER
    layers, events = network(), []
    sending, expected = Exchange(list(layers.parameters())), means(layers, range(LAYERS))

    def fail(_):
        raise ValueError("in backward")

    hook = layers[1].weight.register_hook(fail)
    with noted(events), contextlib.suppress(ValueError), sending.sending():
        backward(layers, range(LAYERS), events)
    hook.remove()
    left = [len(p._post_accumulate_grad_hooks or ()) for p in layers.parameters()]
    with sending.sending():
        backward(layers, range(LAYERS), [])
    return {"events": events, "left": left, "found": gradients(layers), "expected": expected}


def kinds() -> dict:
    """Weights in channels_last, of two dtypes, of no dimension, and one without a gradient."""
    exchange.SIZE = 2**20
    torch.manual_seed(0)
    network = nn.ModuleDict({"conv": nn.Conv2d(3, 5, 3), "narrow": nn.Linear(5, 2, dtype=torch.bfloat16)})
    network.to(memory_format=torch.channels_last)
    network.register_parameter("scale", nn.Parameter(torch.ones([])))
    network.register_parameter("idle", nn.Parameter(torch.ones(2)))
    found = []
    for context in (contextlib.nullcontext(), Exchange(list(network.parameters())).sending()):
        network.zero_grad()
        x = torch.ones(2, 3, 4, 4) * (parallel.rank() + 1)
        with context:
            x = network["conv"](x).mean(dim=(2, 3)) * network.scale
            network["narrow"](x.bfloat16()).float().square().sum().backward()
        found.append(gradients(network))
    with parallel.together():
        expected = {name: None if g is None else parallel.gather(g[None]).mean(dim=0) for name, g in found[0].items()}
    strides = {name: (p.stride(), p.grad.stride()) for name, p in network.named_parameters() if p.grad is not None}
    return {"found": found[1], "expected": expected, "strides": strides}


def training(case: str, microbatches: int = 1) -> dict[str, list[list[str]]]:
    """Events of all passes of each phase."""
    exchange.SIZE = 1024
    trainer = Trainer(recipe(case), data(case), CPU, microbatches)
    found = {phase.name: [] for phase in trainer.phases}
    descend = trainer._descend

    def noting(phase, *arguments):
        with noted(events := []):
            descend(phase, *arguments)
        found[phase.name].append(events)

    with mock.patch.object(trainer, "_descend", noting):
        for _ in range(STEPS):
            trainer.advance(measure=False)
    return found


def everything(folder) -> dict:
    return {
        "passes": {reverse: passes(reverse) for reverse in (False, True)},
        "failed": failed(),
        "kinds": kinds(),
        "training": {case: training(case) for case in CASES},
        "pieces": training("stylegan2", 2),
    }


def fails_alone(folder) -> None:
    exchange.SIZE = LAYER
    layers, events = network(), []
    if parallel.rank() == 1:
        layers[0].weight.register_hook(lambda _: events.index("never"))
    with Exchange(list(layers.parameters())).sending():
        backward(layers, range(LAYERS), events)


# ---------------------------------------------------------------- what comes of it


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return start(2, everything, tmp_path_factory.mktemp("pair"))


def assert_means(found, expected):
    assert found.keys() == expected.keys()
    for name, mine in found.items():
        assert (mine is None) == (expected[name] is None), name
        assert mine is None or torch.equal(mine, expected[name]), name


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_means_whichever_came_before(pair, reverse):
    for rank in pair:
        for row in rank["passes"][reverse]:
            assert_means(row["found"], row["expected"])


def test_a_bucket_goes_as_soon_as_its_last_gradient_is_there(pair):
    sent = f"sent {LAYER}"
    for rank in pair:
        first, again, fewer, same, more, others = (row["events"] for row in rank["passes"][False])
        assert first == again == ["layer 3", sent, "layer 2", sent, "layer 1", sent, "layer 0", sent, "end"]
        assert fewer == ["layer 2", "layer 0", "end", sent, sent], "the last layer was awaited"
        assert same == ["layer 2", sent, "layer 0", sent, "end"]
        assert more == ["layer 3", "layer 2", sent, "layer 1", "layer 0", sent, "end", sent, sent]
        assert others == ["layer 3", sent, "layer 1", "end", sent], "layer 2 was awaited"


def test_layers_that_are_defined_in_another_order(pair):
    """In the first pass the first layer holds up the others; from the second on they go as they come."""
    sent = f"sent {LAYER}"
    for rank in pair:
        first, again = (row["events"] for row in rank["passes"][True][:2])
        assert first == ["layer 3", "layer 2", "layer 1", "layer 0", sent, sent, sent, sent, "end"]
        assert again == ["layer 3", sent, "layer 2", sent, "layer 1", sent, "layer 0", sent, "end"]


def test_the_place_of_a_gradient_does_not_depend_on_the_others(pair):
    """Nor on what came before: it decides in which order more than two ranks add up."""
    full, *others = (row["place"] for row in pair[0]["passes"][False])
    assert all(places.items() <= full.items() for places in others)


def test_after_an_error_in_backward_nothing_is_left(pair):
    for rank in pair:
        assert rank["failed"]["events"] == ["layer 3", f"sent {LAYER}", "layer 2", f"sent {LAYER}", "layer 1"]
        assert rank["failed"]["left"] == [0] * 2 * LAYERS
        assert_means(rank["failed"]["found"], rank["failed"]["expected"])


def test_an_error_of_one_rank_ends_both(tmp_path):
    """By an exit code, whichever is seen to end first, and not by a signal."""
    begin = time.monotonic()
    with pytest.raises((ProcessRaisedException, ProcessExitedException)) as error:
        start(2, fails_alone, tmp_path)
    if isinstance(error.value, ProcessExitedException):
        assert (error.value.error_index, error.value.exit_code) == (0, 1)
    else:
        assert "'never' is not in list" in str(error.value)
    assert time.monotonic() - begin < 120


def test_gradients_keep_dtypes_and_strides(pair):
    for rank in pair:
        assert_means(rank["kinds"]["found"], rank["kinds"]["expected"])
        assert rank["kinds"]["found"]["idle"] is None
        assert {its for its, _ in rank["kinds"]["strides"].values()} >= {(27, 1, 9, 3), ()}
        assert all(its == mine for its, mine in rank["kinds"]["strides"].values())


@pytest.mark.parametrize("case", CASES)
def test_all_gradients_of_a_variant_have_gone_when_backward_ends(pair, case):
    """From the second pass on: also of penalties, which have none for some layers, where batch norm exchanges in
    between, and after a level of a growing network has come, the pass in which it comes apart."""
    for rank in pair:
        for phase, (_, *later) in rank["training"][case].items():
            late = [events for events in later if events[-1] != "end"]
            assert all(len(events) > 2 for events in later) and len(late) <= (case == "progan"), phase
        assert len(rank["training"][case]["G"]) > 2


def test_pieces_are_added_up_before_they_go(pair):
    for rank in pair:
        assert rank["pieces"] == rank["training"]["stylegan2"]


def test_one_rank_sends_nothing():
    layers, events = network(), []
    with noted(events), Exchange(list(layers.parameters())).sending():
        assert all(parameter._post_accumulate_grad_hooks is None for parameter in layers.parameters())
        backward(layers, range(LAYERS), events)
    assert events == ["layer 3", "layer 2", "layer 1", "layer 0"]


def test_buckets(monkeypatch):
    monkeypatch.setattr(exchange, "SIZE", 40)
    sizes = [(3, torch.float32), (6, torch.float32), (5, torch.float32), (1, torch.float64), (20, torch.float32)]
    parameters = [nn.Parameter(torch.zeros(size, dtype=dtype)) for size, dtype in sizes]
    found = [[next(i for i, p in enumerate(parameters) if p is mine) for mine in each] for each in buckets(parameters)]
    assert found == [[4], [3], [2, 1], [0]]
    assert buckets([]) == []
