"""COCO as semantic classes."""

from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.datamodules.coco import COCODataModule
from deeplab_lightning.datasets.images import DataError
from tests.devkits import annotation, square, write_coco

SMALL: dict[str, Any] = {"batch_size": 2, "crop_size": (32, 40), "num_workers": 0}


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    """Dogs in image 1 (30x30 pixels, annotated area 2000) and 2 (40x40, area 100), a truck in 3, nothing in 4."""
    own = [
        annotation(1, 1, 18, [square(5, 5, 30)], area=2000.0),
        annotation(2, 2, 18, [square(5, 5, 40)], area=100.0),
        annotation(3, 3, 8, [square(5, 5, 40)], area=1600.0),
    ]
    return write_coco(tmp_path / "coco", {"train2017": own, "val2017": own})


@pytest.mark.parametrize(
    ("train_filter", "classes", "expected"),
    [
        ("annotation_area", "voc21", [1]),
        ("labelled_pixels", "voc21", [2]),
        ("none", "voc21", [1, 2, 3, 4]),
        ("annotation_area", "coco91", [1, 3]),
        ("labelled_pixels", "coco81", [2, 3]),
    ],
)
def test_coco_filters_only_training_images(
    coco_root: Path, train_filter: Any, classes: Any, expected: list[int]
) -> None:
    data = COCODataModule(str(coco_root), classes, train_filter=train_filter, **(SMALL | {"batch_size": 1}))
    assert [int(image_id) for image_id in data.train_set().image_ids] == expected
    assert len(list(data.train_dataloader())) == len(expected)
    assert len(list(data.val_dataloader())) == len(list(data.test_dataloader())) == 4


def test_coco_identity_names_the_overlap_rule(coco_root: Path) -> None:
    identities = [
        COCODataModule(str(coco_root), "voc21", overlap).identity("val")["labels"] for overlap in ("void", "first")
    ]
    assert len(set(identities)) == 2
    assert COCODataModule(str(coco_root), "coco81").identity("val")["dataset"] == "COCO 2017 as coco81"


def test_coco_has_the_colours_of_voc_for_its_classes(coco_root: Path) -> None:
    assert COCODataModule(str(coco_root), "voc21").palette.colors[15] == (192, 128, 128)
    assert len(set(COCODataModule(str(coco_root), "coco81").palette.colors)) == 81


def test_coco_filter_that_keeps_nothing(tmp_path: Path) -> None:
    data = COCODataModule(str(write_coco(tmp_path / "coco", {})), **SMALL)
    with pytest.raises(DataError, match=r"'train2017' .*1000 pixels"):
        data.train_set()
