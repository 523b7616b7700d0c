"""An encoder for one data set, trained without labels on its real training slices, or on its whole volumes.

ImageNet features know little of MRI, and their weights cannot be had everywhere. This encoder learns by VICReg (Bardes
et al. 2022): two `views` of a slice shall have the same features, and features shall vary and not repeat each other. So
the features keep what both views share and lose what differs between them:

    shared (kept)    anatomy, position, contrast, and the image quality: sharpness and noise, which are lowered by
                     the same random amount in both views, so that blurred or noisy images get features of their own;
                     of volumes also how well slices fit together
    different (lost) pose (shift, rotation, scale) and coil shading, which say nothing of a generator's quality

There is no mirroring: a liver on the left is an error that the metric should see. Features are standardised over the
training slices, which makes distances free of units.
"""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from gan.errors import GanError
from gan.scales import HALF
from gan.scoring.extractors.batches import in_full_batches
from gan.scoring.extractors.indomain.options import Options, halvings
from gan.scoring.extractors.indomain.views import views
from gan.study import METRICS_REVISION

PAIRS, PAIRS_OF_VOLUMES = 64, 32  # slices, or volumes, of a training step
LARGEST = 96  # voxels along a side of a volume; of larger ones the encoder sees means of 2 x 2 x 2 voxels, or of more


def make(
    options: Options, training_images: Callable[[], NDArray[np.uint8]], device: str | torch.device
) -> dict[str, Any]:
    return train_encoder(training_images(), seed=options.seed, steps=options.steps, dim=options.dim, device=device)


def load(content: dict[str, Any], device: str | torch.device) -> "IndomainFeatures":
    return IndomainFeatures(content, device)


def encoder(content: dict[str, Any], device: str | torch.device) -> "Stages":
    """The feature maps of the network, as a `gan.families.contract.Encoder`."""
    return Stages(IndomainFeatures(content, device).encoder, tuple(content["size"]))


class Encoder(nn.Module):
    """Stages of stride 2 to about 4 a side, global mean, linear layer, standardisation: [N, 1, *size] to [N, dim]."""

    def __init__(self, size: tuple[int, ...], dim: int):
        super().__init__()
        convolution, normalisation = (nn.Conv2d, nn.BatchNorm2d) if len(size) == 2 else (nn.Conv3d, nn.BatchNorm3d)
        widths = [1] + [min(128, 16 << stage) for stage in range(halvings(size))]
        layers = []
        for before, after in itertools.pairwise(widths):
            layers += [convolution(before, after, 3, stride=2, padding=1, bias=False), normalisation(after)]
            layers += [nn.LeakyReLU(0.1)]
        layers += [convolution(widths[-1], 128, 3, padding=1, bias=False), normalisation(128), nn.LeakyReLU(0.1)]
        self.convolutions = nn.Sequential(*layers)
        self.linear = nn.Linear(128, dim)
        self.standard = nn.BatchNorm1d(dim, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolutions(x)
        x = x.mean(tuple(range(2, x.ndim)))
        # A matrix product rounds an image's row by its index in the batch: on some CPUs the last rows differ.
        product = self.linear(x) if self.training else (x[:, None] * self.linear.weight).sum(2) + self.linear.bias
        return self.standard(product)


class Stages(nn.Module):
    """What each convolution of ``encoder`` gives, after its activation. The second one is that of the content."""

    content = ("stage2",)

    def __init__(self, encoder: Encoder, size: tuple[int, int]):
        super().__init__()
        self.names = Options.maps(size)
        self.layers = encoder.convolutions

    def style(self, size: tuple[int, ...]) -> tuple[str, ...]:
        """See `gan.families.contract.Encoder`: all but the last, of stride 1."""
        return self.names[:-1]

    def forward(self, images: Tensor, names: Sequence[str], pool: str = "") -> dict[str, Tensor]:
        """See `gan.families.contract.Encoder`; it has no pooling."""
        last = max((self.names.index(name) for name in names), default=-1)
        x, found = images, {}
        for place, name in enumerate(self.names[: last + 1]):
            x = self.layers[3 * place : 3 * place + 3](x)  # convolution, normalisation, activation
            found[name] = x
        return {name: found[name] for name in names}


class IndomainFeatures:
    """Features float32 [N, dim] of uint8 images [N, *size] of the encoder's size, from a state of `train_encoder`.

    name: the extractor that it is.
    """

    def __init__(self, state: dict[str, Any], device: str | torch.device = "cpu", name: str = "indomain"):
        self.name, self.size, self.dim = name, tuple(state["size"]), state["dim"]
        self.device = torch.device(device)
        self.encoder = Encoder(seen(self.size), self.dim)
        self.encoder.load_state_dict(state["weights"])
        self.encoder.to(self.device).eval().requires_grad_(False)
        self.id = f"{name}-{_digest(state)}"

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if images.shape[1:] != self.size:
            raise GanError(f"{self.id}: made for images of {list(self.size)} pixels, got {list(images.shape[1:])}")
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            return in_full_batches(images, self.dim, lambda batch: _encode(self.encoder, batch, self.device))


def train_encoder(
    images: NDArray[np.uint8], *, seed: int = 0, steps: int = 1000, dim: int = 128, device: str | torch.device = "cpu"
) -> dict[str, Any]:
    """Train on real training images ``images`` uint8 [N, H, W] (all contrasts together), or on volumes [N, D, H, W];
    returns the encoder's state.

    steps: of 64 slices or 32 volumes each; dim: features per image. The state can be saved and read with
    ``weights_only=True``. The same images and seed give the same bytes on the same device with the same number of
    threads. Raises `GanError` for fewer than 64 images, or 32 volumes.
    """
    pairs = PAIRS if images.ndim == 3 else PAIRS_OF_VOLUMES
    if len(images) < pairs:
        raise GanError(
            f"the in-domain encoder needs at least {pairs} training images, got {len(images)}; lower "
            f"slices.fraction, add subjects, or choose metrics.extractors: [random]"
        )
    device = torch.device(device)
    size = images.shape[1:]
    layout = torch.channels_last if len(size) == 2 else torch.channels_last_3d
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(seen(size), dim).to(device=device, memory_format=layout)  # type: ignore[call-overload]
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps + 1, pct_start=0.1)
    for _ in tqdm(range(steps), desc="in-domain encoder", unit="step"):
        rows = _chosen(len(images), pairs, random, again=len(size) == 2)
        first, second = (view.to(device) for view in views(_normalise(torch.from_numpy(images[rows])), random))
        loss = vicreg(*encoder(torch.cat([first, second]).to(memory_format=layout)).chunk(2))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    _standardise(encoder, images, device)
    weights = {name: value.detach().cpu() for name, value in encoder.state_dict().items()}
    return {
        "size": list(size),
        "dim": dim,
        "weights": weights,
        "seed": seed,
        "steps": steps,
        "revision": METRICS_REVISION,
    }


def seen(size: tuple[int, ...]) -> tuple[int, ...]:
    """The size of what the encoder sees of images of ``size``: they themselves, or smaller volumes (`LARGEST`)."""
    return tuple(side // _factor(size) for side in size)


def _factor(size: tuple[int, ...]) -> int:
    return 1 if len(size) == 2 else -(-max(size) // LARGEST)


def _chosen(number: int, pairs: int, random: torch.Generator, again: bool) -> NDArray[np.int64]:
    """``pairs`` of ``number`` images, with repeats if ``again``: of few volumes these would be many."""
    chosen = torch.randint(number, (pairs,), generator=random) if again else torch.randperm(number, generator=random)
    return chosen[:pairs].numpy()


def vicreg(x: Tensor, y: Tensor) -> Tensor:
    """Variance-invariance-covariance loss of embeddings [N, d] of two views (Bardes et al. 2022, eq. 1 to 6)."""
    invariance = F.mse_loss(x, y)
    variance = sum(F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() for z in (x, y))
    covariance = torch.zeros((), device=x.device)
    for z in (x, y):
        z = z - z.mean(0)
        matrix = z.T @ z / (len(z) - 1)
        covariance = covariance + (matrix.square().sum() - matrix.diagonal().square().sum()) / z.shape[1]
    return 25 * invariance + 25 / 2 * variance + covariance


def _standardise(encoder: Encoder, images: NDArray[np.uint8], device: torch.device) -> None:
    """Give the last layer the mean and variance of the features over the undegraded training slices."""
    standard = encoder.standard
    standard.reset_running_stats()
    encoder.eval()
    with torch.no_grad():
        features = in_full_batches(images, encoder.linear.out_features, lambda batch: _encode(encoder, batch, device))
        variance, mean = torch.var_mean(torch.from_numpy(features).double(), 0)
        standard.running_mean.copy_(mean)  # type: ignore[union-attr]
        standard.running_var.copy_(variance)  # type: ignore[union-attr]


def _encode(encoder: Encoder, images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Features [N, dim] of uint8 images [N, *size]."""
    return encoder(_normalise(torch.from_numpy(images).to(device)))


def _normalise(images: Tensor) -> Tensor:
    """uint8 [N, *size] as float32 [N, 1, *`seen`] in [-1, 1]."""
    grey, factor = (images.float() / HALF - 1)[:, None], _factor(tuple(images.shape[1:]))
    return grey if factor == 1 else F.avg_pool3d(grey, factor)


def _digest(state: dict[str, Any]) -> str:
    """Eight hex digits that tell encoders apart."""
    sha256 = hashlib.sha256()
    for name, value in sorted(state["weights"].items()):
        sha256.update(name.encode())
        sha256.update(value.numpy().tobytes())
    return sha256.hexdigest()[:8]
