"""Spectral normalisation: weights divided by their largest singular value (Miyato et al. 2018)."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from gan.nn.layers import Conv
from gan.ops.precision import own_dtype

SETTLED = 15  # iterations on a new weight
AT_TEST = 10  # iterations of an evaluation, whose weights are averages, or those after the last step


class SpectralNorm(nn.Module):
    """A weight divided by its largest singular value, as a matrix [outputs, inputs * kernel^d].

    One power iteration in every forward pass in training; its vectors ``u`` [outputs] and ``v`` are state. They depend
    on the weight alone, so that ranks and pieces of a batch agree. In evaluation they stay, and each pass takes
    `AT_TEST` iterations from them. It bounds the matrix, and the convolution only up to the overlap of its kernels.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, dim: int = 0):
        """dim: the dimension of ``weight`` that counts the outputs; 1 for a transposed convolution."""
        super().__init__()
        self.dim = dim
        matrix = self._matrix(weight.detach())
        u, v = _iterated(matrix, torch.randn_like(matrix[:, 0]), SETTLED)
        self.register_buffer("u", u)
        self.register_buffer("v", v)

    def forward(self, weight: Tensor) -> Tensor:
        with own_dtype(weight):
            matrix = self._matrix(weight)
            u, v = _iterated(matrix.detach(), self.u, 1 if self.training else AT_TEST)
            if self.training:
                self.u.copy_(u)
                self.v.copy_(v)
            return weight / torch.dot(u, matrix @ v)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1)


def spectral(network: nn.Module) -> None:
    """Normalise every convolution in ``network``, after its first weights are set."""
    for module in list(network.modules()):
        if isinstance(module, Conv):
            module.weight_gain = 1.0  # it would be divided out
        if isinstance(module, _ConvNd | Conv):
            normed = SpectralNorm(module.weight, 1 if isinstance(module, _ConvTransposeNd) else 0)
            parametrize.register_parametrization(module, "weight", normed)


@torch.no_grad()
def _iterated(matrix: Tensor, u: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The vectors after ``count`` power iterations from ``u``."""
    v = matrix.new_empty(0)
    for _ in range(count):
        v = functional.normalize(matrix.t() @ u, dim=0)
        u = functional.normalize(matrix @ v, dim=0)
    return u, v
