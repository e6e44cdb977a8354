from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.person_part import PersonPartDataset
from deeplab_lightning.datasets.transforms import EvaluationTransform
from tests.devkits import VOC_TRAIN, VOC_VAL, write_person_part

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)


def test_lists_and_masks(voc_root: Path, tmp_path: Path) -> None:
    labels = write_person_part(tmp_path / "pascal_person_part", voc_root)
    dataset = PersonPartDataset(voc_root, labels, "train", EVALUATION)
    assert dataset.image_ids == VOC_TRAIN[:3]
    assert np.asarray(dataset.mask(0))[0, :8].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    assert PersonPartDataset(voc_root, labels, "val", EVALUATION).image_ids == VOC_VAL[:2]


def test_a_missing_mask(voc_root: Path, tmp_path: Path) -> None:
    labels = write_person_part(tmp_path / "pascal_person_part", voc_root)
    (labels / "pascal_person_part_gt" / f"{VOC_VAL[1]}.png").unlink()
    with pytest.raises(DataError, match=rf"gt/{VOC_VAL[1]}: no such file, but .*val_id\.txt"):
        PersonPartDataset(voc_root, labels, "val", EVALUATION)
