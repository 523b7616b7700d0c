"""Which images a step sees: epochs in a seeded random order, without replacement, without end."""

import numpy as np

from gan.errors import GanError


class Sampler:
    """The order of the training images as a function of the step alone: a resumed run needs no other position.

    images: how many there are, or the indices of those that take part; batch: images per step, over all ranks; seed: of
    the recipe, with a number after it for another order. The same arguments give the same order on every machine. rank,
    world: it gives the part of this one out of so many processes (`gan.parallel`). `GanError` without images, or if
    ``world`` does not divide ``batch``.
    """

    def __init__(
        self, images: int | np.ndarray, batch: int, seed: int | tuple[int, ...], rank: int = 0, world: int = 1
    ):
        self._images = np.arange(images) if isinstance(images, int) else images
        self.length = len(self._images)
        if not self.length:
            raise GanError("the data set has no training images; loosen datasets.<name>.slices or check its split")
        if batch % world:
            raise GanError(
                f"training.batch is {batch}; it must be a multiple of the number of GPUs, resources.train.gpu ({world})"
            )
        self.batch, self.seed = batch, seed if isinstance(seed, tuple) else (seed,)
        self._share = batch // world
        self._first = rank * self._share
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def indices(self, step: int) -> np.ndarray:
        """Indices int64 [batch / world] of the images of ``step`` (from 0); ranks take disjoint parts of one batch."""
        first = step * self.batch + self._first
        return np.array([self._at(place) for place in range(first, first + self._share)], dtype=np.int64)

    def _at(self, place: int) -> int:
        epoch, offset = divmod(place, self.length)
        if epoch != self._epoch:
            self._order = self._images[np.random.default_rng((*self.seed, epoch)).permutation(self.length)]
            self._epoch = epoch
        return int(self._order[offset])
