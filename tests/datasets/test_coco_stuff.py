from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.datasets.coco_stuff import CLASS_NAMES, COCOStuffDataset
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.transforms import EvaluationTransform
from tests.devkits import scene, write_coco_stuff

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)


def test_10k_labels_start_at_one(tmp_path: Path) -> None:
    dataset = COCOStuffDataset(write_coco_stuff(tmp_path / "stuff"), "10k", "train", EVALUATION)
    assert dataset.image_ids == ["a1", "a2", "a3"]
    assert np.asarray(dataset.mask(0))[0, :4].tolist() == [255, 0, 1, 181]
    assert dataset[1]["mask"].shape == (48, 64)


@pytest.mark.parametrize(
    ("images", "labels"), [("val2017", "stuffthingmaps/val2017"), ("images/val2017", "annotations/val2017")]
)
def test_164k_labels_start_at_zero(tmp_path: Path, images: str, labels: str) -> None:
    for folder in (images, labels):
        (tmp_path / folder).mkdir(parents=True)
    values = np.array([0, 91, 181, 255], np.uint8)[np.arange(48 * 64).reshape(48, 64) % 4]
    for number in range(2):
        scene(number)[0].save(tmp_path / images / f"{number:012d}.jpg")
        Image.fromarray(values).save(tmp_path / labels / f"{number:012d}.png")
    dataset = COCOStuffDataset(tmp_path, "164k", "val2017", EVALUATION)
    assert len(dataset) == 2
    assert np.array_equal(np.asarray(dataset.mask(1)), values)


def test_names() -> None:
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 182
    assert (CLASS_NAMES[0], CLASS_NAMES[90], CLASS_NAMES[91], CLASS_NAMES[181]) == (
        "person", "hair brush", "banner", "wood"
    )  # fmt: skip


def test_a_missing_label_file(tmp_path: Path) -> None:
    root = write_coco_stuff(tmp_path / "stuff")
    (root / "annotations" / "a2.mat").unlink()
    with pytest.raises(DataError, match=r"annotations/a2: no such file, but .*train.txt lists its id"):
        COCOStuffDataset(root, "10k", "train", EVALUATION)
