"""The amounts of ADA's operations, and the one affine map that its geometry is, of images and of volumes."""

import math

import torch
from torch import Tensor

from gan import parallel

# Standard deviations and ranges of the paper; scales are powers of 2.
XINT_MAX, XFRAC_STD = 0.125, 0.125
SCALE_STD, ANISO_STD = 0.2, 0.2
TILT_STD = math.radians(15)  # of volumes: heads in scanners tilt by a few degrees


class Dice:
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

    def normal(self, name: str, std: float, count: int = 1, p: Tensor | None = None) -> Tensor:
        """[count, N], on or off together."""
        return parallel.randn(count, self.n, axis=1, **self.like) * (std * self._gate(name, p))

    def choice(self, name: str, count: int) -> Tensor:
        """[N] whole numbers 0..count-1."""
        return (parallel.rand(self.n, **self.like) * count).floor() * self._gate(name, None)

    def on(self, name: str, p: Tensor | None = None) -> Tensor:
        """[N] 1 or 0."""
        return torch.ones(self.n, **self.like) * self._gate(name, p)


def affine_map(x: Tensor, dice: Dice) -> tuple[Tensor, Tensor]:
    """Linear part [N, d, d] and offset [N, d], pixels of the result to pixels of ``x``, (x, y[, z]) from the centre.

    In the order of the paper the image is shifted by whole pixels, scaled, turned, stretched, turned, shifted; here is
    the inverse. Turning before and after with probability p_rot each makes p the probability of either.
    """
    dims = x.ndim - 2
    size = torch.stack([torch.full((), n, dtype=x.dtype, device=x.device) for n in reversed(x.shape[2:])])[:, None]
    p_rot = 1 - (1 - dice.p).clamp(min=0).sqrt()
    scale = torch.exp2(-dice.normal("scale", SCALE_STD)[0])
    turn = _turn if dims == 2 else _turn_in_space
    before, after = (turn(dice, p_rot) for _ in range(2))
    stretch = torch.stack([torch.exp2(-power) * scale for power in _stretched(dice, dims)], 1)
    whole = (dice.uniform("xint", XINT_MAX, dims) * size).round().t()
    shift = (dice.normal("xfrac", XFRAC_STD, dims) * size).t()
    linear = _product(before * stretch[:, None], after)
    return linear, -whole - (linear * shift[:, None]).sum(2)


def _stretched(dice: Dice, dims: int) -> list[Tensor]:
    """Powers of 2 [N] along each axis, which keep the area: a and -a, or a along a random axis and -a / 2 along both
    others."""
    amount = dice.normal("aniso", ANISO_STD)[0]
    if dims == 2:
        return [amount, -amount]
    axis = (parallel.rand(dice.n, **dice.like) * 3).floor()
    return [torch.where(axis == place, amount, -amount / 2) for place in range(3)]


def _turn(dice: Dice, p: Tensor) -> Tensor:
    """Rotations [N, 2, 2] by any angle."""
    angle = -dice.uniform("rotate", math.pi, p=p)[0]
    c, s = angle.cos(), angle.sin()
    return torch.stack([c, -s, s, c], 1).unflatten(1, (2, 2))


def _turn_in_space(dice: Dice, p: Tensor) -> Tensor:
    """Rotations [N, 3, 3], from unit quaternions: by a small angle about any axis (tilt), or any rotation at all.

    The direction of four normal numbers is a uniform quaternion, which is a uniform rotation (Shoemake 1992). Where an
    operation is off the quaternion is (1, 0, 0, 0), and the matrix the identity to the last bit.
    """
    drawn = parallel.randn(4, dice.n, axis=1, **dice.like)
    if "tilt" in dice.operations:
        half = dice.normal("tilt", TILT_STD / 2, p=p)
        axis = drawn[1:] / drawn[1:].norm(dim=0)
        quaternion = torch.cat([half.cos(), half.sin() * axis])
    else:
        on = dice.on("rotate", p)
        quaternion = torch.where(on > 0, drawn / drawn.norm(dim=0), _still(drawn))
    w, x, y, z = quaternion
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(rows, 1).unflatten(1, (3, 3))


def _still(like: Tensor) -> Tensor:
    """The quaternion (1, 0, 0, 0), [4, N]."""
    return torch.cat([torch.ones_like(like[:1]), torch.zeros_like(like[1:])])


def _product(a: Tensor, b: Tensor) -> Tensor:
    """[N, I, J] x [N, J, K] in full precision, where `torch.bmm` may use TF32."""
    return (a[:, :, :, None] * b[:, None]).sum(2)
