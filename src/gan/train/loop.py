"""The one loop that trains every variant: steps, statistics, snapshots and checkpoints until the kimg are seen."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gan import parallel
from gan.errors import GanError
from gan.families.contract import Dataset
from gan.files import write_json
from gan.grids import write_grid
from gan.sampling.grid import Grid
from gan.sampling.snapshot import Snapshot, save_generator
from gan.study import run_key
from gan.train import outputs
from gan.train.checkpoint import clean, load_checkpoint, save_checkpoint
from gan.train.cost import Cost, CostMeter
from gan.train.fit import require_memory
from gan.train.lock import locked
from gan.train.machine import Machine
from gan.train.outputs import Paths
from gan.train.progress import Progress, title
from gan.train.resume import changes, circumstances
from gan.train.schedule import Schedule, stem
from gan.train.signals import Stopped, StopSignals
from gan.train.stats import StatsFile
from gan.train.trainer import Trainer
from gan.train.transfer import load_weights, save_weights, transfer

Emit = Callable[[dict[str, Any]], None]
OnSnapshot = Callable[[float, Path], dict[str, float] | None]


def train(
    recipe: dict[str, Any],
    dataset: Dataset,
    paths: Paths,
    machine: Machine | None = None,
    *,
    shown: Dataset | None = None,
    emit: Emit | None = None,
    on_snapshot: OnSnapshot | None = None,
    stop: StopSignals | None = None,
) -> Cost:
    """Train ``recipe`` on ``dataset``, resuming from the checkpoint if there is one, and return the cost.

    A finished run is not repeated: its outputs are linked again. While another process trains the same run, this one
    waits. shown: the images of the pictures, by default those of ``dataset``; emit: gets every row of the statistics;
    on_snapshot(kimg, path): gets every snapshot, as soon as it is on disk; a file that it writes next to ``path`` is an
    output too, and the scores that it returns become a row. stop: of a caller that watches for signals longer than the
    training lasts. With more than one rank (`gan.parallel`) all call it; only rank 0 writes, emits and calls
    ``on_snapshot``, and the others only read the checkpoints and the weights that the recipe starts from.

    Raises `Stopped` after SIGTERM or SIGINT to any rank, on all of them, with the state saved; `GanError` if the
    checkpoint is of another recipe or broken, the disk is full, or the training diverges.
    """
    with contextlib.nullcontext(stop) if stop else StopSignals() as stop, _owned(paths.checkpoints, stop):
        if cost := parallel.from_first(_reopened(recipe, paths)):
            return cost
        run = _Run(recipe, dataset, paths, machine or Machine(), shown or dataset, emit, on_snapshot)
        try:
            run.start()
            while run.trainer.step < run.schedule.steps:
                asked = stop.poll()
                run.advance()
                if signum := asked():
                    if not run.schedule.is_checkpoint(run.trainer.step):
                        run.save()
                    raise Stopped(signum, f"stopped at {run.kimg:g} kimg, state saved; run again to resume")
            return run.finish()
        finally:
            run.close()


@contextlib.contextmanager
def _owned(checkpoints: Path, stop: StopSignals) -> Iterator[None]:
    """Context in which rank 0 holds the lock on ``checkpoints``, cleaned up; a signal before that stops all ranks."""
    with contextlib.ExitStack() as stack:
        try:
            if parallel.rank() == 0:
                stack.enter_context(locked(checkpoints, stop))
                clean(checkpoints)
        finally:
            signum = stop.poll()()
        if signum and parallel.world() > 1:
            raise Stopped(signum, "stopped before the training began; no state to save")
        yield


def _reopened(recipe: dict[str, Any], paths: Paths) -> Cost | None:
    """The cost of a finished run, whose outputs rank 0 links again; None otherwise."""
    cost = outputs.reopen(paths.checkpoints, paths.cell, recipe["training"]["kimg"]) if parallel.rank() == 0 else None
    if cost:
        said = f"was trained already, its outputs are in {paths.checkpoints}; delete that folder to train it again"
        print(said, file=sys.stderr)
    return cost


class _Run:
    """All ranks call the same methods together; rank 0 writes."""

    def __init__(
        self,
        recipe: dict[str, Any],
        dataset: Dataset,
        paths: Paths,
        machine: Machine,
        shown: Dataset,
        emit: Emit | None,
        on_snapshot: OnSnapshot | None,
    ):
        self.recipe, self.dataset, self.key = recipe, dataset, run_key(recipe)
        self.folder, self.checkpoints = paths.cell, paths.checkpoints
        self.emit, self.on_snapshot, self.writes = emit, on_snapshot, parallel.rank() == 0
        runtime, device = machine.runtime, machine.device
        self.schedule = Schedule.of(recipe["training"], runtime.checkpoint_kimg)
        # The whole state: what a checkpoint holds, or else the seed and the weights that the recipe starts from.
        saved, warning = load_checkpoint(paths.checkpoints, self.key) or (None, None)
        weights = None if saved else load_weights(recipe, paths.init_from)
        self.cost = CostMeter(device, saved["cost"] if saved else None)
        self.circumstances = circumstances(device, runtime.microbatches)
        self.trainer = Trainer(recipe, dataset, device, runtime.microbatches, machine.graphs)
        self.stats = StatsFile(paths.checkpoints / "stats.jsonl")
        self.grid = Grid(shown, recipe["seed"])
        if saved:
            self.trainer.load_state_dict(saved["trainer"])
        require_memory(self.trainer)
        start = self.trainer.step
        self._saved = self.kimg
        # Statistics and log of the start.
        if self.writes:
            self.stats.cut(start if saved else -1)
        self.progress = Progress(recipe["training"]["kimg"], self.kimg, title(recipe), self.writes)
        if self.trainer.precision == "tf32" and device.type == "cpu":
            self._event("precision", "tf32 needs a GPU; this CPU run uses fp32")
        for event, message in machine.warnings:
            self._event(event, message)
        if weights:
            said = transfer(self.trainer, weights)
            self._event("transferred", said, say=False)
            self.progress.say(said)
        if saved:
            self.progress.say(f"resuming at {self.kimg:g} kimg from {paths.checkpoints}")
            for event, message in changes(saved, self.circumstances):
                self._event(event, message)
        if warning:
            self._event("checkpoint_broken", warning)
        self.trainer.require_equal()
        self._since = time.perf_counter(), start

    @property
    def kimg(self) -> float:
        return self.schedule.kimg(self.trainer.step)

    def start(self) -> None:
        """Bring ``folder`` to where the checkpoint is; a new run takes its snapshot of the untrained generator."""
        if self.writes:
            self._show()
        if self.trainer.step == 0:
            self.snapshot()

    def _show(self) -> None:
        write_json(self.checkpoints / "recipe.json", self.recipe)
        write_grid(
            self.checkpoints / "real.png", self.grid.real.numpy(), self.grid.columns, self._snapshot().mask_labels
        )
        for step, kimg in self.schedule.snapshots.items():
            for suffix in (".pt", ".png"):
                path = self.checkpoints / f"snapshots/{stem(kimg)}{suffix}"
                if 0 < self.trainer.step >= step and not path.exists():
                    raise GanError(
                        f"{path}: missing, though the checkpoint there is later; put it back, or delete "
                        f"{self.checkpoints} to train from the start"
                    )
        outputs.clear(self.folder)
        outputs.show(self.checkpoints, self.folder)

    def advance(self) -> None:
        """One step, and what is due after it. The checkpoint is last, so its content is checked and written before."""
        step = self.trainer.step + 1
        self.trainer.advance(measure=self.schedule.before_tick(step) < self.trainer.pace)
        if self.schedule.is_tick(step):
            self._row()
        began = time.perf_counter()
        if step in self.schedule.snapshots:
            self.snapshot()
        if self.schedule.is_checkpoint(step):
            self.save()
        self._since = self._since[0] + time.perf_counter() - began, self._since[1]

    def snapshot(self) -> None:
        """The moving average as a file, and a grid of its samples from latents that stay the same over the run."""
        self.trainer.require_finite(self.kimg, {})
        if self.writes:
            self._draw(self.trainer.step)
        parallel.wait()

    def _draw(self, step: int) -> None:
        snapshot = self._snapshot()
        name = f"snapshots/{stem(self.schedule.snapshots[step])}"
        fake, picture = self.grid.draw(snapshot)
        write_grid(
            *(self.checkpoints / f"{name}.png", picture.numpy(), self.grid.columns, snapshot.mask_labels),
            text=self.grid.mark(snapshot),
        )
        save_generator(self.checkpoints / f"{name}.pt", snapshot)
        outputs.show(self.checkpoints, self.folder)
        if step > 0:
            alike = {"samples/ms_ssim": self.grid.similarity(fake), "samples/ms_ssim_real": self.grid.similarity_real}
            self._report(alike)
        if self.on_snapshot:
            with self.cost.paused():
                scores = self.on_snapshot(self.kimg, self.checkpoints / f"{name}.pt")
            if scores:
                self._report(scores)
            outputs.show(self.checkpoints, self.folder)

    def save(self) -> None:
        """Save the whole state as a checkpoint, unless the training or its ranks have diverged."""
        self._require_finite(self.trainer.meter.peek())
        self.trainer.require_equal()
        state = {
            "trainer": self.trainer.state_dict(),
            "cost": self.cost.state_dict(),
            **self.circumstances,
        }
        if self.writes:
            self.stats.sync()
            outputs.show(self.checkpoints, self.folder)
            save_checkpoint(self.checkpoints, self.key, state)
        parallel.wait()
        self._saved = self.kimg

    def finish(self) -> Cost:
        """Link the last snapshot as ``generator.pt``, and all outputs, even if the folder was cleared meanwhile."""
        cost = self.cost.now()
        if self.writes:
            save_weights(self.checkpoints / outputs.WEIGHTS, self.trainer, self.recipe, self.key, self.kimg)
            outputs.close(self.checkpoints, self.folder, self.schedule.snapshots[self.schedule.steps], cost)
        return cost

    def close(self) -> None:
        self.stats.close()
        self.progress.close()

    def _row(self) -> None:
        means = self.trainer.meter.read()
        self._require_finite(means)
        now, (since, step) = time.perf_counter(), self._since
        shown = {name: value for name, value in means.items() if not name.startswith("phase/")}
        row: dict[str, Any] = {"kimg": self.kimg} | shown
        row["speed/s_per_kimg"] = (now - since) / max(self.schedule.kimg(self.trainer.step - step), 1e-9)
        cost = self.cost.now()
        row["memory/peak_gb"] = (cost.peak_gpu_mem_mb or cost.peak_mem_mb) / 1024
        row |= {f"cost/{name}_h": getattr(cost, f"{name}_s") / 3600 for name in ("wall", "cpu", "gpu")}
        row["resumed"] = cost.resumed
        self._since = now, self.trainer.step
        self.progress.row(row)
        self._report(row)

    def _report(self, row: dict[str, Any]) -> None:
        """Write a row of the statistics and its warnings."""
        self._write(self._stamp() | row)
        for event, message in self.trainer.watch.row(row):
            self._event(event, message)

    def _require_finite(self, means: dict[str, float]) -> None:
        try:
            self.trainer.require_finite(self.kimg, means)
        except GanError as error:
            self._event("diverged", str(error), say=False)
            raise

    def _event(self, event: str, message: str, say: bool = True) -> None:
        self._write(self._stamp() | {"event": event, "message": message})
        if say:
            self.progress.say(f"warning at {self.kimg:g} kimg: {message}")

    def _write(self, row: dict[str, Any]) -> None:
        if not self.writes:
            return
        self.stats.append(row)
        if self.emit:
            self.emit(row)

    def _stamp(self) -> dict[str, Any]:
        return {
            **{"kimg": self.kimg, "step": self.trainer.step, "time": round(time.time(), 3)},
            "saved_kimg": self._saved,
        }

    def _snapshot(self) -> Snapshot:
        return Snapshot.of(self.recipe, self.trainer.ema, self.dataset, self.kimg)
