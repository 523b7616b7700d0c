"""A fixed set of images as a module, so that it is kept, moved and drawn from like a network."""

from typing import Any

import torch
from torch import Tensor, nn

FULL = 65535  # of 16 bits


class Album(nn.Module):
    """images: int16 [n, C, *size], -32768 for -1 and 32767 for 1; classes: int64 [n], 0 without labels.

    It takes as many images as the state that it loads has.
    """

    STORED = ("images", "classes")

    images: Tensor
    classes: Tensor

    def __init__(self, channels: int, size: tuple[int, ...]):
        super().__init__()
        self.register_buffer("images", torch.zeros(0, channels, *size, dtype=torch.int16))
        self.register_buffer("classes", torch.zeros(0, dtype=torch.int64))

    def fill(self, images: Tensor, classes: Tensor) -> None:
        """images: float32 [n, C, *size] in [-1, 1]; classes: int64 [n]."""
        self.images = _packed(images)
        self.classes = classes

    def forward(self, indices: Tensor) -> Tensor:
        """Images float32 [N, C, *size] in [-1, 1]."""
        return _unpacked(self.images[indices])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in self.STORED:
            stored, own = state_dict.get(f"{prefix}{name}"), getattr(self, name)
            if isinstance(stored, Tensor) and stored.shape[1:] == own.shape[1:]:
                setattr(self, name, own.new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Derived(Album):
    """Images that were made of another one each, their content.

    contents: int16 [n, C, *size], as ``images``; rows: int64 [n], the content's index among the training images, -1 of
    one that was generated.
    """

    STORED = (*Album.STORED, "contents", "rows")

    contents: Tensor
    rows: Tensor

    def __init__(self, channels: int, size: tuple[int, ...]):
        super().__init__(channels, size)
        self.register_buffer("contents", torch.zeros(0, channels, *size, dtype=torch.int16))
        self.register_buffer("rows", torch.zeros(0, dtype=torch.int64))

    def derive(self, contents: Tensor, rows: Tensor) -> None:
        """contents: float32 [n, C, *size] in [-1, 1]; rows: int64 [n]."""
        self.contents, self.rows = _packed(contents), rows

    def content(self, indices: Tensor) -> Tensor:
        """Contents float32 [N, C, *size] in [-1, 1]."""
        return _unpacked(self.contents[indices])


def _packed(images: Tensor) -> Tensor:
    return ((images.clamp(-1, 1) + 1) * (FULL / 2)).round().sub_(32768).to(torch.int16)


def _unpacked(stored: Tensor) -> Tensor:
    return stored.float().add_(32768).mul_(2 / FULL).sub_(1)
