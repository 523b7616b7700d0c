"""Adaptive discriminator augmentation, ADA (Karras et al. 2020b, "Training GANs with limited data", appendix B).

`AugmentPipe` changes real and generated images alike in front of the discriminator, each operation with probability p;
`AdaController` steers p. Shapes are fixed and nothing waits for the device: amounts are drawn for every image and every
operation, and are neutral where an operation is off. Images are [N, C, H, W] in [-1, 1] with any number of channels.

Choices where the paper leaves room or thinks of RGB:

- Mirroring and quarter turns copy pixels exactly; all other geometry is one resampling. An image that no operation
  touched passes unchanged, bit for bit. Quarter turns of an image that is not square are half turns.
- Outside the image is its reflection, without end. The warp reflects by itself, so there is no margin to compute.
- Luma is the mean over channels, whatever they are, chroma the rest: saturation scales the differences between MRI
  contrasts and does nothing to one channel. Hue turns the chroma plane and so needs exactly three channels; with any
  other number it does nothing.
- A mask moves with its contrasts, and a cutout hides it with them; colour, filter and noise leave it alone: its values
  are labels, not intensities, and count for no luma.
"""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan import ops, parallel
from gan.ops.precision import own_dtype

BLIT = ("xflip", "rotate90", "xint")
GEOMETRY = ("scale", "rotate", "aniso", "xfrac")
COLOUR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
CORRUPTION = ("imgfilter", "noise", "cutout")

# Those of the official program, a letter a group; mri: luma flip, hue and saturation would make images that no scanner
# makes.
PRESETS: dict[str, tuple[str, ...]] = {
    "none": (),
    "mri": (*BLIT, *GEOMETRY, "brightness", "contrast"),
    "bg": BLIT + GEOMETRY,
    "bgc": BLIT + GEOMETRY + COLOUR,
    "bgcf": (*BLIT, *GEOMETRY, *COLOUR, "imgfilter"),
    "bgcfn": (*BLIT, *GEOMETRY, *COLOUR, "imgfilter", "noise"),
    "bgcfnc": (*BLIT, *GEOMETRY, *COLOUR, "imgfilter", "noise", "cutout"),
}

# Standard deviations and ranges of the paper; scales are powers of 2.
XINT_MAX, XFRAC_STD = 0.125, 0.125
SCALE_STD, ANISO_STD = 0.2, 0.2
BRIGHTNESS_STD, CONTRAST_STD, SATURATION_STD = 0.2, 0.5, 1.0
IMGFILTER_STD, NOISE_STD, CUTOUT_SIZE = 1.0, 0.1, 0.5
# Power of natural images in the bands of the filter bank (1/f^2), low to high.
BAND_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)

# Low-pass filters of the symlets with 6 and 2 vanishing moments (Daubechies 1992).
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)


class AugmentPipe(nn.Module):
    """Random, differentiable augmentation of images. Random numbers come from torch's default generators."""

    sym6: Tensor
    bands: Tensor
    band_power: Tensor
    cross: Tensor

    def __init__(self, operations: Iterable[str], masks: int = 0):
        """operations: names out of BLIT, GEOMETRY, COLOUR and CORRUPTION, or a value of `PRESETS`; masks: how many of
        the channels, the last ones, hold labels."""
        super().__init__()
        self.operations, self.masks = frozenset(operations), masks
        unknown = self.operations.difference(BLIT, GEOMETRY, COLOUR, CORRUPTION)
        if unknown:
            raise ValueError(f"AugmentPipe: no operation {sorted(unknown)[0]!r}")
        self.register_buffer("sym6", torch.tensor(SYM6) / sum(SYM6), persistent=False)
        self.register_buffer("bands", _filter_bank(), persistent=False)
        self.register_buffer("band_power", torch.tensor(BAND_POWER), persistent=False)
        self.register_buffer("cross", torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / 3**0.5, persistent=False)

    def forward(self, images: Tensor, p: Tensor | float) -> Tensor:
        """Augment ``images``, each operation with probability ``p``.

        images: [N, C, H, W], H and W at least 4, with ``imgfilter`` at least 22; p: a number, or a tensor without
        dimensions on the same device. Returns shape and dtype of ``images``; computes in float32 or wider. Raises
        ValueError if ``images`` has not four dimensions.
        """
        if images.ndim != 4:
            raise ValueError(f"AugmentPipe: images are [N, C, H, W], not {list(images.shape)}")
        if not self.operations:
            return images
        x = images.to(torch.promote_types(images.dtype, torch.float32))
        with own_dtype(x):
            return self._augment(x, p).to(images.dtype)

    def _augment(self, x: Tensor, p: Tensor | float) -> Tensor:
        dice = _Dice(self.operations, x, p)
        x = self._blit(x, dice)
        if not self.operations.isdisjoint(("xint", *GEOMETRY)):
            x = ops.affine_resample(x, *_geometry(x, dice), self.sym6)
        if not self.operations.isdisjoint((*COLOUR, "imgfilter", "noise")):
            contrasts, masks = x.tensor_split((x.shape[1] - self.masks,), 1)
            changed = self._intensities(contrasts, dice)
            x = torch.cat([changed, masks], 1) if self.masks else changed
        if "cutout" in self.operations:
            x = _cutout(x, dice)
        return x

    def _blit(self, x: Tensor, dice: "_Dice") -> Tensor:
        if "xflip" in self.operations:
            x = torch.where(_per_image(dice.choice("xflip", 2) == 1), x.flip(3), x)
        if "rotate90" in self.operations:
            square = x.shape[2] == x.shape[3]
            turns = dice.choice("rotate90", 4) if square else 2 * dice.choice("rotate90", 2)
            x = torch.where(_per_image(turns >= 2), x.flip(2, 3), x)
            if square:
                x = torch.where(_per_image(turns % 2 == 1), x.rot90(1, (2, 3)), x)
        return x

    def _intensities(self, x: Tensor, dice: "_Dice") -> Tensor:
        if not self.operations.isdisjoint(COLOUR):
            x = _colour(x, dice, self.cross)
        if "imgfilter" in self.operations:
            x = self._filter(x, dice)
        if "noise" in self.operations:
            x = x + parallel.randn_like(x) * _per_image(dice.normal("noise", NOISE_STD)[0].abs())
        return x

    def _filter(self, x: Tensor, dice: "_Dice") -> Tensor:
        """Scale each octave of the spectrum by 2^normal, at a constant power for a natural spectrum."""
        power = self.band_power.to(x.dtype)
        gains = torch.ones(len(x), len(power), dtype=x.dtype, device=x.device)
        for own in torch.eye(len(power), dtype=torch.bool, device=x.device):
            amount = torch.exp2(dice.normal("imgfilter", IMGFILTER_STD)[0])[:, None]
            scaled = torch.where(own, amount, 1.0)
            gains = gains * scaled / (power * scaled.square()).sum(1, keepdim=True).sqrt()
        margin, channels = self.bands.shape[1] // 2, x.shape[1]
        kernel = self.bands.to(x.dtype).repeat(channels, 1)[:, None, None, :]
        for axis in (3, 2):
            x = F.pad(x.transpose(axis, 3), (margin, margin, 0, 0), mode="reflect")
            split = F.conv2d(x, kernel, groups=channels).unflatten(1, (channels, -1))
            x = (split * gains[:, None, :, None, None]).sum(2).transpose(axis, 3)
        return x


class AdaController(nn.Module):
    """Strength p of the augmentation, steered so that E[sign D(real)] meets a target (Karras et al. 2020b, section 3).

    All state is in buffers on the device and in ``state_dict()``: ``p``; ``rt``, the last measured E[sign D(real)];
    the sums since then. p is bounded below by 0 and, as published, not above.
    """

    p: Tensor
    rt: Tensor
    sign_sum: Tensor
    count: Tensor

    def __init__(self, batch: int, target: float = 0.6, kimg: float = 500.0, interval: int = 4, p: float = 0.0):
        """batch: real images a step; kimg: thousands of images in which p can go from 0 to 1; interval: steps between
        two calls of `adjust`; p: where to start."""
        super().__init__()
        self.target = target
        self.interval = interval
        self.step = batch * interval / (kimg * 1000)
        self.register_buffer("p", torch.tensor(float(p)))
        for name in ("rt", "sign_sum", "count"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def update(self, logits: Tensor) -> None:
        """Take note of the discriminator's logits of augmented real images, positive for real, any shape."""
        self.sign_sum += parallel.total(logits.sign().sum())
        self.count += logits.numel() * parallel.parts()

    @torch.no_grad()
    def adjust(self) -> None:
        """Move p by one step up or down; without an `update` since the last call, leave it."""
        self.rt.copy_(torch.where(self.count > 0, self.sign_sum / self.count.clamp(min=1), self.rt))
        move = torch.where(self.count > 0, (self.rt - self.target).sign() * self.step, 0.0)
        self.p.add_(move).clamp_(min=0)
        self.sign_sum.zero_()
        self.count.zero_()


class _Dice:
    """Amounts per image, 0 where an operation is off."""

    def __init__(self, operations: frozenset[str], x: Tensor, p: Tensor | float):
        self.operations = operations
        self.n, self.like = len(x), {"device": x.device, "dtype": x.dtype}
        self.p = p.to(**self.like) if isinstance(p, Tensor) else torch.full((), p, **self.like)

    def _gate(self, name: str, p: Tensor | None) -> Tensor | float:
        if name not in self.operations:
            return 0.0
        return (parallel.rand(self.n, **self.like) < (self.p if p is None else p)).to(self.like["dtype"])

    def uniform(self, name: str, high: float, count: int = 1, p: Tensor | None = None) -> Tensor:
        """[count, N] in -high..high, on or off together."""
        return (parallel.rand(count, self.n, axis=1, **self.like) * 2 - 1) * (high * self._gate(name, p))

    def normal(self, name: str, std: float, count: int = 1) -> Tensor:
        """[count, N], on or off together."""
        return parallel.randn(count, self.n, axis=1, **self.like) * (std * self._gate(name, None))

    def choice(self, name: str, count: int) -> Tensor:
        """[N] whole numbers 0..count-1."""
        return (parallel.rand(self.n, **self.like) * count).floor() * self._gate(name, None)

    def on(self, name: str) -> Tensor:
        """[N] 1 or 0."""
        return torch.ones(self.n, **self.like) * self._gate(name, None)


def _size(x: Tensor) -> Tensor:
    """Width and height [2], made on the device: a copy from the host would wait for it."""
    return torch.stack([torch.full((), n, dtype=x.dtype, device=x.device) for n in (x.shape[3], x.shape[2])])


def _per_image(amount: Tensor) -> Tensor:
    return amount[:, None, None, None]


def _geometry(x: Tensor, dice: _Dice) -> tuple[Tensor, Tensor]:
    """Linear part [N, 2, 2] and offset [N, 2], pixels of the result to pixels of ``x``, (x, y) from the centre.

    In the order of the paper the image is shifted by whole pixels, scaled, turned, stretched, turned, shifted; here
    stands the inverse. Turning before and after with probability p_rot each makes p the probability of either.
    """
    size = _size(x)[:, None]
    p_rot = 1 - (1 - dice.p).clamp(min=0).sqrt()
    scale = torch.exp2(-dice.normal("scale", SCALE_STD)[0])
    before, after = (_rotation(-dice.uniform("rotate", math.pi, p=p_rot)[0]) for _ in range(2))
    aniso = dice.normal("aniso", ANISO_STD)[0]
    stretch = torch.stack([torch.exp2(-aniso) * scale, torch.exp2(aniso) * scale], 1)
    whole = (dice.uniform("xint", XINT_MAX, 2) * size).round().t()
    shift = (dice.normal("xfrac", XFRAC_STD, 2) * size).t()
    linear = _product(before * stretch[:, None], after)
    return linear, -whole - (linear * shift[:, None]).sum(2)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """[N, I, J] x [N, J, K] in full precision, where `torch.bmm` may use TF32."""
    return (a[:, :, :, None] * b[:, None]).sum(2)


def _rotation(angle: Tensor) -> Tensor:
    c, s = angle.cos(), angle.sin()
    return torch.stack([c, -s, s, c], 1).unflatten(1, (2, 2))


def _colour(x: Tensor, dice: _Dice, cross: Tensor) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation all keep luma and chroma apart: one matrix does them.

    cross: [3, 3], the cross product with the grey axis.
    """
    channels = x.shape[1]
    brightness = dice.normal("brightness", BRIGHTNESS_STD)[0]
    contrast = torch.exp2(dice.normal("contrast", CONTRAST_STD)[0])
    luma = contrast * (1 - 2 * dice.choice("lumaflip", 2))
    if channels == 1:
        return (x + _per_image(brightness)) * _per_image(luma)
    hue = dice.uniform("hue", math.pi)[0]
    chroma = contrast * torch.exp2(dice.normal("saturation", SATURATION_STD)[0])
    mean = torch.full((channels, channels), 1 / channels, dtype=x.dtype, device=x.device)
    rest = torch.eye(channels, dtype=x.dtype, device=x.device) - mean
    turned = rest.expand(len(x), -1, -1)
    if channels == 3:  # Rodrigues' formula about the grey axis
        turned = rest * hue.cos()[:, None, None] + cross.to(x.dtype) * hue.sin()[:, None, None]
    matrix = luma[:, None, None] * mean + chroma[:, None, None] * turned
    return torch.baddbmm((brightness * luma)[:, None, None], matrix, x.flatten(2)).view_as(x)


def _cutout(x: Tensor, dice: _Dice) -> Tensor:
    """Set a rectangle of half the width and height, anywhere about a centre in the image, to 0."""
    size = _per_image(dice.on("cutout")) * CUTOUT_SIZE
    centre = parallel.rand(2, len(x), axis=1, dtype=x.dtype, device=x.device)
    rows = (torch.arange(x.shape[2], dtype=x.dtype, device=x.device) + 0.5)[:, None] / x.shape[2]
    columns = (torch.arange(x.shape[3], dtype=x.dtype, device=x.device) + 0.5) / x.shape[3]
    outside_y = (rows - _per_image(centre[0])).abs() >= size / 2
    outside_x = (columns - _per_image(centre[1])).abs() >= size / 2
    return x * (outside_y | outside_x)


def _filter_bank() -> Tensor:
    """Four octave bands [4, 43], low to high, that sum to the unit impulse, from sym2 and its quadrature mirror."""
    low = torch.tensor(SYM2, dtype=torch.float64)
    high = low * torch.tensor([1.0, -1, 1, -1], dtype=torch.float64)
    low, high = (_convolve(taps, taps.flip(0)) / 2 for taps in (low, high))
    bands, rest = [], torch.ones(1, dtype=torch.float64)
    for octave in range(3):
        step = 2**octave
        bands.insert(0, _convolve(rest, _spread(high, step)))
        rest = _convolve(rest, _spread(low, step))
    bands.insert(0, rest)
    longest = rest.numel()
    return torch.stack([F.pad(band, ((longest - band.numel()) // 2,) * 2) for band in bands]).float()


def _spread(taps: Tensor, step: int) -> Tensor:
    return torch.stack([taps, *[torch.zeros_like(taps)] * (step - 1)], 1).flatten()[: (taps.numel() - 1) * step + 1]


def _convolve(a: Tensor, b: Tensor) -> Tensor:
    return F.conv1d(a[None, None], b.flip(0)[None, None], padding=b.numel() - 1)[0, 0]
