"""The network of CycleGAN: residual blocks at a quarter of the size (Johnson et al. 2016; Zhu et al. 2017)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gan.errors import GanError
from gan.nn.norm import NORMS
from gan.nn.plain import LAYERS
from gan.ops.precision import autocast, widened

LARGE = 256  # pixels of the shortest side from which there are 9 blocks


class ResNet(nn.Module):
    """Images [N, inputs, *size] -> images [N, outputs, *size] in [-1, 1], size from 8 pixels a side.

    A layer of kernel 7, two that halve (kernel 3, stride 2), ``blocks`` residual blocks, two transposed convolutions
    that double, a layer of kernel 7 and tanh. The first, the last and the blocks pad by reflection. As in the published
    program, convolutions in front of instance norm have a bias, without effect, and those in front of batch norm none.
    """

    def __init__(
        self,
        size: tuple[int, ...],
        inputs: int,
        outputs: int,
        *,
        width: int = 64,
        blocks: int = 9,
        norm: str = "instance",
    ):
        """width: feature maps of the first layer; four times as many in the blocks. norm: of `NORMS`."""
        super().__init__()
        if min(size) < 8:
            raise GanError(f"images of size {list(size)} are too small; a residual network needs 8 pixels a side")
        dims, bias = len(size), norm == "instance"
        conv, transposed = LAYERS[dims]
        first = conv(inputs, width, 7, bias=bias)
        self.first = nn.Sequential(Reflect(3, dims), first, NORMS[norm](width), nn.ReLU(inplace=True))
        self.down = nn.ModuleList()
        for wide in (width * 2, width * 4):
            halve = conv(wide // 2, wide, 3, 2, 1, bias=bias)
            self.down.append(nn.Sequential(halve, NORMS[norm](wide), nn.ReLU(inplace=True)))
        self.blocks = nn.Sequential(*(Residual(width * 4, dims, norm) for _ in range(blocks)))
        self.up = nn.ModuleList()
        for wide in (width * 4, width * 2):
            after = nn.Sequential(NORMS[norm](wide // 2), nn.ReLU(inplace=True))
            self.up.append(nn.ModuleList([transposed(wide, wide // 2, 3, 2, 1, bias=bias), after]))
        self.last = nn.Sequential(Reflect(3, dims), conv(width, outputs, 7))

    def forward(self, x: Tensor) -> Tensor:
        with autocast(x):
            x, sizes = self.first(x), []
            for layer in self.down:
                sizes.append(x.shape[2:])
                x = layer(x)
            x = self.blocks(x)
            for enlarge, after in self.up:  # type: ignore[misc]
                x = after(enlarge(x, output_size=list(sizes.pop())))
            return torch.tanh(widened(self.last(x)))


class Residual(nn.Module):
    """x + norm(conv(relu(norm(conv x)))), with no activation after the sum."""

    def __init__(self, channels: int, spatial_dims: int, norm: str):
        super().__init__()
        conv, _ = LAYERS[spatial_dims]
        layers: list[nn.Module] = []
        for _ in range(2):
            inner = conv(channels, channels, 3, bias=norm == "instance")
            layers += [Reflect(1, spatial_dims), inner, NORMS[norm](channels)]
        layers.insert(3, nn.ReLU(inplace=True))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Reflect(nn.Module):
    """Pads each side of each axis by reflection."""

    def __init__(self, width: int, spatial_dims: int):
        super().__init__()
        self.pad = [width] * (2 * spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, self.pad, mode="reflect")


def default_blocks(size: tuple[int, ...]) -> int:
    """9 residual blocks from 256 pixels a side on, 6 below, as published."""
    return 9 if min(size) >= LARGE else 6
