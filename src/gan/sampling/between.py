"""Between samples: grids of mixed styles and of interpolated latents."""

import sys

import torch
from torch import Tensor
from tqdm import tqdm

from gan.errors import GanError
from gan.families.contract import Latents
from gan.masks import collapse
from gan.nn import Generator
from gan.sampling.snapshot import Snapshot
from gan.sampling.tasks import latents
from gan.sampling.write import finite


def mixing_grid(
    snapshot: Snapshot, n: int, seed: int, classes: Tensor, truncation: float, crossover: int | None
) -> Tensor:
    """Style mixing (Karras et al. 2019, figure 3): [(rows + 1) * (columns + 1), C, H, W], row by row, the corner black.

    The first n // 2 samples are in the first column and give their coarse styles (layers below ``crossover``, half of
    them by default) to their row; the others are in the first row and give the rest to their column.
    """
    network = snapshot.network
    if not isinstance(network, Generator):
        raise GanError(f"--mix: a generator of the family {snapshot.family} has no styles; use one of stylegan2")
    if n < 2:
        raise GanError(f"--mix needs at least 2 samples, --n is {n}")
    layers = network.synthesis.layers
    crossover = layers // 2 if crossover is None else crossover
    if not 0 < crossover < layers:
        raise GanError(f"--crossover is {crossover}; this generator has {layers} layers, allowed: 1 to {layers - 1}")
    z, _ = latents(snapshot, n, seed)
    with torch.no_grad():
        w = network.mapping(z.to(snapshot.device), snapshot.one_hot(classes), truncation)
        styles = network.broadcast(w)

    def draw(ws: Tensor) -> Tensor:
        with torch.no_grad(), snapshot.noise(seed, 0):
            return collapse(network.synthesis(ws[None]).float().cpu(), snapshot.shape.masks)[0]

    rows, columns = styles[: n // 2], styles[n // 2 :]
    cells = [torch.full((snapshot.shape.shown, *snapshot.shape.size), -1.0), *map(draw, columns)]
    for row in tqdm(rows, desc="mix", disable=not sys.stderr.isatty()):
        cells += [draw(row), *(draw(torch.cat([row[:crossover], column[crossover:]])) for column in columns)]
    return finite(torch.stack(cells))


def interpolation_grid(snapshot: Snapshot, n: int, seed: int, classes: Tensor, truncation: float, steps: int) -> Tensor:
    """Ways from each of ``n`` samples to the next, ``steps`` images between them: [(n - 1) * (steps + 2), C, H, W].

    A row is a great circle between two latents (White 2016), at the class of its left end; noise inputs stay the same.
    """
    if n < 2 or steps < 1:
        raise GanError(f"--interpolate needs at least 2 samples and 1 step, --n is {n} and the steps are {steps}")
    z, _ = latents(snapshot, n, seed)
    cells = []
    for left in tqdm(range(n - 1), desc="interpolate", disable=not sys.stderr.isatty()):
        for part in torch.linspace(0, 1, steps + 2).tolist():
            latent = slerp(z[left], z[left + 1], part)[None].to(snapshot.device)
            request = Latents(latent, snapshot.one_hot(classes[left : left + 1]), truncation)
            cells.append(snapshot.render(request, seed, 0)[0])
    return finite(torch.stack(cells))


def slerp(start: Tensor, end: Tensor, part: float) -> Tensor:
    """The point at ``part`` (0..1) of the way from ``start`` to ``end``, turning at an even rate."""
    cosine = torch.dot(start, end) / (start.norm() * end.norm())
    angle = torch.arccos(cosine.clamp(-1, 1))
    if float(angle) < 1e-4:
        return start.lerp(end, part)
    return (torch.sin((1 - part) * angle) * start + torch.sin(part * angle) * end) / torch.sin(angle)
