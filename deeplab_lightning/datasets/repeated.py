"""A data set that repeats some of its images in every epoch."""

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from deeplab_lightning.datasets.images import Sample
from deeplab_lightning.datasets.segmentation import SegmentationDataset


class RepeatedDataset(Dataset[Sample]):
    """All images of a data set, followed by copies of some of them.

    Each copy is augmented differently. The originals keep the positions and the augmentation that they have without
    repetition.

    Args:
        dataset: Data set whose images are repeated.
        extra: Indices of the copies; an index occurs once for each copy of its image.
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
