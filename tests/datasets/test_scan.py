"""A data set read in worker processes, some of which die."""

import os
import signal
from pathlib import Path

import pytest

from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.scan import scan
from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.datasets.transforms import EvaluationTransform


def read(root: Path) -> FolderDataset:
    return FolderDataset(root, "train", 8, EvaluationTransform((0.5,) * 3, (0.25,) * 3))


def index_and_id(dataset: SegmentationDataset, index: int) -> tuple[int, str]:
    return index, dataset.image_ids[index]


def test_values_come_in_order(shapes_root: Path) -> None:
    dataset = read(shapes_root).subset([*range(12), *range(12)])
    assert (
        list(scan(dataset, index_and_id, 2))
        == list(scan(dataset, index_and_id, 0))
        == list(enumerate(dataset.image_ids))
    )


def die(dataset: SegmentationDataset, index: int) -> str:
    """Kill the process at some images, like native code on a damaged file."""
    if index in (3, 17, 18, 23):
        os.kill(os.getpid(), signal.SIGKILL)
    return dataset.image_ids[index]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_image_that_kills_its_reader_is_found_and_the_others_are_read(shapes_root: Path, num_workers: int) -> None:
    dataset = read(shapes_root).subset([*range(12), *range(12)])
    found = list(scan(dataset, die, num_workers, lambda dataset, index: f"lost {index}"))
    wrong = {index: f"lost {index}" for index in (3, 17, 18, 23)}
    assert found == [wrong.get(index, image_id) for index, image_id in enumerate(dataset.image_ids)]
    with pytest.raises(DataError, match=r"train_00003\.jpg: the process that read it and .*train_00003\.png died"):
        list(scan(dataset, die, num_workers))


def fault(dataset: SegmentationDataset, index: int) -> str:
    raise DataError("its fault", dataset.images[index], 7)


def test_a_worker_s_data_error_arrives_unchanged(shapes_root: Path) -> None:
    with pytest.raises(DataError, match=r"^\S+/train_00000\.jpg, line 7: its fault$") as caught:
        list(scan(read(shapes_root), fault, 2))
    assert caught.value.path == shapes_root / "JPEGImages" / "train_00000.jpg"
    assert caught.value.line == 7
