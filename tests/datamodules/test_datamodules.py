from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.datamodules.folder import FolderDataModule, find_root
from deeplab_lightning.datamodules.shapes import ShapesDataModule
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
    def images(num_workers: int) -> torch.Tensor:
        data = FolderDataModule(str(shapes_root), **(SMALL | {"num_workers": num_workers}), color_jitter=0.3)
        return torch.cat([batch["image"] for batch in data.train_dataloader()])

    assert torch.equal(images(0), images(2))


def test_shapes_generates_itself(tmp_path: Path) -> None:
    data = ShapesDataModule(str(tmp_path / "s"), num_train=5, num_val=2, image_size=(32, 48), **SMALL)
    data.prepare_data()
    assert len(list(data.train_dataloader())) == 1
    assert len(list(data.test_dataloader())) == 2


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


def test_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPLAB_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError, match="mine is empty"):
        find_root("mine")
    (tmp_path / "data" / "mine" / "class_names.txt").touch()
    assert find_root("mine") == find_root("data/mine") == find_root(str(tmp_path / "data" / "mine"))
    with pytest.raises(DataError, match=r"data root 'other' is not there .*set --data.root, or DEEPLAB_DATA"):
        find_root("other")


def test_batch_sizes_that_cannot_be(shapes_root: Path) -> None:
    with pytest.raises(ValueError, match="batch sizes must be at least 1"):
        FolderDataModule(str(shapes_root), batch_size=0)


def test_a_training_on_one_class_is_warned_of(shapes_root: Path, tmp_path: Path) -> None:
    FolderDataModule(str(shapes_root), **SMALL).setup("fit")
    root = Path(copytree(shapes_root, tmp_path / "copy"))
    (root / "class_names.txt").write_text("background\ncrack\n")
    for path in (root / "SegmentationClass").iterdir():
        labels = np.asarray(Image.open(path))
        Image.fromarray(np.where(labels > 0, 255, 0).astype(np.uint8)).save(path)
    data = FolderDataModule(str(root), **SMALL)
    with pytest.warns(UserWarning, match=r"12 images of split 'train' hold no class but 'background'"):
        data.setup("fit")
    data.setup("validate")
    (root / "class_names.txt").write_text("background = 0\ncrack = 255\n")
    mapped = FolderDataModule(str(root), **SMALL)
    mapped.setup("fit")
    assert mapped.labels == "masks of SegmentationClass, values by class_names.txt, void left out"
