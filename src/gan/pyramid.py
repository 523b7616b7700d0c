"""The resolutions of a network that doubles a small grid up to the image, or halves the image down to it."""

from dataclasses import dataclass

from gan.errors import GanError

LARGE = 128  # pixels of the shortest side from which a patch of 70 is not the whole image


@dataclass(frozen=True)
class Pyramid:
    """A grid of 3 to 7 points a side and how often it doubles: 4 x 4 and 6 for 256 x 256, 3 x 4 and 6 for 192 x 256."""

    grid: tuple[int, ...]
    doublings: int

    @classmethod
    def of(cls, size: tuple[int, ...]) -> "Pyramid":
        """The pyramid with the smallest grid that ends at ``size``, (H, W) or (D, H, W); at least two doublings.

        Raises `GanError` for a size that no such grid reaches.
        """
        for doublings in range(20, 1, -1):
            scale = 2**doublings
            if all(side % scale == 0 and 3 <= side // scale <= 7 for side in size):
                return cls(tuple(side // scale for side in size), doublings)
        raise GanError(
            f"image size {list(size)} is no doubling of a small grid; "
            f"use powers of two from 16, or equal doublings of a grid of 3 to 7 such as [192, 256]"
        )

    def size(self, level: int) -> tuple[int, ...]:
        """Points a side at ``level``: 0 is the grid, ``doublings`` the image."""
        return tuple(side * 2**level for side in self.grid)

    def width(self, level: int, base: int, most: int) -> int:
        """Feature maps at ``level``: min(most, base / r), r = 4 * 2^level (Karras et al. 2018, 2020a)."""
        return max(1, min(most, base // (4 * 2**level)))

    def level(self, resolution: int, name: str) -> int:
        """The level of the r of `width`; `GanError` with the ``name`` of the option if there is none."""
        known = [4 * 2**level for level in range(self.doublings + 1)]
        if resolution not in known:
            size, allowed = self.size(self.doublings), ", ".join(map(str, known))
            raise GanError(
                f"option {name} has {resolution}; images of size {list(size)} have the resolutions {allowed}"
            )
        return known.index(resolution)


def patch_layers(size: tuple[int, ...], layers: int | None) -> int:
    """How often a discriminator of patches halves images of ``size``: ``layers``, or if that is None 3 from 128 pixels
    a side on and 2 below, whose patches are smaller than the image.

    `GanError` if they are too small: two more layers take a pixel each, and a logit and its normalisation need a rest.
    """
    layers = (3 if min(size) >= LARGE else 2) if layers is None else layers
    if layers and any(side // 2**layers < 3 for side in size):
        raise GanError(
            f"option patch_layers is {layers}; images of size {list(size)} are too small for it, they need "
            f"{3 * 2**layers} pixels a side; take fewer"
        )
    return layers
