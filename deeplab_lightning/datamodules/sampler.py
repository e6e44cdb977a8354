"""The order of the training samples, derived from (seed, epoch) alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch.distributed
from torch.utils.data import Dataset, Sampler


class EpochSampler(Sampler[tuple[int, int]]):
    """A new permutation in every epoch, dealt out to the ranks in turn; yields (index, epoch).

    In every step, W ranks with batches of B get the same samples as one rank with batches of W * B.

    The epoch is passed on with the index. So the random choices for a sample depend on (seed, epoch, index), and not on
    the worker that loads it. All ranks get the same number of samples: an incomplete last round is left out.

    Args:
        num_samples: Number of samples of the whole data set.
        seed: Seed of the permutations.
        rank: Rank of this process.
        world_size: Number of processes.
    """

    def __init__(self, num_samples: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.num_samples, self.seed, self.rank, self.world_size = num_samples, seed, rank, world_size
        self.epoch = 0
        self._resumed = (0, 0)

    def resume(self, epoch: int, start: int) -> None:
        """Skip the first samples of an interrupted epoch; later epochs are complete.

        Args:
            epoch: Epoch that was interrupted.
            start: Number of its samples that this process has already used.
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


def length_of(dataset: Dataset[Any]) -> int:
    """The number of samples of a data set; every one here is sized, though torch's base class is not."""
    return len(dataset)  # type: ignore[arg-type]


def rank_and_world_size() -> tuple[int, int]:
    """The rank of this process and the number of processes of the training."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
