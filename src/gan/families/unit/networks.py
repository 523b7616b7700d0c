"""The networks of UNIT: encoders and decoders of both sides with shared blocks, and discriminators of patches."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from gan import parallel
from gan.families.contract import ImageShape, conditions
from gan.families.unit.options import HALVINGS, UNITOptions
from gan.nn.attention import SelfAttention
from gan.nn.norm import NORMS, BatchNorm
from gan.nn.plain import LAYERS, normal_weights, with_planes
from gan.nn.spectral import spectral
from gan.nn.unet import Dropout
from gan.ops.precision import autocast, widened

SAME = {"sources": "sources", "targets": "targets"}  # sides
OTHER = {"sources": "targets", "targets": "sources"}
POOLS = {2: functional.avg_pool2d, 3: functional.avg_pool3d}


class Generators(nn.Module):
    """Both directions: images of one side [N, C, *size] and labels [N, labels] -> images of the other in [-1, 1].

    An image is encoded, and its code decoded as an image of either side. With option share the last block of the
    encoders and the first of the decoders are one for both sides. With option replicate r the networks get and give r
    copies of each channel, [N, C r, *size]: `replicated`, `averaged`.
    """

    def __init__(self, options: UNITOptions, shape: ImageShape):
        super().__init__()
        options.check_size(shape.size)
        self.replicate, self.chance = options.replicate, options.noise and options.stochastic_test
        dims, own, width = len(shape.size), options.blocks - options.share, 4 * options.channels
        self.labels = conditions(options, shape)
        channels = {"sources": shape.sources * options.replicate, "targets": shape.channels * options.replicate}
        self.encoders = nn.ModuleDict(
            {side: Encoder(dims, channels[side] + self.labels, own, options) for side in SAME}
        )
        self.decoders = nn.ModuleDict({side: Decoder(dims, channels[side], own, options) for side in SAME})
        if options.share:
            self.shared_encoder = _blocks(dims, options.widest if own else width, 1, options, "encoder")
            self.shared_decoder = _blocks(dims, options.widest, 1, options)
        else:
            self.shared_encoder, self.shared_decoder = nn.Identity(), nn.Identity()
        _initialise(self, options.init)
        if options.spectral_norm:
            spectral(self)

    def forward(self, images: Tensor, labels: Tensor, backward: bool = False) -> Tensor:
        """The translation; by the mean of the code unless option stochastic_test says otherwise."""
        side = "targets" if backward else "sources"
        code = self.encode(self.replicated(images), labels, side)
        if self.chance:
            code = code + parallel.randn_like(code)
        return self.averaged(self.decode(code, OTHER[side], images.shape[2:]))

    def encode(self, images: Tensor, labels: Tensor, side: str) -> Tensor:
        """The means of the codes of replicated images of ``side``, [N, res_channels, *size / 4]."""
        given = with_planes(images, labels) if self.labels else images
        with autocast(given):
            return widened(self.shared_encoder(self.encoders[side](given)))

    def decode(self, code: Tensor, side: str, size: Sequence[int]) -> Tensor:
        """Replicated images [N, C r, *size] of ``side``."""
        with autocast(code):
            return torch.tanh(widened(self.decoders[side](self.shared_decoder(code), size)))

    def replicated(self, images: Tensor) -> Tensor:
        """[N, C, *size] -> [N, C r, *size]."""
        return images if self.replicate == 1 else images.repeat_interleave(self.replicate, dim=1)

    def averaged(self, images: Tensor) -> Tensor:
        """[N, C r, *size] -> [N, C, *size]."""
        return images if self.replicate == 1 else images.unflatten(1, (-1, self.replicate)).mean(dim=2)

    def spread(self, images: Tensor) -> Tensor:
        """Mean of the largest difference between the copies of a channel, [N, C r, *size] -> a scalar."""
        copies = images.unflatten(1, (-1, self.replicate))
        return (copies.amax(dim=2) - copies.amin(dim=2)).mean()


class Encoder(nn.Sequential):
    """A layer of kernel 7, two that halve the size, ``blocks`` residual blocks."""

    def __init__(self, dims: int, inputs: int, blocks: int, options: UNITOptions):
        conv, _ = LAYERS[dims]
        width, kernel = options.channels, options.down_kernel
        layers = [_after(conv(inputs, width, 7, 1, 3, padding_mode=options.padding), width, ("all",), options)]
        for wide in (2 * width, 4 * width):
            halve = conv(wide // 2, wide, kernel, 2, 1, padding_mode=options.padding)
            layers.append(_after(halve, wide, ("inner", "all"), options))
        last = "" if options.share else "encoder"
        super().__init__(*layers, _blocks(dims, 4 * width, blocks, options, last))


class Decoder(nn.Module):
    """``blocks`` residual blocks, two layers that double the size and halve the channels, and the last layer."""

    def __init__(self, dims: int, outputs: int, blocks: int, options: UNITOptions):
        super().__init__()
        conv, transposed = LAYERS[dims]
        self.nearest = options.upsample == "nearest"
        self.blocks = _blocks(dims, options.widest, blocks, options, "generator")
        widths = [max(1, options.widest // 2**level) for level in range(HALVINGS + 1)]
        self.up = nn.ModuleList()
        for wide, narrow in itertools.pairwise(widths):
            if self.nearest:
                enlarge = conv(wide, narrow, 5, 1, 2, padding_mode=options.padding)
            else:
                enlarge = transposed(wide, narrow, 3, 2, 1)
            self.up.append(_after(enlarge, narrow, ("inner", "all"), options, options.norm_up == "layer"))
        if options.last_kernel == 1:
            self.last = transposed(widths[-1], outputs, 1)
        else:
            self.last = conv(widths[-1], outputs, 7, 1, 3, padding_mode=options.padding)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """size: of the image."""
        x = self.blocks(x)
        for level in reversed(range(HALVINGS)):
            enlarge, *after = self.up[HALVINGS - 1 - level]  # type: ignore[misc]
            goal = [-(-side // 2**level) for side in size]
            x = enlarge(functional.interpolate(x, goal)) if self.nearest else enlarge(x, output_size=goal)
            for layer in after:
                x = layer(x)
        return self.last(x)


class Residual(nn.Module):
    """skip(x) + norm(conv(relu(norm(conv x)))), no activation after the sum; skip is a 1 x 1 convolution where the
    number of channels changes."""

    def __init__(self, dims: int, inputs: int, options: UNITOptions):
        super().__init__()
        conv, _ = LAYERS[dims]
        width, pad = options.widest, {"padding": 1, "padding_mode": options.padding}
        layers: list[nn.Module] = [conv(inputs, width, 3, **pad), *_norm(width, options), nn.ReLU(inplace=True)]
        layers += [conv(width, width, 3, **pad), *_norm(width, options)]
        if options.dropout:
            layers.append(Dropout(options.stochastic_test))
        self.layers = nn.Sequential(*layers)
        self.skip = nn.Identity() if inputs == width else conv(inputs, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.layers(x)


class LayerNorm(nn.Module):
    """[N, C, *size] normalised over channels and positions as in the program: by the unbiased deviation plus 1e-5, with
    scales that start uniformly in [0, 1]."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        axes, planes = tuple(range(1, x.ndim)), (-1, *[1] * (x.ndim - 2))
        wide = widened(x)
        deviation, mean = torch.std_mean(wide, axes, keepdim=True)
        normal = (wide - mean) / (deviation + 1e-5)
        return (normal * self.weight.view(planes) + self.bias.view(planes)).to(x.dtype)


class Discriminators(nn.Module):
    """Images [N, channels, *size] -> logits [N, 1, *map], high for real, of each scale: the image, its half, ..."""

    def __init__(self, size: tuple[int, ...], channels: int, options: UNITOptions):
        super().__init__()
        options.check_size(size)
        self.shrink, self.pool = options.d_shrink, POOLS[len(size)]
        self.scales = nn.ModuleList(_patches(len(size), channels, options) for _ in range(options.d_scales))
        _initialise(self, "normal")
        if options.spectral_norm:
            spectral(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        found = []
        for index, network in enumerate(self.scales):
            images = self.shrunk(images) if index else images
            with autocast(images):
                found.append(widened(network(images)))
        return found

    def shrunk(self, images: Tensor) -> Tensor:
        """Images of half the size; their borders are repeated for the Gaussian filter [1, 2, 1] / 4."""
        if self.shrink == "mean2":
            return self.pool(images, 2)
        if self.shrink == "mean3":
            return self.pool(images, 3, 2, 1, count_include_pad=False)
        padded = functional.pad(images, [1] * (2 * (images.ndim - 2)), mode="replicate")
        return self.pool(self.pool(padded, 2, 1), 2)


def _patches(dims: int, channels: int, options: UNITOptions) -> nn.Sequential:
    """Layers of stride 2 and one that gives logits."""
    conv, _ = LAYERS[dims]
    widths = [channels, *(options.channels * 2**level for level in range(options.d_layers))]
    layers: list[nn.Module] = []
    for narrow, wide in itertools.pairwise(widths):
        layers.append(conv(narrow, wide, options.d_kernel, 2, 1, padding_mode=options.padding))
        layers.append(nn.LeakyReLU(options.d_slope, inplace=True))
    return nn.Sequential(*layers, conv(widths[-1], 1, options.d_last_kernel))


def _blocks(dims: int, inputs: int, count: int, options: UNITOptions, place: str = "") -> nn.Sequential:
    """Residual blocks, and attention after the last one if ``place`` is where the options want it."""
    blocks: list[nn.Module] = [Residual(dims, options.widest if index else inputs, options) for index in range(count)]
    if place and options.attention == place:
        blocks.append(SelfAttention(options.widest, dims))
    return nn.Sequential(*blocks)


def _after(
    layer: nn.Module, channels: int, places: Sequence[str], options: UNITOptions, by_layer: bool = False
) -> nn.Sequential:
    """``layer``, its normalisation if option norm_in is of ``places``, and the activation."""
    norm: Sequence[nn.Module] = _norm(channels, options) if options.norm_in in places else []
    norm = [LayerNorm(channels)] if by_layer else norm
    return nn.Sequential(layer, *norm, nn.LeakyReLU(options.slope, inplace=True))


def _norm(channels: int, options: UNITOptions) -> list[nn.Module]:
    return [] if options.norm == "none" else [NORMS[options.norm](channels)]


def _initialise(network: nn.Module, init: str) -> None:
    """First weights of torch's convolutions and of batch norm; attention and layer norm keep their own."""
    for module in network.modules():
        if isinstance(module, BatchNorm | _ConvNd):
            normal_weights(module)
        if init == "kaiming" and isinstance(module, _ConvNd):
            nn.init.kaiming_normal_(module.weight)
