import os
import signal
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from deeplab_lightning.datasets import class_counts as module
from deeplab_lightning.datasets.class_counts import class_counts
from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.scan import scan
from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.datasets.transforms import EvaluationTransform

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)


def read(root: Path) -> FolderDataset:
    return FolderDataset(root, "train", 8, EVALUATION)


def test_counts_are_those_of_the_masks(shapes_root: Path) -> None:
    dataset = read(shapes_root)
    counts = class_counts(dataset, 0)
    assert counts.shape == (12, 256)
    for index in range(12):
        values = dataset[index]["mask"].numpy().ravel()
        assert np.array_equal(counts[index], np.bincount(values, minlength=256))


def test_a_scan_is_remembered_until_the_data_change(
    shapes_root: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(copytree(shapes_root, tmp_path / "copy"))
    before = class_counts(read(root), 0)
    (kept,) = cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(module, "count_values", lambda dataset, index: pytest.fail("it was scanned again"))
        assert np.array_equal(class_counts(read(root), 0), before)
    mask = root / "SegmentationClass" / "train_00003.png"
    mask.write_bytes((root / "SegmentationClass" / "train_00004.png").read_bytes())
    os.utime(mask, ns=(1, 1))
    after = class_counts(read(root), 0)
    assert np.array_equal(after[3], before[4])
    assert set(cache.iterdir()) > {kept}
    assert not list(cache.glob("*.part"))


def look(dataset: SegmentationDataset, index: int) -> tuple[int, str]:
    return index, dataset.image_ids[index]


def test_workers_look_in_order(shapes_root: Path) -> None:
    dataset = read(shapes_root).subset([*range(12), *range(12)])
    assert list(scan(dataset, look, 2)) == list(scan(dataset, look, 0)) == list(enumerate(dataset.image_ids))


def die(dataset: SegmentationDataset, index: int) -> str:
    """Ends the process as native code may on a damaged file."""
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
    raise DataError(f"{dataset.images[index]}: its fault")


def test_a_fault_that_a_worker_finds_arrives_as_it_is(shapes_root: Path) -> None:
    with pytest.raises(DataError, match=r"^\S+/train_00000\.jpg: its fault$"):
        list(scan(read(shapes_root), fault, 2))
