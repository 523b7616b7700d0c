"""Losses and penalties as pure functions: logits, images or latents in, a scalar out. High logits mean real."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gan import parallel


def logistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """mean softplus(-D(x)) + mean softplus(D(G(z))), the binary cross-entropies (Goodfellow et al. 2014)."""
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """mean D(G(z)) - mean D(x), the negative of the estimated distance (Arjovsky et al. 2017)."""
    return fake.mean() - real.mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """mean max(0, 1 - D(x)) + mean max(0, 1 + D(G(z))) (Lim and Ye 2017)."""
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """mean softplus(D(G(z)) - D(x)), each generated image paired with a real one (Jolicoeur-Martineau 2019)."""
    return functional.softplus(fake - real).mean()


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """mean (D(x) - 1)^2 + mean D(G(z))^2 (Mao et al. 2017, equation 9)."""
    return (real - 1).square().mean() + fake.square().mean()


class Objective(NamedTuple):
    """The two sides of an adversarial loss.

    generator: of (fake, real) logits [N, 1, ...], the loss of each of them; discriminator: of (real, fake), the mean.
    paired: the generator's loss looks at real logits too, else they may be None. saturates: the discriminator's loss
    falls to 0 as it tells every real image from every generated one.
    """

    generator: Callable[[Tensor, Tensor], Tensor]
    discriminator: Callable[[Tensor, Tensor], Tensor]
    paired: bool = False
    saturates: bool = True


OBJECTIVES = {
    "nonsaturating": Objective(lambda fake, _: functional.softplus(-fake), logistic_discriminator),
    "wgan_gp": Objective(lambda fake, _: -fake, wasserstein_discriminator, saturates=False),
    "hinge": Objective(lambda fake, _: -fake, hinge_discriminator),
    "lsgan": Objective(lambda fake, _: (fake - 1).square(), least_squares_discriminator),
    "r3gan": Objective(lambda fake, real: functional.softplus(real - fake), relativistic_discriminator, paired=True),
}


def charbonnier(x: Tensor, epsilon: float = 1e-3) -> Tensor:
    """sqrt(x^2 + epsilon^2) of each value (Charbonnier et al. 1994): |x| far from 0, smooth there. x: on [-2, 2]."""
    return (x.square() + epsilon**2).sqrt()


def topk_weights(fake: Tensor, share: Tensor) -> Tensor:
    """Weights [N, 1] that make a mean over the samples one over those of the highest logits (Sinha et al. 2020).

    fake: logits [N, 1]; share: which part of the global batch is kept, a scalar in (0, 1]; k = ceil(share N). A kept
    sample has the weight N / k, the others 0; samples that tie with the k-th are kept too.
    """
    ordered = parallel.gather(fake.detach()).flatten().sort(descending=True).values
    k = (share * len(ordered)).ceil().long().clamp(min=1)
    least = ordered.take(k - 1)
    return (fake.detach() >= least) * (len(ordered) / (ordered >= least).sum())


def lecam(real: Tensor, fake: Tensor, anchors: Tensor) -> Tensor:
    """mean (D(x) - a_fake)^2 + mean (D(G(z)) - a_real)^2 (Tseng et al. 2021, equation 5).

    real, fake: logits [N, 1]; anchors: moving averages [2] of the logits of real and of generated images.
    """
    return (real - anchors[1]).square().mean() + (fake - anchors[0]).square().mean()


def gradient_penalty(logits: Tensor, images: Tensor, target: float = 1.0) -> Tensor:
    """mean (|grad_x D(x)| - target)^2 (Gulrajani et al. 2017, equation 3).

    logits: [N, 1], computed from images [N, C, *size], which must require gradients: `interpolate`, by the paper. The
    result can be differentiated, where the gradient vanishes too.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return (torch.linalg.vector_norm(gradient.float().flatten(1), dim=1) - target).square().mean()


def interpolate(real: Tensor, fake: Tensor) -> Tensor:
    """e x + (1 - e) G(z) with e uniform in [0, 1) for each pair of images [N, C, *size]; a leaf that asks gradients."""
    share = parallel.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    return torch.lerp(fake, real, share).detach().requires_grad_()


def drift(real: Tensor) -> Tensor:
    """mean D(x)^2, which keeps a critic near 0 (Karras et al. 2018, appendix A.1). real: logits [N, 1]."""
    return real.square().mean()


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """mean |grad_x D(x)|^2 over real images x (Mescheder et al. 2018, equation 9); the caller multiplies by gamma / 2.

    Over generated images it is R2.

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
