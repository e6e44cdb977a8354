"""The order of the training samples, derived from (seed, epoch) alone."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochSampler(Sampler[tuple[int, int]]):
    """A new permutation every epoch, dealt out to the ranks in turn; yields (index, epoch).

    W ranks with batches of B see together, step by step, what one rank sees with batches of W * B.

    The epoch travels with the index, so that what is drawn for a sample depends on (seed, epoch, index) and not on the
    loader worker that happens to load it. All ranks get equally many: an incomplete last round is left out.

    Args:
        num_samples: Samples of the whole set.
        seed: Seed of the permutations.
        rank: Rank of this process.
        world_size: Number of processes.
    """

    def __init__(self, num_samples: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.num_samples, self.seed, self.rank, self.world_size = num_samples, seed, rank, world_size
        self.epoch = 0
        self._resumed = (0, 0)

    def resume(self, epoch: int, start: int) -> None:
        """Begin an epoch behind its first samples; later epochs are whole.

        Args:
            epoch: Epoch that was interrupted.
            start: Samples of it that this process has had.
        """
        self.epoch, self._resumed = epoch, (epoch, start)

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation; Lightning calls it before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_samples // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        order = np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
        own = order[self.rank :: self.world_size][: len(self)]
        resumed, start = self._resumed
        if epoch == resumed:
            own = own[start:]
        return ((int(index), epoch) for index in own)
