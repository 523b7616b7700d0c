"""A fixed set of images as a module, so that it is kept, moved and drawn from like a network."""

from typing import Any

import torch
from torch import Tensor, nn

FULL = 65535  # of 16 bits


class Album(nn.Module):
    """images: int16 [n, C, *size], -32768 for -1 and 32767 for 1; classes: int64 [n], 0 without labels.

    It takes as many images as the state that it loads has.
    """

    images: Tensor
    classes: Tensor

    def __init__(self, channels: int, size: tuple[int, ...]):
        super().__init__()
        self.register_buffer("images", torch.zeros(0, channels, *size, dtype=torch.int16))
        self.register_buffer("classes", torch.zeros(0, dtype=torch.int64))

    def fill(self, images: Tensor, classes: Tensor) -> None:
        """images: float32 [n, C, *size] in [-1, 1]; classes: int64 [n]."""
        self.images = ((images.clamp(-1, 1) + 1) * (FULL / 2)).round().sub_(32768).to(torch.int16)
        self.classes = classes

    def forward(self, indices: Tensor) -> Tensor:
        """Images float32 [N, C, *size] in [-1, 1]."""
        return self.images[indices].float().add_(32768).mul_(2 / FULL).sub_(1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in ("images", "classes"):
            stored, own = state_dict.get(f"{prefix}{name}"), getattr(self, name)
            if isinstance(stored, Tensor) and stored.shape[1:] == own.shape[1:]:
                setattr(self, name, own.new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)
