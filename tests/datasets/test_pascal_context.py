from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.pascal_context import CLASS_NAMES, LABELS, PascalContextDataset
from deeplab_lightning.datasets.transforms import EvaluationTransform
from deeplab_lightning.datasets.voc import CLASS_NAMES as VOC_CLASSES
from tests.devkits import write_pascal_context

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize(("background", "expected"), [(True, [1, 10, 59, 0]), (False, [0, 9, 58, 255])])
def test_labels_become_classes(tmp_path: Path, background: bool, expected: list[int]) -> None:
    labels = write_pascal_context(tmp_path / "VOC2010")
    dataset = PascalContextDataset(tmp_path / "VOC2010", labels, "train", EVALUATION, background)
    assert (len(dataset), dataset.num_classes) == (4, 59 + background)
    assert np.asarray(dataset.mask(0))[0, :4].tolist() == expected


def test_the_order_is_that_of_the_59_labels() -> None:
    """The authors' 59_labels.txt and labels.txt; names in the latter: table, cloth, bedclothes."""
    assert CLASS_NAMES[:21] == VOC_CLASSES
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == len(LABELS) + 1 == 60
    assert (dict(zip(CLASS_NAMES[1:], LABELS, strict=True)).items()) >= {
        "aeroplane": 2, "diningtable": 397, "bag": 9, "clothes": 80, "bedcloth": 19, "curtain": 105, "wood": 458,
    }.items()  # fmt: skip


def test_every_other_label_is_background(tmp_path: Path) -> None:
    root, labels = tmp_path / "VOC2010", write_pascal_context(tmp_path / "VOC2010")
    savemat(labels / "2008_000002.mat", {"LabelMap": np.arange(460, dtype=np.uint16).reshape(20, 23)})
    mask = np.asarray(PascalContextDataset(root, labels, "train", EVALUATION).mask(0)).ravel()
    assert [int(mask[label]) for label in LABELS] == list(range(1, 60))
    assert not np.delete(mask, LABELS).any()


def test_a_label_that_does_not_exist(tmp_path: Path) -> None:
    root, labels = tmp_path / "VOC2010", write_pascal_context(tmp_path / "VOC2010")
    savemat(labels / "2008_000002.mat", {"LabelMap": np.full((48, 64), 460, np.uint16)})
    with pytest.raises(DataError, match=r"2008_000002\.mat: .*0 to 459"):
        PascalContextDataset(root, labels, "train", EVALUATION).mask(0)
