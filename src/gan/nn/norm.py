"""Batch normalisation of a batch that may be spread over ranks, and instance normalisation."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from gan import parallel
from gan.errors import GanError
from gan.ops.precision import widened


class BatchNorm(_BatchNorm):
    """`torch.nn.BatchNorm2d` and `3d` (Ioffe and Szegedy 2015) with moments over the global batch.

    [N, C, *size] -> the same. Parameters and buffers are those of torch's classes, and with one rank so is the
    computation. (`torch.nn.SyncBatchNorm` takes no CPU tensors and cannot be differentiated twice.)
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of spatial dimensions."""

    def forward(self, input: Tensor) -> Tensor:
        by_batch = self.training or self.running_mean is None
        if parallel.parts() == 1 or not by_batch:
            return super().forward(input)
        flat = widened(input).transpose(0, 1).flatten(1)
        moments = torch.stack([flat.mean(dim=1), flat.var(dim=1, correction=0)])
        means, variances = parallel.gather(moments[None]).unbind(dim=1)
        mean = means.mean(dim=0)
        variance = variances.mean(dim=0) + (means - mean).square().mean(dim=0)
        if self.training and self.running_mean is not None:
            self._track(mean.detach(), variance.detach(), parallel.parts() * flat.shape[1])
        mean, scale, bias = (
            each.reshape(-1, *[1] * (input.ndim - 2))
            for each in (mean, self.weight * (variance + self.eps).rsqrt(), self.bias)
        )
        return torch.addcmul(bias, input - mean, scale).to(input.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


class InstanceNorm(nn.Module):
    """(x - mean) / sqrt(variance + 1e-5) of each map of each image (Ulyanov et al. 2016), without parameters.

    [N, channels, *size] -> the same, in training and evaluation alike. `GanError` for maps of one position, which it
    would set to 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x[0, 0].numel() == 1:
            raise GanError("instance normalisation of maps of one position gives 0; take fewer layers, or norm: batch")
        return functional.instance_norm(x)


NORMS: dict[str, Callable[[int], nn.Module]] = {"instance": lambda channels: InstanceNorm(), "batch": BatchNorm}
