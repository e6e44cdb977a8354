"""Loaders, their settings, and the identity, tested with the datamodule of folder.py."""

from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datamodules.folder import FolderDataModule
from deeplab_lightning.datamodules.voc import VOCDataModule
from deeplab_lightning.datasets.images import DataError

SMALL: dict[str, Any] = {"batch_size": 4, "crop_size": (32, 40), "num_workers": 0}


def test_batches(shapes_root: Path) -> None:
    data = FolderDataModule(str(shapes_root), **SMALL)
    assert data.num_classes == 8
    assert data.class_names[0] == "background"
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    assert batches[0]["image"].shape == (4, 3, 32, 40)
    assert batches[0]["mask"].shape == (4, 32, 40)
    scored = list(data.val_dataloader())
    assert [batch["image"].shape for batch in scored] == [(1, 3, 48, 64)] * 5


def test_samples_are_the_same_for_any_number_of_workers(shapes_root: Path) -> None:
    transforms = [
        {"torchvision.transforms.v2.RandomPerspective": {"p": 0.8}},
        {"albumentations.CoarseDropout": {"p": 0.8}},
        {"albumentations.RandomBrightnessContrast": None},
    ]

    def images(num_workers: int) -> torch.Tensor:
        own: dict[str, Any] = SMALL | {"num_workers": num_workers, "transforms": transforms}
        data = FolderDataModule(str(shapes_root), **own, color_jitter=0.3)
        return torch.cat([batch["image"] for batch in data.train_dataloader()])

    assert torch.equal(images(0), images(2))
    plain = FolderDataModule(str(shapes_root), **SMALL, color_jitter=0.3)
    assert not torch.equal(images(0), torch.cat([batch["image"] for batch in plain.train_dataloader()]))


def test_fewer_images_than_a_batch(shapes_root: Path) -> None:
    data = FolderDataModule(str(shapes_root), **(SMALL | {"batch_size": 13}))
    with pytest.raises(DataError, match="split 'train' has 12 images, fewer than one batch of 13"):
        data.train_dataloader()


def test_images_that_differ_in_size_do_not_share_a_batch(shapes_root: Path, tmp_path: Path) -> None:
    root = copytree(shapes_root, tmp_path / "copy")
    for folder, suffix, mode in (("JPEGImages", "jpg", "RGB"), ("SegmentationClass", "png", "P")):
        Image.fromarray(np.zeros((30, 30, 3) if mode == "RGB" else (30, 30), np.uint8), mode).save(
            root / folder / f"val_00001.{suffix}"
        )
    data = FolderDataModule(str(root), **SMALL, eval_batch_size=2)
    with pytest.raises(DataError, match="val_00000, val_00001 differ in size .*eval_batch_size to 1"):
        list(data.val_dataloader())
    assert len(list(FolderDataModule(str(root), **SMALL).val_dataloader())) == 5


def test_prediction_images(shapes_root: Path) -> None:
    data = FolderDataModule(str(shapes_root), **SMALL)
    assert len(list(data.predict_dataloader())) == 3
    data = FolderDataModule(str(shapes_root), **SMALL, predict_images=str(shapes_root / "JPEGImages"))
    assert len(list(data.predict_dataloader())) == 20


def test_invalid_batch_sizes(shapes_root: Path) -> None:
    with pytest.raises(ValueError, match="batch sizes must be at least 1"):
        FolderDataModule(str(shapes_root), batch_size=0)


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


def test_resized_labels_are_scored_but_not_written(voc_root: Path) -> None:
    data = VOCDataModule(str(voc_root), evaluation_size="short_side_520", num_workers=0)
    assert data.identity("val")["size_policy"].endswith("520, scored at that size")
    batch = next(iter(data.val_dataloader()))  # from 48x64
    assert batch["image"].shape[-2:] == batch["mask"].shape[-2:] == (520, 693)
    with pytest.raises(DataError, match="whole_image"):
        data.predict_dataloader()


def test_void_may_count_as_a_class(voc_root: Path) -> None:
    void, counted = (VOCDataModule(str(voc_root), void_as=index, num_workers=0) for index in (None, 0))
    assert counted.identity("val")["labels"] == "VOC's own masks (SegmentationClass), void 255 counted as background"
    for before, after in zip(void.val_dataloader(), counted.val_dataloader(), strict=True):
        mask = before["mask"]
        assert (mask == 255).any()
        assert torch.equal(after["mask"], mask.masked_fill(mask == 255, 0))


@pytest.mark.parametrize("wrong", [{"normalization": "none"}, {"evaluation_size": "crop"}, {"void_as": 99}])
def test_invalid_settings(shapes_root: Path, wrong: dict[str, Any]) -> None:
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


def test_images_of_four_channels_need_their_own_mean_and_deviation(shapes_root: Path) -> None:
    with pytest.raises(ValueError, match=r"4 channels need data\.mean and data\.std"):
        FolderDataModule(str(shapes_root), **SMALL, in_channels=4).val_dataloader()
    with pytest.raises(ValueError, match=r"3 channels, but mean \[0\.1\]"):
        FolderDataModule(str(shapes_root), mean=[0.1])
    data = FolderDataModule(str(shapes_root), in_channels=4, mean=[0.1] * 4, std=[0.2] * 4, normalization="caffe")
    assert (data.in_channels, data.eval_transform.num_channels, data.eval_transform.bgr) == (4, 4, False)
    assert (FolderDataModule(str(shapes_root)).in_channels, VOCDataModule.pixel_format.num_channels) == (3, 3)
