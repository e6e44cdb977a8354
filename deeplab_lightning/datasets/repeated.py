"""A data set some of whose images come more than once an epoch."""

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from deeplab_lightning.datasets.images import Sample
from deeplab_lightning.datasets.segmentation import SegmentationDataset


class RepeatedDataset(Dataset[Sample]):
    """All images of a data set, and after them some of them again, each time augmented in its own way.

    The first copies are as without repetition, in place and in augmentation.

    Args:
        dataset: The data set.
        extra: Indices of the images to repeat, each as often as it is repeated.
    """

    def __init__(self, dataset: SegmentationDataset, extra: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = [*range(len(dataset)), *extra]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        position, epoch = key if isinstance(key, tuple) else (key, 0)
        rng = np.random.default_rng((self.dataset.seed, epoch, position))
        return self.dataset.sample(self.indices[position], rng)
