"""Training of one arm: the same network, steps, batch, schedule and augmentation whatever the images are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from gan.scales import HALF
from gan.utility.images import Labelled
from gan.utility.network import Classifier, Segmenter
from gan.utility.options import ORDER, SEGMENT, Settings

RATES = {Segmenter: 1e-2, Classifier: 3e-3}  # of AdamW, the largest of the one-cycle schedule
DECAY = 1e-4
ROWS = 64  # images at a time, where nothing is trained
TURN, SCALE, SHIFT = 10.0, 0.1, 0.05  # of augmentation at most: degrees, factor, share of a side
GAIN, OFFSET = 0.1, 0.1  # of grey values; the offset on the scale -1..1


@dataclass(frozen=True)
class Made:
    """How a network is built. outputs: labels of the mask with the background, classes, or 1
    position."""

    task: str
    inputs: int
    outputs: int
    width: int

    def build(self) -> Segmenter | Classifier:
        kind = Segmenter if self.task == SEGMENT else Classifier
        return kind(self.inputs, self.outputs, self.width)


def train(
    made: Made, sources: Sequence[tuple[Labelled, float]], settings: Settings, seed: int, device: torch.device
) -> nn.Module:
    """A network trained on ``sources``: images, and their share of each batch.

    First weights, draws and augmentation depend on ``seed`` alone; the last weights are kept, no split chooses among
    them. On a CPU equal arguments give equal bytes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = made.build().to(device)
    random = torch.Generator().manual_seed(seed)
    rate = RATES[type(network)]
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=settings.steps + 1, pct_start=0.2)
    counts = shares([share for _, share in sources], settings.batch)
    loss_of = LOSSES.get(made.task, classification_loss)
    network.train()
    for _ in tqdm(range(settings.steps), desc=made.task, unit="step", leave=False):
        parts = [_draw(images, count, random) for (images, _), count in zip(sources, counts, strict=True) if count]
        pixels, masks, classes, positions = (torch.cat(part) for part in zip(*parts, strict=True))
        pixels, masks = augmented(pixels, masks, random)
        target = {SEGMENT: masks, ORDER: positions}.get(made.task, classes)
        loss = loss_of(network(pixels.to(device)), target.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def shares(wanted: Sequence[float], batch: int) -> list[int]:
    """How many images of a batch each source gives: the shares to the nearest whole number, ``batch`` together."""
    ends = [round(sum(wanted[: place + 1]) * batch) for place in range(len(wanted))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy, and 1 less the soft Dice coefficient of each label in the batch, the mean over labels but 0.

    logits: [N, L, H, W]; masks: int64 [N, H, W].
    """
    true = functional.one_hot(masks, logits.shape[1]).movedim(-1, 1).to(logits.dtype)[:, 1:]
    found = logits.softmax(1)[:, 1:]
    both, total = (found * true).sum((0, 2, 3)), (found + true).sum((0, 2, 3))
    return functional.cross_entropy(logits, masks) + 1 - ((2 * both + 1) / (total + 1)).mean()


def classification_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of logits [N, K]."""
    return functional.cross_entropy(logits, classes)


def position_loss(found: Tensor, positions: Tensor) -> Tensor:
    """The mean squared error of positions [N, 1]."""
    return functional.mse_loss(found[:, 0], positions)


LOSSES = {SEGMENT: segmentation_loss, ORDER: position_loss}  # of other tasks `classification_loss`


def predict(network: nn.Module, pixels: NDArray[np.uint8], device: torch.device) -> NDArray[np.float32]:
    """The logits of ``network`` for pixels [N, C, H, W], on the CPU."""
    with torch.inference_mode():
        blocks = [pixels[first : first + ROWS] for first in range(0, len(pixels), ROWS)]
        found = [network(_scaled(torch.from_numpy(block)).to(device)).float().cpu() for block in blocks]
    return torch.cat(found).numpy()


def labels_of(network: nn.Module, pixels: NDArray[np.uint8], device: torch.device) -> NDArray[np.uint8]:
    """The mask [N, H, W] that a `Segmenter` sees in pixels [N, C, H, W]."""
    blocks = [pixels[first : first + ROWS] for first in range(0, len(pixels), ROWS)]
    return np.concatenate([predict(network, block, device).argmax(1).astype(np.uint8) for block in blocks])


def _draw(images: Labelled, count: int, random: torch.Generator) -> tuple[Tensor, ...]:
    """``count`` images drawn with replacement: pixels [-1, 1], masks int64, classes, positions."""
    places = torch.randint(len(images), (count,), generator=random).numpy()
    found = images.take(places)
    return (
        _scaled(torch.from_numpy(found.pixels)),
        torch.from_numpy(found.masks).long(),
        torch.from_numpy(found.classes),
        torch.from_numpy(found.positions).float(),
    )


def _scaled(pixels: Tensor) -> Tensor:
    return pixels.float() / HALF - 1


def augmented(pixels: Tensor, masks: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images [N, C, H, W] in [-1, 1] and their masks [N, H, W], each pair turned, scaled and shifted by as much; then
    the grey values by a gain and an offset. Outside is the lowest value, and no label. Nothing is mirrored: labels may
    have sides."""
    n, _, height, width = pixels.shape

    def uniform(most: float) -> Tensor:
        return (torch.rand(n, generator=random) * 2 - 1) * most

    angle, scale = uniform(TURN) * math.pi / 180, uniform(math.log1p(SCALE)).exp()
    shift = torch.stack([uniform(2 * SHIFT), uniform(2 * SHIFT)], 1)  # the side is 2 in these coordinates
    cosine, sine, aspect = angle.cos() * scale, angle.sin() * scale, height / width
    rows = [torch.stack([cosine, -sine * aspect], 1), torch.stack([sine / aspect, cosine], 1)]
    matrix = torch.cat([torch.stack(rows, 1), shift[:, :, None]], 2)
    grid = functional.affine_grid(matrix, [n, 1, height, width], align_corners=False)
    moved = functional.grid_sample(pixels + 1, grid, align_corners=False) - 1
    labels = functional.grid_sample(masks[:, None].float(), grid, mode="nearest", align_corners=False)
    gain, offset = 1 + uniform(GAIN), uniform(OFFSET)
    return moved * gain[:, None, None, None] + offset[:, None, None, None], labels[:, 0].round().long()
