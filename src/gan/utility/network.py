"""The two small networks: a U-Net that segments (Ronneberger et al. 2015), a residual network that classifies.

They are small on purpose: training one takes minutes of a CPU, and all arms of a study train the same one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gan.nn.norm import InstanceNorm

LEVELS = 4  # sizes of feature maps, each half of the one above
SLOPE = 0.1  # of the leaky ReLU


class Segmenter(nn.Module):
    """Images [N, inputs, H, W] -> logits [N, labels, H, W] of the labels of a mask, 0 the background.

    Two convolutions a level, feature maps double from ``width`` on, max pooling down, transposed convolutions up.
    """

    def __init__(self, inputs: int, labels: int, width: int = 8):
        super().__init__()
        widths = [width << level for level in range(LEVELS)]
        self.down = nn.ModuleList(
            _pair(before, after) for before, after in zip([inputs, *widths], widths, strict=False)
        )
        self.up, self.back = nn.ModuleList(), nn.ModuleList()
        for after, before in zip(widths[-2::-1], widths[:0:-1], strict=True):
            self.up.append(nn.ConvTranspose2d(before, after, 2, 2))
            self.back.append(_pair(2 * after, after))
        self.last = nn.Conv2d(width, labels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        step = 1 << (LEVELS - 1)
        x = functional.pad(x, (0, -width % step, 0, -height % step), mode="replicate")
        skips = []
        for level, layer in enumerate(self.down):
            x = layer(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for enlarge, layer, skip in zip(self.up, self.back, skips[-2::-1], strict=True):
            x = layer(torch.cat([skip, enlarge(x)], 1))
        return self.last(x)[..., :height, :width]


class Classifier(nn.Module):
    """Images [N, inputs, H, W] -> logits [N, classes]: residual blocks at a half to a sixteenth of the size, then
    the mean and the maximum of each map: a class may show in a small place.
    """

    def __init__(self, inputs: int, classes: int, width: int = 8):
        super().__init__()
        widths = [width << level for level in range(LEVELS)]
        self.first = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            _Block(before, after) for before, after in zip([widths[0], *widths], widths, strict=False)
        )
        self.last = nn.Linear(2 * widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(functional.avg_pool2d(x, 2))
        return self.last(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


class _Block(nn.Module):
    """x + conv(act(norm(conv(act(norm x))))), with a convolution of kernel 1 where the width changes (He et al. 2016).

    Normalised over the batch: over an image alone it would lose how bright that is, which may tell its class.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)])
        self.layers = nn.ModuleList(
            [nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)]
        )
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for norm, layer in zip(self.norms, self.layers, strict=True):
            y = layer(functional.leaky_relu(norm(y), SLOPE))
        return self.skip(x) + y


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layers += [nn.Conv2d(before, outputs, 3, padding=1, bias=False), InstanceNorm(), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)
