"""From a seed, or from source images, to requests and the images that answer them, chunk by chunk."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from gan.errors import GanError
from gan.families.contract import Images, Latents, Source
from gan.families.registry import families
from gan.nn.album import Derived
from gan.sampling.snapshot import Snapshot, mix

CHUNK = 16  # images drawn at a time: fixed, so that image i depends on (seed, i) and not on their number
VOXELS = 64**3  # of volumes drawn at a time, if one has not more

Classes = int | Sequence[int] | np.ndarray | None


def at_once(size: Sequence[int]) -> int:
    """How many images of ``size`` are drawn at a time, by the size alone: 16, of volumes 1 from 64^3 voxels on."""
    return CHUNK if len(size) == 2 else max(1, min(CHUNK, VOXELS // math.prod(size)))


def sample(snapshot: Snapshot, n: int, seed: int, labels: Classes = None, truncation: float = 1.0) -> Tensor:
    """``n`` images float32 [n, C, *size] in about [-1, 1], on the CPU. See `chunks`."""
    return torch.cat(list(chunks(snapshot, n, seed, labels, truncation)))


def chunks(snapshot: Snapshot, n: int, seed: int, labels: Classes = None, truncation: float = 1.0) -> Iterator[Tensor]:
    """The images of `sample`, as many at a time as `at_once`.

    Image i depends on ``seed`` and i alone (latent, label, noise), not on ``n``. labels: one class for all, or one
    each; None draws them as often as they occur in the training images. truncation: 1 draws from the whole
    distribution, 0 gives the mean. `GanError` if classes are given and the generator has none, or if there are not as
    many images.
    """
    if n < 1:
        raise GanError(f"{n} images requested; request at least 1")
    if (limit := available(snapshot, labels)) is not None and n > limit:
        raise GanError(f"{n} images requested, but there are {limit}; request at most as many")
    draw = _from_album if families()[snapshot.family].model.request is Images else _from_latents
    for chunk, images in enumerate(draw(snapshot, n, seed, labels, truncation)):
        yield images[: n - chunk * at_once(snapshot.shape.size)]


def contents(snapshot: Snapshot, n: int, seed: int, labels: Classes = None) -> Iterator[tuple[Tensor, bool]]:
    """Of the images of `chunks`, chunk by chunk, what each was made of (`gan.nn.album.Derived`), and whether all of it
    are real images. Nothing of other families."""
    network = snapshot.network
    if not isinstance(network, Derived):
        return
    order = _order(snapshot, n, seed, labels)
    for first in range(0, len(order), CHUNK):
        indices = torch.from_numpy(order[first : first + CHUNK]).to(snapshot.device)
        yield network.content(indices).cpu(), bool((network.rows[indices] >= 0).all())


def available(snapshot: Snapshot, labels: Classes = None) -> int | None:
    """How many images there are, of one class if ``labels`` names one; None without a limit."""
    if families()[snapshot.family].model.request is not Images:
        return None
    return len(_places(snapshot, labels))


def translated(snapshot: Snapshot, asked: Iterable[Source], seed: int) -> Iterator[Tensor]:
    """The translations float32 [n, C, *size] of each batch of source images, on the CPU.

    They are drawn `at_once` many at a time, the last ones with repeats, so that an image depends on itself alone.
    """
    count = at_once(snapshot.shape.size)
    for source in asked:
        found = []
        for first in range(0, len(source.images), count):
            part = slice(first, first + count)
            images, labels = source.images[part], source.labels[part]
            whole = torch.arange(count, device=images.device) % len(images)
            request = Source(images[whole], labels[whole], source.backward)
            found.append(snapshot.render(request, seed, 0)[: len(images)])
        yield torch.cat(found)


def latents(snapshot: Snapshot, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Latents float32 [n, z_dim] and classes int64 [n] of the first ``n`` images of ``seed``, on the CPU."""
    count = -(-n // at_once(snapshot.shape.size))
    z, classes = zip(*(_latents(snapshot, seed, chunk) for chunk in range(count)), strict=True)
    return torch.cat(z)[:n], torch.cat(classes)[:n]


def classes_of(snapshot: Snapshot, n: int, seed: int, label: int | None = None) -> Tensor:
    """Classes int64 [n] of the images of `sample`, 0 without labels."""
    if families()[snapshot.family].model.request is Images:
        return torch.from_numpy(snapshot.network.classes.cpu().numpy()[_order(snapshot, n, seed, label)])  # type: ignore
    _, classes = latents(snapshot, n, seed)
    return classes if label is None else torch.full_like(classes, label)


def _from_latents(snapshot: Snapshot, n: int, seed: int, labels: Classes, truncation: float) -> Iterator[Tensor]:
    count = at_once(snapshot.shape.size)
    whole = -(-n // count) * count  # the last chunk is drawn in full: a smaller batch gets other noise
    z, classes = latents(snapshot, whole, seed)
    if labels is not None:
        classes[:n] = torch.tensor(_known(snapshot, np.broadcast_to(np.asarray(labels, dtype=np.int64), (n,))))
    for first in range(0, n, count):
        part = slice(first, first + count)
        request = Latents(z[part].to(snapshot.device), snapshot.one_hot(classes[part]), truncation)
        yield snapshot.render(request, seed, first // count)


def _from_album(snapshot: Snapshot, n: int, seed: int, labels: Classes, truncation: float) -> Iterator[Tensor]:
    if truncation != 1:
        raise GanError(f"truncation is {truncation:g}, but {snapshot.family} has fixed images; set it to 1")
    order = _order(snapshot, n, seed, labels)
    count = at_once(snapshot.shape.size)
    for first in range(0, n, count):
        indices = torch.from_numpy(order[first : first + count]).to(snapshot.device)
        yield snapshot.render(Images(indices), seed, first // count)


def _order(snapshot: Snapshot, n: int, seed: int, labels: Classes) -> np.ndarray:
    """Indices of the first ``n`` fixed images in the order of ``seed``."""
    places = _places(snapshot, labels)
    return places[np.random.default_rng([seed, 0]).permutation(len(places))[:n]]


def _places(snapshot: Snapshot, labels: Classes) -> np.ndarray:
    """Indices of the fixed images of a class, or of all."""
    classes = snapshot.network.classes.cpu().numpy()  # type: ignore[union-attr, operator]
    if labels is None:
        return np.arange(len(classes))
    if np.ndim(labels):
        raise GanError(f"{snapshot.family} has fixed images: ask for one class, not for one of each image")
    return np.flatnonzero(classes == _known(snapshot, np.array([labels]))[0])


def _latents(snapshot: Snapshot, seed: int, chunk: int) -> tuple[Tensor, Tensor]:
    if "z_dim" not in snapshot.options:
        does = "has fixed images" if available(snapshot) is not None else "translates images (gan translate)"
        raise GanError(f"{snapshot.family} {does} and has no latents to draw from")
    random, count = torch.Generator().manual_seed(mix(seed, chunk, 0)), at_once(snapshot.shape.size)
    z = torch.randn(count, snapshot.options["z_dim"], generator=random)
    counts = snapshot.data.get("label_counts") or [1] * snapshot.shape.labels
    if not snapshot.shape.labels:
        return z, torch.zeros(count, dtype=torch.int64)
    frequency = torch.tensor(counts, dtype=torch.float64)
    return z, torch.multinomial(frequency, count, replacement=True, generator=random)


def _known(snapshot: Snapshot, classes: np.ndarray) -> np.ndarray:
    """``classes``, if the generator has them."""
    if not snapshot.shape.labels:
        raise GanError("this generator was trained without labels; leave the label out")
    if classes.min() < 0 or classes.max() >= snapshot.shape.labels:
        raise GanError(f"label {int(classes.max())} is not known; allowed: 0 to {snapshot.shape.labels - 1}")
    return np.array(classes)
