"""The U-Net of Pix2Pix (Isola et al. 2017), with the attention gates of Oktay et al. (2018) if asked for."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from gan import parallel
from gan.errors import GanError
from gan.nn.norm import NORMS
from gan.nn.plain import LAYERS
from gan.ops.precision import autocast, widened

SLOPE, DROPPED = 0.2, 0.5  # of the leaky ReLU; the share of features that dropout sets to 0
WIDEST = 8  # the most feature maps of a layer, in multiples of the layer next to the image


class UNet(nn.Module):
    """Images [N, inputs, *size] -> images [N, outputs, *size] in [-1, 1].

    ``depth`` convolutions halve the image (an odd side is rounded down) and as many layers bring it back; each of those
    but the innermost also gets the features of its size from the way down. Kernel 4, stride 2, padding 1 by zeros. The
    last layer alone has a bias, as in the published program with batch norm.
    """

    def __init__(
        self,
        size: tuple[int, ...],
        inputs: int,
        outputs: int,
        *,
        width: int = 64,
        depth: int | None = None,
        norm: str = "instance",
        dropout: Sequence[int] = (1, 2, 3),
        dropout_at_test: bool = False,
        attention: bool = False,
        upsample: str = "transposed",
    ):
        """width: feature maps of the layer next to the image; they double up to 8 times as many. depth: None for as
        many as `halvings`. norm: of `NORMS`. dropout: layers of the way back that have it, 1 is the innermost; the last
        one never does. attention: gates on all features that are handed over but the largest. upsample: ``transposed``
        convolutions or ``nearest`` neighbours before a convolution of kernel 3. `GanError` if ``depth`` does not fit.
        """
        super().__init__()
        depth = checked_depth(size, depth)
        dims = len(size)
        conv, _ = LAYERS[dims]
        widths = [width * min(2**level, WIDEST) for level in range(depth)]
        # Down: level k has size / 2^(k + 1); neither the first nor the innermost layer is normalised.
        self.down = nn.ModuleList()
        for level, wide in enumerate(widths):
            layer = conv(widths[level - 1] if level else inputs, wide, 4, 2, 1, bias=False)
            plain = level in (0, depth - 1)
            self.down.append(layer if plain else nn.Sequential(layer, NORMS[norm](wide)))
        # Back: from level k to the size above it; layer 1 is the innermost.
        self.back, self.gates = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(depth)):
            taken = widths[level] * (1 if level == depth - 1 else 2)
            layers: list[nn.Module] = [
                Enlarge(taken, widths[level - 1] if level else outputs, dims, upsample, bias=level == 0)
            ]
            if level:
                layers.append(NORMS[norm](widths[level - 1]))
                layers += [Dropout(dropout_at_test)] if depth - level in dropout else []
            self.back.append(nn.ModuleList(layers))
            if attention and level > 1:
                self.gates.append(Gate(widths[level - 1], taken, dims, norm))

    def forward(self, x: Tensor) -> Tensor:
        with autocast(x):
            return torch.tanh(widened(self._features(x)))

    def _features(self, x: Tensor) -> Tensor:
        sizes, skips = [x.shape[2:]], []
        for level, layer in enumerate(self.down):
            if level:
                x = functional.leaky_relu(x, SLOPE, inplace=True)
                sizes.append(x.shape[2:])
                skips.append(x)  # activated: the ReLU on the way back gives the same with or without that
            x = layer(x)
        for place, (enlarge, *after) in enumerate(self.back):  # type: ignore[misc]
            x = functional.relu(x, inplace=True)
            skip = skips.pop() if skips else None
            if skip is not None and place < len(self.gates):
                skip = self.gates[place](skip, x)
            x = enlarge(x, sizes.pop())
            for layer in after:
                x = layer(x)
            if skip is not None:
                x = torch.cat([skip, x], dim=1)
        return x


class Enlarge(nn.Module):
    """[N, inputs, *size] -> [N, outputs, *about twice the size], exactly the size that is asked for."""

    def __init__(self, inputs: int, outputs: int, spatial_dims: int, upsample: str, bias: bool):
        super().__init__()
        conv, transposed = LAYERS[spatial_dims]
        self.nearest = upsample == "nearest"
        if self.nearest:
            self.layer = conv(inputs, outputs, 3, 1, 1, bias=bias)
        else:
            self.layer = transposed(inputs, outputs, 4, 2, 1, bias=bias)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        if self.nearest:
            return self.layer(functional.interpolate(x, size=tuple(size)))
        return self.layer(x, output_size=list(size))


class Dropout(nn.Module):
    """Features become 0 with probability 1/2, else twice as large; in evaluation only if ``always``."""

    def __init__(self, always: bool = False):
        super().__init__()
        self.always = always

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training or self.always):
            return x
        kept = parallel.rand(*x.shape, device=x.device) >= DROPPED
        return x * (kept.to(x.dtype) / (1 - DROPPED))


class Gate(nn.Module):
    """An additive attention gate (Oktay et al. 2018, section 2): skip [N, channels, *size] -> the same, weighted.

    a = sigmoid(psi(relu(theta skip + phi gate))) at the size of ``gate`` [N, gates, *size / 2], enlarged linearly; then
    a 1 x 1 convolution and normalisation of a * skip. The inner width is that of ``skip``, as in the published network.
    """

    def __init__(self, channels: int, gates: int, spatial_dims: int, norm: str):
        super().__init__()
        conv, _ = LAYERS[spatial_dims]
        self.theta = conv(channels, channels, 2, 2, bias=False)
        self.phi = conv(gates, channels, 1)
        self.psi = conv(channels, 1, 1)
        self.out = nn.Sequential(conv(channels, channels, 1, bias=False), NORMS[norm](channels))
        self.mode = {2: "bilinear", 3: "trilinear"}[spatial_dims]

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        weight = torch.sigmoid(self.psi(functional.relu(self.theta(skip) + self.phi(gate))))
        weight = functional.interpolate(weight, size=skip.shape[2:], mode=self.mode)
        return self.out(weight * skip)


def halvings(size: Sequence[int]) -> int:
    """How often ``size`` can be halved until a side is 1 or odd."""
    count = 0
    while all(side % 2 == 0 for side in size):
        size, count = [side // 2 for side in size], count + 1
    return count


def checked_depth(size: tuple[int, ...], depth: int | None) -> int:
    """``depth``, or `halvings` if it is None; `GanError` if there are fewer than two, or a side would vanish."""
    most = int(math.log2(min(size)))
    if depth is None and halvings(size) < 2:
        raise GanError(
            f"images of size {list(size)} cannot be halved twice without a rest; set option depth, to at most {most}"
        )
    if depth is not None and depth > most:
        raise GanError(f"option depth is {depth}; images of size {list(size)} can be halved {most} times")
    return halvings(size) if depth is None else depth
