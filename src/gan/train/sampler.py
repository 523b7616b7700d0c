"""Which images a step sees: epochs in a seeded random order, without replacement, without end."""

import numpy as np

from gan.errors import GanError


class Sampler:
    """The order of the training images as a function of the step alone: a resumed run needs no other position.

    length: images of the data set; batch: images per step, over all devices; seed: of the recipe. The same arguments
    give the same order on every machine.
    """

    def __init__(self, length: int, batch: int, seed: int):
        if length < 1:
            raise GanError("the data set has no training images; loosen datasets.<name>.slices or check its split")
        self.length, self.batch, self.seed = length, batch, seed
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def indices(self, step: int, rank: int = 0, world: int = 1) -> np.ndarray:
        """Indices int64 [batch / world] of the images that device ``rank`` of ``world`` takes in ``step`` (from 0).

        The devices take disjoint parts of the one global batch. `GanError` if ``world`` does not divide the batch.
        """
        if self.batch % world:
            raise GanError(f"training.batch is {self.batch}; it must be a multiple of the number of devices, {world}")
        share = self.batch // world
        first = step * self.batch + rank * share
        return np.array([self._at(place) for place in range(first, first + share)], dtype=np.int64)

    def _at(self, place: int) -> int:
        epoch, offset = divmod(place, self.length)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
            self._epoch = epoch
        return int(self._order[offset])
