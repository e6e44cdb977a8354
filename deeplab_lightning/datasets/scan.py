"""Look at every image of a data set, in parallel."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from torch.utils.data import DataLoader, Dataset

from deeplab_lightning.datasets.segmentation import SegmentationDataset

T = TypeVar("T")
IMAGES_AT_ONCE = 16


def scan(dataset: SegmentationDataset, look: Callable[[SegmentationDataset, int], T], num_workers: int) -> Iterator[T]:
    """What `look` gives for each index of a data set, in order.

    Args:
        dataset: to go through.
        look: is called with the data set and an index, in a worker process.
        num_workers: processes; 0 looks in this one.
    """
    looks = _Looks(dataset, look)
    workers = num_workers if len(dataset) > IMAGES_AT_ONCE else 0
    loader: DataLoader[Any] = DataLoader(looks, IMAGES_AT_ONCE, num_workers=workers, collate_fn=list)
    for batch in loader:
        yield from batch


class _Looks(Dataset[T], Generic[T]):
    def __init__(self, dataset: SegmentationDataset, look: Callable[[SegmentationDataset, int], T]) -> None:
        self.dataset, self.look = dataset, look

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> T:
        return self.look(self.dataset, index)
