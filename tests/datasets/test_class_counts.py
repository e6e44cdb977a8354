import os
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from deeplab_lightning.datasets import class_counts as module
from deeplab_lightning.datasets.class_counts import class_counts
from deeplab_lightning.datasets.folder import FolderDataset
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


def test_counts_are_cached_until_the_data_change(
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
