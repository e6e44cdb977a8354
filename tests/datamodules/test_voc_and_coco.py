from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datamodules.coco import COCODataModule
from deeplab_lightning.datamodules.coco_stuff import COCOStuffDataModule
from deeplab_lightning.datamodules.folder import FolderDataModule
from deeplab_lightning.datamodules.voc import VOCDataModule
from deeplab_lightning.datasets.images import DataError
from tests.devkits import SBD_ONLY, VOC_TEST, VOC_TRAIN, VOC_VAL, annotation, square, write_coco, write_coco_stuff

SMALL: dict[str, Any] = {"batch_size": 2, "crop_size": (32, 40), "num_workers": 0}


def test_voc_with_sbd(voc_root: Path, sbd_root: Path) -> None:
    data = VOCDataModule(str(voc_root), str(sbd_root), "train_aug", **SMALL)
    assert data.num_classes == 21
    assert data.class_names[15] == "person"
    assert set(data.train_set().image_ids) == set(VOC_TRAIN + SBD_ONLY)
    ids = [image_id for batch in data.train_dataloader() for image_id in batch["image_id"]]
    assert sorted(ids) == sorted(VOC_TRAIN + SBD_ONLY)
    assert [batch["image_id"][0] for batch in data.val_dataloader()] == VOC_VAL
    identity = data.identity("val")
    assert identity["dataset"] == "VOC 2012"
    assert identity["split"] == "val"
    assert identity["labels"].startswith("VOC's own masks")


def test_voc_without_sbd(voc_root: Path) -> None:
    data = VOCDataModule(str(voc_root), train_split="trainval", test_split="test", **SMALL)
    assert data.train_set().image_ids == VOC_TRAIN + VOC_VAL
    assert [batch["image_id"][0] for batch in data.predict_dataloader()] == VOC_TEST
    with pytest.raises(DataError, match="the masks of VOC 2012's split 'test' are not public; use `deeplab predict`"):
        data.test_dataloader()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_split": "train_aug"}, "sbd_root is for the splits train_aug and trainval_aug, and needed by them"),
        ({"sbd_root": "sbd"}, "got sbd_root sbd with train_split train"),
        ({"sbd_root": "sbd", "train_split": "train_aug", "val_split": "trainval_aug"}, "are not scored"),
    ],
)
def test_voc_settings_that_cannot_work(voc_root: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VOCDataModule(str(voc_root), **settings)


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    """Image 1: a dog of 30x30 pixels, annotated as 2000; image 2: 40x40, as 100; image 3: a truck; image 4: nothing."""
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
def test_coco_filters_training_alone(coco_root: Path, train_filter: Any, classes: Any, expected: list[int]) -> None:
    data = COCODataModule(str(coco_root), classes, train_filter=train_filter, **(SMALL | {"batch_size": 1}))
    assert [int(image_id) for image_id in data.train_set().image_ids] == expected
    assert len(list(data.train_dataloader())) == len(expected)
    assert len(list(data.val_dataloader())) == len(list(data.test_dataloader())) == 4


def test_coco_identity_says_the_rules(coco_root: Path) -> None:
    identities = [
        COCODataModule(str(coco_root), "voc21", overlap).identity("val")["labels"] for overlap in ("void", "first")
    ]
    assert len(set(identities)) == 2
    assert COCODataModule(str(coco_root), "coco81").identity("val")["dataset"] == "COCO 2017 as coco81"


def test_coco_filter_that_keeps_nothing(tmp_path: Path) -> None:
    data = COCODataModule(str(write_coco(tmp_path / "coco", {})), **SMALL)
    with pytest.raises(DataError, match="no image of train2017 holds more than 1000 pixels"):
        data.train_set()


def test_coco_stuff(tmp_path: Path) -> None:
    data = COCOStuffDataModule(str(write_coco_stuff(tmp_path / "stuff")), "10k", **SMALL)
    assert data.num_classes == 182
    assert len(list(data.train_dataloader())) == 1
    assert [batch["image_id"][0] for batch in data.val_dataloader()] == ["b1", "b2"]


def test_evaluation_size_is_part_of_the_identity(voc_root: Path) -> None:
    whole, padded = (
        VOCDataModule(str(voc_root), evaluation_size=size, num_workers=0) for size in ("whole_image", "pad_to_513")
    )
    assert whole.identity("val")["size_policy"] == "whole image, scored at its original size"
    assert padded.identity("val")["size_policy"] == "padded with the mean to 513x513, scored at its original size"
    for data, size in ((whole, (48, 64)), (padded, (513, 513))):
        batch = next(iter(data.val_dataloader()))
        assert batch["image"].shape[-2:] == size
        assert batch["mask"].shape == (1, 48, 64)


@pytest.mark.parametrize("wrong", [{"normalization": "none"}, {"evaluation_size": "crop"}])
def test_settings_that_cannot_be(shapes_root: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="got"):
        FolderDataModule(str(shapes_root), **wrong)


def test_normalization_and_its_replacement(shapes_root: Path) -> None:
    def first(**settings: Any) -> torch.Tensor:
        data: SegmentationDataModule = FolderDataModule(str(shapes_root), **SMALL, **settings)
        image: torch.Tensor = next(iter(data.val_dataloader()))["image"]
        assert torch.equal(data.eval_transform.denormalize(image[0]), plain) if plain is not None else True
        return image

    plain = None
    imagenet = first()
    plain = FolderDataModule(str(shapes_root)).eval_transform.denormalize(imagenet[0])
    caffe, inception = first(normalization="caffe"), first(normalization="inception")
    own = first(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert torch.allclose(own, inception)
    assert torch.allclose(caffe[0, 0], plain[..., 2] - 104.008, atol=1e-4)
    shifted = first(normalization="caffe", mean=(0.1, 0.2, 0.3))
    assert torch.allclose(shifted[0, 0], plain[..., 2] - 0.3 * 255, atol=1e-4)


def plain_tree(root: Path, shapes_root: Path, splits: bool) -> Path:
    """images/ and masks/ of the 12 training images, and colours for the classes."""
    root.mkdir()
    ids = (shapes_root / "ImageSets/Segmentation/train.txt").read_text()
    for folder, origin in (("images", "JPEGImages"), ("masks", "SegmentationClass")):
        (root / folder).mkdir()
        for image_id in ids.split():
            (path,) = (shapes_root / origin).glob(f"{image_id}.*")
            (root / folder / path.name).write_bytes(path.read_bytes())
    (root / "class_names.txt").write_text((shapes_root / "class_names.txt").read_text())
    if splits:
        (root / "splits").mkdir()
        (root / "splits" / "train.txt").write_text(ids)
    return root


def test_plain_folders_with_lists(shapes_root: Path, tmp_path: Path) -> None:
    root = plain_tree(tmp_path / "plain", shapes_root, splits=True)
    own = FolderDataModule(str(root), **SMALL)
    voc = FolderDataModule(str(shapes_root), **SMALL)
    for mine, theirs in zip(own.train_dataloader(), voc.train_dataloader(), strict=True):
        assert torch.equal(mine["image"], theirs["image"])
        assert torch.equal(mine["mask"], theirs["mask"])
    assert own.identity("val")["labels"].startswith("masks of masks/")
    with pytest.raises(ValueError, match=r"split_ratio .* would have no effect: .*splits holds the splits"):
        FolderDataModule(str(root), split_ratio=(0.5, 0.25, 0.25)).train_set()
    with pytest.raises(DataError, match=r"splits/val\.txt: no such file"):
        own.val_dataloader()


def test_plain_folders_with_a_ratio(shapes_root: Path, tmp_path: Path) -> None:
    root = plain_tree(tmp_path / "plain", shapes_root, splits=False)
    ids = []
    for seed in (0, 1):
        data = FolderDataModule(str(root), split_ratio=(0.5, 0.25, 0.25), seed=seed, **SMALL)
        ids.append([data.dataset(split, data.eval_transform).image_ids for split in ("train", "val", "test")])
    assert ids[0] == ids[1]
    assert [len(part) for part in ids[0]] == [6, 3, 3]
    assert len({image_id for part in ids[0] for image_id in part}) == 12
    with pytest.raises(ValueError, match="add up to 1"):
        FolderDataModule(str(root), split_ratio=(0.5, 0.5, 0.5)).train_set()
    with pytest.raises(DataError, match="leaves split 'val' none of its 12 images"):
        FolderDataModule(str(root), split_ratio=(0.99, 0.0, 0.01)).val_dataloader()
