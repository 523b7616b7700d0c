"""Neural style transfer: the values of an image's feature maps from one image, their Gram matrices from another.

Gatys, Ecker and Bethge, CVPR 2016. Feature maps F_l [N_l, M_l] are divided by their mean size over training images, a
number a map, which is the paper's rescaling of the weights: ReLU and pooling keep it.

    content   L_c = 1/2 sum (F_l - P_l)^2                                     (equation 1)
    style     E_l = sum (G_l - A_l)^2 / (4 N_l^2 M_l^2), G_l = F_l F_l^T      (equations 3 and 4), L_s = mean of the E_l
    total     content_weight L_c + style_weight L_s                           (equation 7)

An image has an optimisation of its own, so that it depends on the seed and its index alone, and a training image that
no other one has.
"""

import math
import statistics
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gan.errors import GanError
from gan.families.contract import Dataset, Encoder, Given, Images, ImageShape, Made
from gan.families.style.options import StyleOptions
from gan.files import atomic_path
from gan.nn.album import Derived

SCALED_BY = 256  # training images at most, evenly chosen, whose mean sets the scale of the feature maps
SMALLEST = 0.01  # of the mean over the maps of a layer: a map that is hardly ever active is scaled as if it had that
HISTORY = 100  # of L-BFGS
STALLED = 1e-6  # change of the loss, as a fraction of its start, at which L-BFGS ends


class Style(Made):
    """See the module."""

    request = Images

    @staticmethod
    def build_kept(options: StyleOptions, shape: ImageShape) -> Derived:
        return Derived(shape.channels, shape.size)

    @staticmethod
    def make(options: StyleOptions, dataset: Dataset, given: Given) -> Derived:
        """See `Made.make`. The mask, if the data set has one as a channel, is that of the content."""
        if given.draw is None or given.encoder is None:
            raise GanError("style transfer needs the generator of the variant it works on, and an encoder")
        if options.n > len(dataset):
            raise GanError(
                f"option n is {options.n}, but there are {len(dataset)} training images; lower it to as many"
            )
        chosen = np.random.default_rng([given.seed, 4]).permutation(len(dataset))[: options.n]
        batch = dataset.batch(chosen)
        others = given.draw(batch).to(batch.real).clamp(-1, 1)
        if not torch.isfinite(others).all():
            raise GanError(f"{options.of} makes NaN or infinite values; its training diverged, see its stats.jsonl")
        contents, styles = (batch.real, others) if options.content == "real" else (others, batch.real)
        transfer = Transfer(options, given.encoder, dataset)
        found = [
            transfer.kept(contents[i], styles[i], given.seed, i, given.kept) for i in _counted(options.n, given.check)
        ]
        print(_summary([fate for _, fate in found], options), file=sys.stderr)
        kept = Style.build_kept(options, dataset.shape)
        classes = batch.labels.argmax(1).cpu() if batch.labels.shape[1] else torch.zeros(options.n, dtype=torch.int64)
        kept.fill(torch.stack([image for image, _ in found]), classes)
        rows = torch.from_numpy(chosen) if options.content == "real" else torch.full((options.n,), -1)
        kept.derive(contents.cpu(), rows)
        return kept

    @staticmethod
    def draw(kept: Derived, request: Any) -> Tensor:
        return kept(request.indices)


class Fate(NamedTuple):
    """evaluations: of the loss with its gradient; first, last: its value at the start and at the end."""

    evaluations: int
    first: float
    last: float


class Transfer:
    """Style transfer of single images, with the feature maps of ``encoder`` on the scale of the training images."""

    def __init__(self, options: StyleOptions, encoder: Encoder, dataset: Dataset):
        if len(dataset.shape.size) != 2:
            raise GanError("style transfer is for slices; leave the variant out of studies of volumes")
        self.options, self.encoder = options, encoder
        self.content = options.content_layers or encoder.content
        self.style = options.style_layers or encoder.style(dataset.shape.size)
        if unknown := [name for name in (*self.content, *self.style) if name not in encoder.names]:
            raise GanError(
                f"options content_layers and style_layers name {unknown[0]!r}; {options.features} has "
                f"{', '.join(encoder.names)} at this size"
            )
        self.grey = dataset.shape.channels - dataset.shape.masks
        self.scales = self._scales(dataset)

    def kept(self, content: Tensor, style: Tensor, seed: int, index: int, folder: Path | None) -> tuple[Tensor, Fate]:
        """Image ``index`` [C, H, W] on the CPU, from the file in ``folder`` if an earlier attempt has left one."""
        path = None if folder is None else folder / f"{index:05d}.npz"
        if path is not None and (known := _read(path)):
            return known
        image, fate = self(content, style, start=self._start(content, seed, index))
        if path is not None:
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, image=image.numpy(), fate=np.array(fate))
        return image, fate

    def __call__(self, content: Tensor, style: Tensor, start: Tensor) -> tuple[Tensor, Fate]:
        """The image [C, H, W] in [-1, 1], on the CPU, with the values of ``content`` and the Gram matrices of
        ``style``, which begins as ``start``."""
        loss = self.loss(content[: self.grey], style[: self.grey])
        with exact():
            image, fate = descend(loss, start[: self.grey], self.options)
        return torch.cat([image.clamp(-1, 1), content[self.grey :]]).cpu(), fate

    def loss(self, content: Tensor, style: Tensor) -> Callable[[Tensor], Tensor]:
        """The total loss as a function of an image [C, H, W]: a sum over its contrasts, which do not see each other."""
        weights = (self.options.content_weight, self.content), (self.options.style_weight, self.style)
        (alpha, contents), (beta, styles) = ((weight, names if weight else ()) for weight, names in weights)
        with exact(), torch.no_grad():
            values = self._maps(content, contents)
            grams = {name: gram(maps) for name, maps in self._maps(style, styles).items()}

        def total(image: Tensor) -> Tensor:
            maps = self._maps(image, [*contents, *styles])
            found = image.new_zeros(())
            for name in contents:
                found = found + alpha / 2 * (maps[name] - values[name]).square().sum()
            for name in styles:
                error = (gram(maps[name]) - grams[name]).square().mean((1, 2)).sum() / 4
                found = found + beta / len(styles) * error
            return found

        return total

    def _maps(self, image: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Scaled maps [C, N, h, w] of an image [C, H, W]."""
        found = self.encoder(image[:, None], names, self.options.pool)
        return {name: maps * self.scales[name] for name, maps in found.items()}

    def _scales(self, dataset: Dataset) -> dict[str, Tensor]:
        """What each map [1, N, 1, 1] is multiplied with: 1 over its mean size in training images."""
        names = tuple(dict.fromkeys([*self.content, *self.style]))
        sums: dict[str, Tensor] = {}
        rows = np.unique(np.linspace(0, len(dataset) - 1, min(SCALED_BY, len(dataset))).round().astype(np.int64))
        with exact(), torch.no_grad():
            for row in rows:
                images = dataset.batch(np.array([row])).real[0, : self.grey, None]
                for name, maps in self.encoder(images, names, self.options.pool).items():
                    found = maps.abs().mean((0, 2, 3), dtype=torch.float64)
                    sums[name] = sums[name] + found if name in sums else found
        means = {name: found / len(rows) for name, found in sums.items()}
        sizes = {name: found.clamp(min=max(SMALLEST * float(found.mean()), 1e-12)) for name, found in means.items()}
        return {name: (1 / size).float().reshape(1, -1, 1, 1) for name, size in sizes.items()}

    def _start(self, content: Tensor, seed: int, index: int) -> Tensor:
        if self.options.start == "content":
            return content
        random = np.random.default_rng([seed, 5, index])
        return torch.from_numpy(random.normal(0, 0.5, tuple(content.shape)).astype(np.float32)).to(content.device)


def gram(maps: Tensor) -> Tensor:
    """Mean products [C, N, N] of maps [C, N, h, w] over their positions: equation 3 divided by the positions M."""
    flat = maps.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def descend(loss: Callable[[Tensor], Tensor], start: Tensor, options: StyleOptions) -> tuple[Tensor, Fate]:
    """The image at the end of the descent of ``loss`` from ``start``, not clamped.

    The loss is divided by its start, so that a stall means the same for every image and scale. `GanError` if it is not
    finite.
    """
    image = start.detach().clone()
    first = float(loss(image))
    if first == 0:
        return image, Fate(0, 0.0, 0.0)
    image.requires_grad_(True)
    seen: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(image) / first
        value.backward()
        seen.append(float(value.detach()))
        if not math.isfinite(seen[-1]):
            other = "lower option lr" if options.optimizer == "adam" else "take option optimizer: adam"
            raise GanError(f"the loss of style transfer is {seen[-1]} after {len(seen)} evaluations; {other}")
        return value.detach()

    if options.optimizer == "lbfgs":
        given: dict[str, Any] = {"max_iter": options.steps, "max_eval": options.steps, "history_size": HISTORY}
        given |= {"tolerance_change": STALLED, "tolerance_grad": 0.0, "line_search_fn": "strong_wolfe"}
        optimizer = torch.optim.LBFGS([image], **given)
        optimizer.step(closure)  # type: ignore[arg-type]
    else:
        optimizer = torch.optim.Adam([image], lr=options.lr)
        for _ in range(options.steps):
            optimizer.step(closure)  # type: ignore[arg-type]
    return image.detach(), Fate(len(seen), first, float(loss(image.detach())))


def exact() -> Any:
    """Context of float32 arithmetic that repeats itself on a GPU."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _counted(n: int, check: Callable[[], None]) -> Any:
    for index in tqdm(range(n), desc="style transfer", unit="image", file=sys.stderr):
        check()
        yield index


def _read(path: Path) -> tuple[Tensor, Fate] | None:
    """An image that `Transfer.kept` has written; None without, or if the file is broken."""
    try:
        with np.load(path, allow_pickle=False) as file:
            evaluations, first, last = file["fate"].tolist()
            return torch.from_numpy(file["image"]), Fate(int(evaluations), first, last)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _summary(fates: Sequence[Fate], options: StyleOptions) -> str:
    left = statistics.median(fate.last / fate.first if fate.first else 0.0 for fate in fates)
    spent = statistics.median(fate.evaluations for fate in fates)
    stalled = sum(fate.evaluations < options.steps for fate in fates)
    return (
        f"style transfer: {len(fates)} images; medians: {spent:g} evaluations, the loss fell to {left:.3g} of its "
        f"start; {stalled} stalled before {options.steps}"
    )
