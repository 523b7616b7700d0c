"""Start the ranks of a training: one process a GPU, on one node or on several nodes of a Slurm job.

Started by torchrun instead, a process is a rank (`gan.parallel.launched`) and starts none.
"""

import os
import runpy
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from gan import slurm
from gan.errors import GanError
from gan.runtime import Runtime
from gan.train.signals import StopSignals

PROGRAM = ("gan", "run")
POLL = 0.5  # s between two looks for a signal
GRACE = 20.0  # s that ranks have to notice that another one has died, and again after SIGTERM
IDENTITY = ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CONF", "SLURM_CLUSTER_NAME")
PORTS = range(20000, 30000)  # below those that systems give out by themselves


def launch(arguments: Sequence[str], runtime: Runtime, endpoint: str | None, stop: StopSignals) -> int:
    """Run ``gan run`` with ``arguments`` in ``runtime.gpus`` ranks, and return the exit code of the first
    that ends otherwise than with 0, or 0.

    endpoint: host:port of rank 0; None on one node, and on several until srun has started this program on each of them:
    then this call does not return. srun must be no part of a job step, which gets signals: at SIGTERM it kills what it
    has started. Device cpu lets processes without GPUs train. A signal that ``stop`` notes is passed on once, as
    SIGTERM, and ranks have all the time that they need to save. `GanError` if there are not that many GPUs, and if a
    rank is killed.
    """
    gpus, nodes = runtime.gpus, runtime.nodes
    if nodes > 1 and endpoint is None:
        _srun(arguments, nodes)
    each, node = gpus // nodes, int(os.environ.get("SLURM_NODEID", "0")) if nodes > 1 else 0
    if runtime.device != "cpu" and torch.cuda.device_count() < each:
        raise GanError(
            f"resources.train.gpu asks for {each} GPUs on a machine, torch sees {torch.cuda.device_count()} here; "
            f"ask for fewer, or name the device cpu"
        )
    host, port = endpoint.rsplit(":", 1) if endpoint else ("127.0.0.1", str(_free_port()))
    world = {"WORLD_SIZE": str(gpus), "LOCAL_WORLD_SIZE": str(each), "MASTER_ADDR": host, "MASTER_PORT": port}
    return _wait(start_processes(_rank, (list(arguments), node * each, world), each, join=False), stop)


def _rank(local: int, arguments: list[str], first: int, world: dict[str, str]) -> None:
    os.environ.update(world | {"RANK": str(first + local), "LOCAL_RANK": str(local)})
    module, *words = PROGRAM
    sys.argv = [module, *words, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _wait(ranks, stop: StopSignals) -> int:
    told = False
    try:
        while not ranks.join(POLL, GRACE):
            if stop.signum and not told:
                told = True
                for pid in ranks.pids():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)
    except ProcessRaisedException as error:
        print(error, file=sys.stderr)
        return 1
    except ProcessExitedException as error:
        if error.exit_code > 0:
            return error.exit_code
        if stop.signum:  # it had not come to the point where it saves
            return 128 + stop.signum
        raise GanError(
            f"process {error.error_index} of this machine was ended by {error.signal_name}; if memory ran out, raise "
            f"resources.train.mem_mb; run again to resume from the last checkpoint"
        ) from None
    return 0


def _srun(arguments: Sequence[str], nodes: int) -> None:
    """Become srun, which starts this program once on each node."""
    port = PORTS[int(slurm.job_id() or 0) % len(PORTS)]
    step = ["--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--cpu-bind=none"]
    command = [sys.executable, "-m", *PROGRAM, *arguments, "--endpoint", f"{slurm.first_node()}:{port}"]
    # drop SLURM_* of the enclosing step: this step requests its own resources
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_") or name in IDENTITY}
    sys.stderr.flush()
    os.execvpe("srun", ["srun", *step, "--kill-on-bad-exit=1", *command], kept)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
