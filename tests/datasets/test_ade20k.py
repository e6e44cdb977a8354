from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.datasets.ade20k import ADE20KDataset
from deeplab_lightning.datasets.ade20k_names import CLASS_NAMES, COLORS
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.transforms import EvaluationTransform
from tests.devkits import write_ade20k

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)


def test_labels_start_at_one_and_zero_is_void(tmp_path: Path) -> None:
    root = write_ade20k(tmp_path / "ADEChallengeData2016")
    dataset = ADE20KDataset(root, "training", EVALUATION)
    assert dataset.image_ids == [f"ADE_train_{number:08d}" for number in (1, 2, 3, 4)]
    assert np.asarray(dataset.mask(0))[0, :4].tolist() == [255, 0, 1, 149]
    assert len(ADE20KDataset(root, "validation", EVALUATION)) == 2


def test_the_test_split_has_no_masks(tmp_path: Path) -> None:
    root = write_ade20k(tmp_path / "ADEChallengeData2016")
    dataset = ADE20KDataset(root, "testing", EVALUATION)
    assert (dataset.image_ids, dataset.has_masks) == (["ADE_test_00000001", "ADE_test_00000002"], False)
    assert (np.asarray(dataset.mask(1)) == 255).all()


def test_names_and_colours() -> None:
    """First synonyms of objectInfo150.txt, and rows of color150.mat."""
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == len(COLORS) == 150
    assert (CLASS_NAMES[0], CLASS_NAMES[12], CLASS_NAMES[149]) == ("wall", "person", "flag")
    assert (COLORS[0], COLORS[12], COLORS[149]) == ((120, 120, 120), (150, 5, 61), (92, 0, 255))


@pytest.mark.parametrize(("label", "fault"), [(150, ""), (151, "label 151 is above the 150 classes"), (255, "255")])
def test_the_largest_label(tmp_path: Path, label: int, fault: str) -> None:
    dataset = ADE20KDataset(write_ade20k(tmp_path / "ade"), "training", EVALUATION)
    Image.new("L", (64, 48), label).save(dataset.mask_files[1])
    if not fault:
        assert np.asarray(dataset.mask(1)).max() == 149
        return
    with pytest.raises(DataError, match=fault):
        dataset.mask(1)


def test_a_missing_image(tmp_path: Path) -> None:
    root = write_ade20k(tmp_path / "ade")
    (root / "images" / "training" / "ADE_train_00000003.jpg").unlink()
    with pytest.raises(DataError, match="images/training/ADE_train_00000003: no such file"):
        ADE20KDataset(root, "training", EVALUATION)
