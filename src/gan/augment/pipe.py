"""The operations of ADA, and their presets.

Shapes are fixed and nothing waits for the device: amounts are drawn for every image and every operation, and are
neutral where an operation is off. Images are [N, C, H, W] or [N, C, D, H, W] in [-1, 1] with any number of channels.

Choices where the paper leaves room or thinks of RGB:

- Mirroring and quarter turns copy pixels exactly; all other geometry is one resampling. An image that no operation
  touched passes unchanged, bit for bit. Quarter turns of an image that is not square are half turns.
- Outside the image is its reflection, without end. The warp reflects by itself, so there is no margin to compute.
- Luma is the mean over channels, whatever they are, chroma the rest: saturation scales the differences between MRI
  contrasts and does nothing to one channel. Hue turns the chroma plane and so needs exactly three channels; with any
  other number it does nothing.
- A volume is mirrored left to right (W) and turned by quarters in its last two axes alone: no head is upside down. Its
  rotations are any of space (``rotate``), or by N(0, 15 degrees) about any axis (``tilt``); it is stretched along one
  random axis at a constant volume. Voxels count as cubes.
- A mask moves with its contrasts, and a cutout hides it with them; colour, filter and noise leave it alone: its values
  are labels, not intensities, and count for no luma.
"""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan import ops, parallel
from gan.augment.geometry import Dice, affine_map
from gan.ops.precision import own_dtype

BLIT = ("xflip", "rotate90", "xint")
GEOMETRY = ("scale", "rotate", "aniso", "xfrac")
TILT = "tilt"  # of volumes, in the place of rotate
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
# Of volumes: quarter turns and any rotation would show the discriminator heads that no scanner sees.
OF_VOLUMES: dict[str, tuple[str, ...]] = {
    "mri": ("xflip", "xint", "scale", TILT, "aniso", "xfrac", "brightness", "contrast"),
}

# Standard deviations and ranges of the paper; scales are powers of 2.
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


def preset(name: str, spatial_dims: int) -> tuple[str, ...]:
    """The operations of a preset, a key of `PRESETS`, for images or volumes."""
    return OF_VOLUMES.get(name, PRESETS[name]) if spatial_dims == 3 else PRESETS[name]


class AugmentPipe(nn.Module):
    """Random, differentiable augmentation of images. Random numbers come from torch's default generators."""

    sym6: Tensor
    bands: Tensor
    band_power: Tensor
    cross: Tensor

    def __init__(self, operations: Iterable[str], masks: int = 0, oversample: bool = True):
        """operations: names out of BLIT, GEOMETRY, COLOUR and CORRUPTION, TILT, or what `preset` gives; masks: how many
        of the channels, the last ones, hold labels; oversample: move images at twice their resolution, as published,
        else by linear interpolation alone."""
        super().__init__()
        self.operations, self.masks, self.oversample = frozenset(operations), masks, oversample
        unknown = self.operations.difference(BLIT, GEOMETRY, COLOUR, CORRUPTION, (TILT,))
        if unknown:
            raise ValueError(f"AugmentPipe: no operation {sorted(unknown)[0]!r}")
        self.register_buffer("sym6", torch.tensor(SYM6) / sum(SYM6), persistent=False)
        self.register_buffer("bands", _filter_bank(), persistent=False)
        self.register_buffer("band_power", torch.tensor(BAND_POWER), persistent=False)
        self.register_buffer("cross", torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / 3**0.5, persistent=False)

    def forward(self, images: Tensor, p: Tensor | float) -> Tensor:
        """Augment ``images``, each operation with probability ``p``.

        images: [N, C, H, W] or [N, C, D, H, W], each side at least 4, with ``imgfilter`` at least 22; p: a number, or a
        tensor without dimensions on the same device. Returns shape and dtype of ``images``; computes in float32 or
        wider. Raises ValueError for other shapes, and for images of two axes that are to tilt.
        """
        if images.ndim not in ((5,) if TILT in self.operations else (4, 5)):
            raise ValueError(
                f"AugmentPipe: images are [N, C, H, W], or [N, C, D, H, W] as for {TILT}, not {list(images.shape)}"
            )
        if not self.operations:
            return images
        x = images.to(torch.promote_types(images.dtype, torch.float32))
        with own_dtype(x):
            return self._augment(x, p).to(images.dtype)

    def _augment(self, x: Tensor, p: Tensor | float) -> Tensor:
        dice = Dice(self.operations, x, p)
        x = self._blit(x, dice)
        if not self.operations.isdisjoint(("xint", *GEOMETRY, TILT)):
            x = ops.affine_resample(x, *affine_map(x, dice), self.sym6 if self.oversample else None)
        if not self.operations.isdisjoint((*COLOUR, "imgfilter", "noise")):
            contrasts, masks = x.tensor_split((x.shape[1] - self.masks,), 1)
            changed = self._intensities(contrasts, dice)
            x = torch.cat([changed, masks], 1) if self.masks else changed
        if "cutout" in self.operations:
            x = _cutout(x, dice)
        return x

    def _blit(self, x: Tensor, dice: Dice) -> Tensor:
        if "xflip" in self.operations:
            x = torch.where(_per_image(dice.choice("xflip", 2) == 1, x), x.flip(-1), x)
        if "rotate90" in self.operations:
            square = x.shape[-2] == x.shape[-1]
            turns = dice.choice("rotate90", 4) if square else 2 * dice.choice("rotate90", 2)
            x = torch.where(_per_image(turns >= 2, x), x.flip(-2, -1), x)
            if square:
                x = torch.where(_per_image(turns % 2 == 1, x), x.rot90(1, (-2, -1)), x)
        return x

    def _intensities(self, x: Tensor, dice: Dice) -> Tensor:
        if not self.operations.isdisjoint(COLOUR):
            x = _colour(x, dice, self.cross)
        if "imgfilter" in self.operations:
            x = self._filter(x, dice)
        if "noise" in self.operations:
            x = x + parallel.randn_like(x) * _per_image(dice.normal("noise", NOISE_STD)[0].abs(), x)
        return x

    def _filter(self, x: Tensor, dice: Dice) -> Tensor:
        """Scale each octave of the spectrum by 2^normal, at a constant power for a natural spectrum."""
        power = self.band_power.to(x.dtype)
        gains = torch.ones(len(x), len(power), dtype=x.dtype, device=x.device)
        for own in torch.eye(len(power), dtype=torch.bool, device=x.device):
            amount = torch.exp2(dice.normal("imgfilter", IMGFILTER_STD)[0])[:, None]
            scaled = torch.where(own, amount, 1.0)
            gains = gains * scaled / (power * scaled.square()).sum(1, keepdim=True).sqrt()
        margin, channels = self.bands.shape[1] // 2, x.shape[1]
        kernel = self.bands.to(x.dtype).repeat(channels, 1)[:, None, None, :]
        for axis in range(x.ndim - 1, 1, -1):
            x = x.movedim(axis, -1)
            rows = F.pad(x.flatten(2, -2), (margin, margin, 0, 0), mode="reflect")
            split = F.conv2d(rows, kernel, groups=channels).unflatten(1, (channels, -1))
            x = (split * gains[:, None, :, None, None]).sum(2).view(x.shape).movedim(-1, axis)
        return x


def _per_image(amount: Tensor, x: Tensor) -> Tensor:
    """Amounts [N] in the shape that goes with ``x``."""
    return amount.view(-1, *[1] * (x.ndim - 1))


def _colour(x: Tensor, dice: Dice, cross: Tensor) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation all keep luma and chroma apart: one matrix does them.

    cross: [3, 3], the cross product with the grey axis.
    """
    channels = x.shape[1]
    brightness = dice.normal("brightness", BRIGHTNESS_STD)[0]
    contrast = torch.exp2(dice.normal("contrast", CONTRAST_STD)[0])
    luma = contrast * (1 - 2 * dice.choice("lumaflip", 2))
    if channels == 1:
        return (x + _per_image(brightness, x)) * _per_image(luma, x)
    hue = dice.uniform("hue", math.pi)[0]
    chroma = contrast * torch.exp2(dice.normal("saturation", SATURATION_STD)[0])
    mean = torch.full((channels, channels), 1 / channels, dtype=x.dtype, device=x.device)
    rest = torch.eye(channels, dtype=x.dtype, device=x.device) - mean
    turned = rest.expand(len(x), -1, -1)
    if channels == 3:  # Rodrigues' formula about the grey axis
        turned = rest * hue.cos()[:, None, None] + cross.to(x.dtype) * hue.sin()[:, None, None]
    matrix = luma[:, None, None] * mean + chroma[:, None, None] * turned
    return torch.baddbmm((brightness * luma)[:, None, None], matrix, x.flatten(2)).view_as(x)


def _cutout(x: Tensor, dice: Dice) -> Tensor:
    """Set a box of half of each side, anywhere about a centre in the image, to 0."""
    size = _per_image(dice.on("cutout"), x) * CUTOUT_SIZE
    centre = parallel.rand(x.ndim - 2, len(x), axis=1, dtype=x.dtype, device=x.device)
    outside = torch.zeros([], dtype=torch.bool, device=x.device)
    for axis, middle in enumerate(centre, start=2):
        count = x.shape[axis]
        places = (torch.arange(count, dtype=x.dtype, device=x.device) + 0.5) / count
        places = places.view([count if other == axis else 1 for other in range(x.ndim)])
        outside = outside | ((places - _per_image(middle, x)).abs() >= size / 2)
    return x * outside


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
