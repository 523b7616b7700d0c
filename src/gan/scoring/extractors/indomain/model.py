"""An encoder for one data set, trained without labels on its real training slices.

ImageNet features know little of MRI, and their weights cannot be had everywhere. This encoder learns by VICReg (Bardes
et al. 2022): two views of a slice shall have the same features, and features shall vary and not repeat each other. So
the features keep what both views share and lose what differs between them:

    shared (kept)    anatomy, position, contrast, and the image quality: sharpness and noise, which are lowered by
                     the same random amount in both views, so that blurred or noisy images get features of their own
    different (lost) pose (shift, rotation, scale) and coil shading, which say nothing of a generator's quality

There is no mirroring: a liver on the left is an error that the metric should see. Features are standardised over the
training slices, which makes distances free of units.
"""

import hashlib
import itertools
import math
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
from gan.study import METRICS_REVISION

PAIRS = 64  # slices of a training step


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
    """Stages of stride 2 to about 4 x 4, global mean, linear layer, standardisation: [N, 1, H, W] to [N, dim]."""

    def __init__(self, size: tuple[int, int], dim: int):
        super().__init__()
        widths = [1] + [min(128, 16 << stage) for stage in range(halvings(size))]
        layers = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after)]
            layers += [nn.LeakyReLU(0.1)]
        layers += [nn.Conv2d(widths[-1], 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.1)]
        self.convolutions = nn.Sequential(*layers)
        self.linear = nn.Linear(128, dim)
        self.standard = nn.BatchNorm1d(dim, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolutions(x).mean((2, 3))
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
    """Features float32 [N, dim] of uint8 images [N, H, W] of the encoder's size, from a state of `train_encoder`."""

    name = "indomain"

    def __init__(self, state: dict[str, Any], device: str | torch.device = "cpu"):
        self.size, self.dim, self.device = tuple(state["size"]), state["dim"], torch.device(device)
        self.encoder = Encoder(self.size, self.dim)
        self.encoder.load_state_dict(state["weights"])
        self.encoder.to(self.device).eval().requires_grad_(False)
        self.id = f"indomain-{_digest(state)}"

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if images.shape[1:] != self.size:
            raise GanError(f"{self.id}: made for images of {list(self.size)} pixels, got {list(images.shape[1:])}")
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            return in_full_batches(images, self.dim, lambda batch: _encode(self.encoder, batch, self.device))


def train_encoder(
    images: NDArray[np.uint8], *, seed: int = 0, steps: int = 1000, dim: int = 128, device: str | torch.device = "cpu"
) -> dict[str, Any]:
    """Train on real training slices ``images`` uint8 [N, H, W] (all contrasts together); returns the encoder's state.

    steps: of 64 slices each; dim: features per image. The state can be saved and read with ``weights_only=True``. The
    same images and seed give the same bytes on the same device with the same number of threads. Raises `GanError` for
    fewer than 64 images.
    """
    if len(images) < PAIRS:
        raise GanError(
            f"the in-domain encoder needs at least {PAIRS} training images, got {len(images)}; lower "
            f"slices.fraction, add subjects, or choose metrics.extractors: [random]"
        )
    device = torch.device(device)
    size = (images.shape[1], images.shape[2])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(size, dim).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps + 1, pct_start=0.1)
    for _ in tqdm(range(steps), desc="in-domain encoder", unit="step"):
        rows = torch.randint(len(images), (PAIRS,), generator=random).numpy()
        first, second = (view.to(device) for view in views(_normalise(torch.from_numpy(images[rows])), random))
        loss = vicreg(*encoder(torch.cat([first, second]).to(memory_format=torch.channels_last)).chunk(2))
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


def views(images: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two views of images [N, 1, H, W] in [-1, 1]: same loss of quality, different pose, shading and noise."""
    n = len(images)
    blur = 1.5 * _sometimes(n, random)
    noise = 0.2 * _sometimes(n, random)
    first, second = (_add_noise(_blur(_shade(_move(images, random), random), blur), noise, random) for _ in range(2))
    return first, second


def _sometimes(n: int, random: torch.Generator) -> Tensor:
    """Uniform in [0, 1] for half of the images, 0 for the others."""
    return torch.rand(n, generator=random) * (torch.rand(n, generator=random) < 0.5)


def _uniform(n: int, low: float, high: float, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=random)


def _move(images: Tensor, random: torch.Generator) -> Tensor:
    """Rotation by up to 8 degrees, scale by 8 %, shift by 5 % of the side; outside is black."""
    n, _, height, width = images.shape
    angle = _uniform(n, -8, 8, random) * math.pi / 180
    scale = _uniform(n, -0.08, 0.08, random).exp()
    shift = torch.stack([_uniform(n, -0.1, 0.1, random) for _ in range(2)], 1)  # the side is 2 in these coordinates
    cosine, sine, aspect = angle.cos() * scale, angle.sin() * scale, height / width
    rows = [torch.stack([cosine, -sine * aspect], 1), torch.stack([sine / aspect, cosine], 1)]
    matrix = torch.cat([torch.stack(rows, 1), shift[:, :, None]], 2)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images + 1, grid, align_corners=False) - 1


def _shade(images: Tensor, random: torch.Generator) -> Tensor:
    """Coil shading: the intensity times exp of a smooth field of up to about 25 %."""
    coarse = 0.12 * torch.randn(len(images), 1, 3, 3, generator=random)
    field = F.interpolate(coarse, images.shape[2:], mode="bicubic", align_corners=True)
    return ((images + 1) * field.exp() - 1).clamp(-1, 1)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with a separate width, in pixels, for each image; 0 leaves it unchanged."""
    offsets = torch.arange(-4.0, 5.0)
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp_min(1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True))[:, None]
    rows = F.conv2d((images[:, 0] + 1)[None], kernel[:, :, :, None], padding=(4, 0), groups=len(images))
    return F.conv2d(rows, kernel[:, :, None, :], padding=(0, 4), groups=len(images))[0][:, None] - 1


def _add_noise(images: Tensor, deviation: Tensor, random: torch.Generator) -> Tensor:
    """Rician noise of magnitude images: the modulus of a signal with Gaussian noise in two channels."""
    noise = deviation[:, None, None, None] * torch.randn(2, *images.shape, generator=random)
    return (torch.hypot(images + 1 + noise[0], noise[1]) - 1).clamp(-1, 1)


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
    """Features [N, dim] of uint8 images [N, H, W]."""
    return encoder(_normalise(torch.from_numpy(images).to(device)))


def _normalise(images: Tensor) -> Tensor:
    """uint8 [N, H, W] as float32 [N, 1, H, W] in [-1, 1]."""
    return (images.float() / HALF - 1)[:, None]


def _digest(state: dict[str, Any]) -> str:
    """Eight hex digits that tell encoders apart."""
    sha256 = hashlib.sha256()
    for name, value in sorted(state["weights"].items()):
        sha256.update(name.encode())
        sha256.update(value.numpy().tobytes())
    return sha256.hexdigest()[:8]
