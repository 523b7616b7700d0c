"""The contract between a model and everything around it: the loop, the samples, the checkpoint.

A `Variant` is trained, a `Made` model is not. A variant owns its networks and says, as data, in which phases they are
trained; the loop alone calls backward and step. Everything that decides the next step (networks, running statistics,
augmentation strength) is a parameter or a buffer of the variant, so ``state_dict()`` is the whole of it.
"""

import abc
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from gan import parallel
from gan.errors import GanError


@dataclass(frozen=True)
class ImageShape:
    """What the data requires of a variant.

    channels: contrasts (and a mask, if it is generated too), of the target if images are translated; size: (H, W) or
    (D, H, W) in pixels; labels: number of classes, 0 without labels; masks: how many of the channels, the last ones,
    hold labels instead of intensities: one, or a plane for each label (`gan.masks`); sources: channels of the images to
    translate, 0 unless that is the task: of each contrast the slice itself amid ``neighbours`` on each side.
    """

    channels: int
    size: tuple[int, ...]
    labels: int = 0
    masks: int = 0
    sources: int = 0
    neighbours: int = 0

    @property
    def shown(self) -> int:
        """Channels of images outside of networks, where a mask is one channel."""
        return self.channels - max(0, self.masks - 1)


class Batch(NamedTuple):
    """A batch, or this rank's share of it (`gan.parallel`).

    real: [N, C, *size], float32 in [-1, 1], the target of a translation; labels: [N, labels], one-hot, width 0 without;
    source: [N, sources, *size], the images to translate, of width 0 unless that is the task; apart: the labels of
    ``real`` where it was drawn apart from ``source`` (`Variant.unpaired`), whose own are ``labels`` then.
    """

    real: Tensor
    labels: Tensor
    source: Tensor = torch.empty(0, 0)
    apart: Tensor = torch.empty(0, 0)

    def piece(self, index: int, count: int) -> "Batch":
        """One of ``count`` equal, consecutive pieces."""
        size = len(self.real) // count
        part = slice(index * size, (index + 1) * size)
        return Batch(*(tensor[part] for tensor in self))


class Latents(NamedTuple):
    """Requests an image of each latent z [N, z_dim], of the class labels [N, labels] (one-hot, width 0 without).

    truncation: 1 for the whole distribution, less for typical images, 0 for one.
    """

    z: Tensor
    labels: Tensor
    truncation: float = 1.0


class Source(NamedTuple):
    """Requests the translation of images [N, C, *size] in [-1, 1]; backward: from the target's side to the source's."""

    images: Tensor
    labels: Tensor
    backward: bool = False


class Images(NamedTuple):
    """Requests images of a fixed set, by their indices [N]."""

    indices: Tensor


Request = Latents | Source | Images


class Dataset(Protocol):
    """Images to train on. ``batch`` takes int64 indices [n] below ``len`` and returns tensors on the device.

    meta: what the generator's file shall say of its images (channels, mask, labels, label_counts, intensity, spacing);
    plain numbers, text, lists and dicts.
    """

    shape: ImageShape
    meta: dict[str, Any]

    @property
    def marked(self) -> np.ndarray:
        """Indices of the images that pictures of translations show first: those with a label in their mask."""
        ...

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> Batch: ...


class OfSubjects(Dataset, Protocol):
    """Images of known subjects, which `Variant.disjoint` needs."""

    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the images of one half of the subjects, which give the sources, and of those of the other."""
        ...


class Phase(NamedTuple):
    """One backward pass and optimizer step: the network it trains (a key of ``networks``), every how many steps.

    exchanges: how many results of `gan.parallel.total` and the like, each of which depends on the one before, must be
    known for its loss and its scalars. What goes into buffers for later steps does not count.
    """

    name: str
    trains: str
    every: int = 1
    exchanges: int = 0


def conditions(options: Any, shape: ImageShape) -> int:
    """Classes that the networks are conditioned on: those of the data if option ``conditional`` is set, else 0."""
    return shape.labels if options.conditional else 0


def half_life_beta(batch: int, images: float) -> float:
    """Decay per step of ``batch`` images of a moving average with a half-life of ``images``; 0 images: no average."""
    return 0.5 ** (batch / images) if images > 0 else 0.0


def falling(seen: int, budget: float, share: float) -> float:
    """Factor of a learning rate after ``seen`` images: 1, and in the last ``share`` of ``budget`` linearly to 0."""
    return min(1.0, max(0.0, (budget - seen) / (share * budget))) if share * budget else 1.0


def require_groups(batch: int, group: int, spatial_dims: int = 2) -> None:
    """Raise `GanError` if a batch, or a rank's share of it, is not a multiple of ``group``, option mbstd_group.

    Of volumes a group has two or more: batches are taken in small pieces, and one image has no spread.
    """
    if spatial_dims == 3 and group < 2:
        raise GanError(
            "option mbstd_group is 1, with which the discriminator is not told how much samples differ; for volumes "
            "take 2 or more, and resources.train.microbatches that leave as many to a piece"
        )
    if batch % group:
        raise GanError(f"option mbstd_group is {group}, which does not divide the batch of {batch}")
    parallel.share(batch, "training.batch", group, "option mbstd_group")


def lay_out(variant: nn.Module, spatial_dims: int) -> None:
    """Set weights to the memory order of the fastest convolutions: channels last."""
    layout = torch.channels_last if spatial_dims == 2 else torch.channels_last_3d
    for tensor in (*variant.parameters(), *variant.buffers()):
        if tensor.ndim == spatial_dims + 2:
            tensor.data = tensor.data.to(memory_format=layout)


def mirrored(images: Tensor) -> Tensor:
    """Images [N, C, *size], each mirrored left to right with probability 1/2."""
    chosen = parallel.rand(len(images), *[1] * (images.ndim - 1), device=images.device) < 0.5
    return torch.where(chosen, images.flip(-1), images)


class Model(abc.ABC):
    """What draws images: a module that is kept, and how it answers requests.

    request: the kind that it answers; copies: whether its images are real ones, which no file may call synthetic;
    both_ways: whether it translates backward, too.
    """

    request: ClassVar[type] = Latents
    copies: ClassVar[bool] = False
    both_ways: ClassVar[bool] = False

    @staticmethod
    @abc.abstractmethod
    def build_kept(options: Any, shape: ImageShape) -> nn.Module:
        """A new module with all that draws images, without the rest. Two generators are children of one module."""

    @staticmethod
    @abc.abstractmethod
    def draw(kept: nn.Module, request: Any) -> Tensor:
        """Images [N, C, *size] in about [-1, 1] for a `Request` of the kind ``request``.

        ``kept`` is in eval mode. Noise comes from torch's default generator: equal seeds give equal images.
        """


class Encoder(Protocol):
    """A fixed network whose feature maps are compared, from the first to the last.

    names: of its maps, in this order; content: those whose values are compared by default.
    """

    names: tuple[str, ...]
    content: tuple[str, ...]

    def style(self, size: tuple[int, ...]) -> tuple[str, ...]:
        """The maps whose Gram matrices are compared by default, of images of ``size``."""
        ...

    def __call__(self, images: Tensor, names: Sequence[str], pool: str) -> dict[str, Tensor]:
        """The maps [N, C, h, w] called ``names`` of images of one contrast [N, 1, H, W] in [-1, 1]; pool: avg or max,
        of a network that has pooling."""
        ...


class Given(NamedTuple):
    """What a model is made of next to the training images: as much of it as its options ask for.

    seed: of the cell; folder: where the option ``path`` leads; draw: from a batch of training images to as many of the
    variant that it works on, of the same classes, or their translations; encoder: of feature maps; kept: folder whose
    files outlive a kill; check: to be called between two images, raises if the job has to stop.
    """

    seed: int = 0
    folder: Path | None = None
    draw: Callable[[Batch], Tensor] | None = None
    encoder: Encoder | None = None
    kept: Path | None = None
    check: Callable[[], None] = lambda: None


class Made(Model):
    """A model that is made, from training images, a folder or another row, and not trained: the same judge scores it.

    It has buffers and no parameters.
    """

    @staticmethod
    @abc.abstractmethod
    def make(options: Any, dataset: Dataset, given: Given) -> nn.Module:
        """The kept module, as `build_kept` makes it, filled, on the CPU."""


class Variant(nn.Module, Model):
    """A generative model and its training, free of input and output.

    A subclass builds its networks as submodules, one of them by `build_kept`, and implements the methods below. Random
    numbers over the batch come from `gan.parallel`, which draws them from torch's default generators, as the checkpoint
    keeps them.
    """

    epoch = 0  # real images of an epoch, set by the caller that trains the variant
    budget = 0.0  # real images that the whole training sees, set by the same caller
    saturates = True  # loss/D falls to 0 as the discriminator separates real from generated images
    gp_target = 1.0  # target gradient norm of the gradient penalty
    unpaired = False  # sources and targets of a batch are drawn independently of each other
    disjoint = False  # and from the images of different subjects
    form: Hashable = None  # as long as this stays the same, each phase runs the same operations on the same tensors

    def __init__(self, options: Any, shape: ImageShape, batch: int):
        """options: of its family; batch: images per step, over all devices."""
        super().__init__()
        self.options = options
        self.shape = shape
        self.batch = batch
        if options.conditional and not shape.labels:
            raise GanError(
                "option conditional is true, but the data set has no labels; name its labels or set it to false"
            )
        if self.augment_real != "none" and len(shape.size) != 3:
            raise GanError(
                f"option augment_real is {self.augment_real}, which is for volumes; these are images of size "
                f"{list(shape.size)}: set it to none"
            )

    @property
    def labels(self) -> int:
        """See `conditions`."""
        return conditions(self.options, self.shape)

    @property
    def augment_real(self) -> str:
        """How the caller that trains the variant changes real images before it sees them (`gan.train.reals`)."""
        return getattr(self.options, "augment_real", "none")

    @abc.abstractmethod
    def kept(self) -> nn.Module:
        """The module that is averaged and exported, among the networks or made of them: as `build_kept` makes it."""

    @abc.abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The phases of a step, in their order."""

    @abc.abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """The trained networks by the names that `Phase.trains` uses."""

    @abc.abstractmethod
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """A new optimizer for each entry of `networks`."""

    def kept_bytes(self, images: int, width: int) -> int | None:
        """Bytes that the largest phase holds for ``images`` at a time, weights apart; None: not known.

        width: bytes of a number in a feature map.
        """
        return None

    def begin_step(self, seen: int, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        """Called before the phases of a step, after ``seen`` real images: schedules are applied here.

        A function of ``seen`` alone, or of the state, so that a resumed run repeats it; ``optimizers`` are those of
        `optimizers`, whose learning rates or state it may change.
        """

    @abc.abstractmethod
    def loss(self, phase: str, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to descend in ``phase`` and detached scalars to log (``loss/G``, ``logits/real``, ...)."""

    @abc.abstractmethod
    def ema_beta(self, seen: int) -> float:
        """Decay of the moving average of `kept` for this step, after ``seen`` real images; 0 copies the weights."""

    def end_step(self, step: int) -> dict[str, Tensor]:
        """Called once after all phases of a step: controllers adapt here. Returns scalars to log."""
        return {}
