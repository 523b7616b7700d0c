"""One function over many subjects: several processes, results in order, all errors together."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from tqdm import tqdm

from gan.errors import GanError

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 2  # unfinished tasks per worker: what is held in memory does not grow with their number
NAMED = 3  # errors spelled out in a message about many


def ordered(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int, label: str, unit: str = "subject"
) -> Iterator[Result]:
    """Yield ``function(task)`` in the order of ``tasks``, with a progress bar.

    A `GanError` of a task does not stop the others: when all are done, one `GanError` names the first of them and
    counts the rest. After an error nothing more is yielded.
    """
    errors: list[GanError] = []
    with tqdm(total=len(tasks), desc=label, unit=unit, smoothing=0.1) as bar:
        for result in _results(function, tasks, workers):
            bar.update()
            if isinstance(result, GanError):
                errors.append(result)
            elif not errors:
                yield result
    if errors:
        raise together(errors, len(tasks), unit)


def together(errors: Sequence[GanError], total: int, unit: str) -> GanError:
    """One line for several errors: the first by name, the count of the rest."""
    if len(errors) == 1:
        return errors[0]
    rest = len(errors) - NAMED
    named = "; ".join(map(str, errors[:NAMED]))
    return GanError(f"{len(errors)} of {total} {unit}s fail: {named}" + (f"; and {rest} more" if rest > 0 else ""))


def _results(function: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result | GanError]:
    if workers <= 1 or len(tasks) <= 1:
        yield from (_attempt(function, task) for task in tasks)
        return
    # Forked, since a spawned process would import the calling script again, and scripts of workflows have no guard.
    context = multiprocessing.get_context("fork")
    remaining = iter(tasks)
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context) as pool:
        pending: deque[Future] = deque(
            pool.submit(_attempt, function, task) for task in islice(remaining, AHEAD * workers)
        )
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(_attempt, function, task) for task in islice(remaining, 1))
                yield result
        except BrokenProcessPool as error:
            raise GanError("a worker was killed, probably out of memory; give the job more or fewer threads") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _attempt(function: Callable[[Task], Result], task: Task) -> Result | GanError:
    try:
        return function(task)
    except GanError as error:
        return error
