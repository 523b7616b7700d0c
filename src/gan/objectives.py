"""Losses and penalties as pure functions: logits, images or latents in, a scalar out. High logits mean real."""

import torch
from torch import Tensor
from torch.nn import functional

from gan import parallel


def nonsaturating_generator(fake: Tensor) -> Tensor:
    """mean softplus(-D(G(z))) = -mean log sigmoid(D(G(z))) (Goodfellow et al. 2014). fake: logits [N, 1]."""
    return functional.softplus(-fake).mean()


def logistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """mean softplus(-D(x)) + mean softplus(D(G(z))), the binary cross-entropies (Goodfellow et al. 2014)."""
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """mean |grad_x D(x)|^2 over real images x (Mescheder et al. 2018, equation 9); the caller multiplies by gamma / 2.

    logits: [N, 1], computed from images [N, C, *size], which must require gradients. The result can be differentiated.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum(dim=list(range(1, gradient.ndim))).mean()


def path_lengths(images: Tensor, ws: Tensor) -> Tensor:
    """|J_w^T y| for random images y (Karras et al. 2020a, equation 4): [N], one length a sample.

    images: [N, C, *size], computed from ws [N, layers, w_dim]. y is normal with variance 1 / (number of pixels); the
    square of the gradient is summed over w and averaged over layers.
    """
    pixels = images[0, 0].numel()
    noise = parallel.randn_like(images) / pixels**0.5
    (gradient,) = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
    return gradient.float().square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalty(lengths: Tensor, mean: Tensor, decay: float = 0.01) -> tuple[Tensor, Tensor]:
    """(mean (|J_w^T y| - a)^2, a): the penalty and the new running mean a = a + decay (mean length - a).

    lengths: [N] from `path_lengths`; mean: the running mean so far, a scalar; a takes no part in the gradient.
    """
    mean = mean.lerp(parallel.mean(lengths.detach().mean()), decay)
    return (lengths - mean).square().mean(), mean
