from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.datasets.class_names import read_class_names
from deeplab_lightning.datasets.folder import FolderDataset, ImageFiles
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.transforms import EvaluationTransform, TrainTransform

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)
TRAIN = TrainTransform((32, 32), (0.5, 2.0), flip=True, color_jitter=0.2, mean=(0.5,) * 3, std=(0.25,) * 3)


def test_a_sample(shapes_root: Path) -> None:
    dataset = FolderDataset(shapes_root, "val", 8, EVALUATION)
    assert len(dataset) == 5
    sample = dataset[2]
    assert sample["image_id"] == "val_00002"
    assert sample["image"].shape == (3, 48, 64)
    expected = np.asarray(Image.open(shapes_root / "SegmentationClass" / "val_00002.png"))
    assert np.array_equal(sample["mask"].numpy(), expected)


def test_augmentation_depends_on_seed_epoch_and_index(shapes_root: Path) -> None:
    dataset = FolderDataset(shapes_root, "train", 8, TRAIN, seed=1)
    first = dataset[(3, 2)]["image"]
    assert torch.equal(first, FolderDataset(shapes_root, "train", 8, TRAIN, seed=1)[(3, 2)]["image"])
    assert not torch.equal(first, dataset[(3, 1)]["image"])
    assert not torch.equal(first, FolderDataset(shapes_root, "train", 8, TRAIN, seed=2)[(3, 2)]["image"])


def test_camvid(real_data: Path) -> None:
    """The real street scenes have the published split sizes, class names and share of void."""
    root = real_data / "camvid"
    names = read_class_names(root)
    assert names[:3] == ["sky", "building", "pole"]
    sizes = {split: len(FolderDataset(root, split, len(names), EVALUATION)) for split in ("train", "val", "test")}
    assert sizes == {"train": 367, "val": 101, "test": 233}
    dataset = FolderDataset(root, "val", len(names), EVALUATION)
    void = [(dataset[index]["mask"] == 255).float().mean().item() for index in range(0, 101, 10)]
    assert 0.005 < np.mean(void) < 0.04
    assert dataset[0]["image"].shape == (3, 360, 480)


def test_voc_samples(real_data: Path) -> None:
    root = real_data / "voc_samples"
    sample = FolderDataset(root, "val", len(read_class_names(root)), EVALUATION)[0]
    assert sample["image_id"] == "2007_000129"
    assert set(sample["mask"].flatten().tolist()) == {0, 2, 15, 255}  # bicycles and people


@pytest.fixture
def broken(shapes_root: Path, tmp_path: Path) -> Path:
    return Path(copytree(shapes_root, tmp_path / "copy"))


def test_missing_list(broken: Path) -> None:
    with pytest.raises(DataError, match=r"extra\.txt: no such file; it lists the ids of split 'extra'"):
        FolderDataset(broken, "extra", 8, EVALUATION)


def test_empty_list(broken: Path) -> None:
    (broken / "ImageSets/Segmentation/val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt: it lists no ids"):
        FolderDataset(broken, "val", 8, EVALUATION)


@pytest.mark.parametrize(("folder", "suffix"), [("JPEGImages", "jpg"), ("SegmentationClass", "png")])
def test_a_listed_file_is_missing(broken: Path, folder: str, suffix: str) -> None:
    (broken / folder / f"val_00001.{suffix}").unlink()
    with pytest.raises(DataError, match=f"{folder}/val_00001: no such file, but .*val.txt lists its id"):
        FolderDataset(broken, "val", 8, EVALUATION)


@pytest.mark.parametrize("text", ["", "one\n", "a\na\n", "a\n\nb\n"])
def test_invalid_class_names(tmp_path: Path, text: str) -> None:
    (tmp_path / "class_names.txt").write_text(text)
    with pytest.raises(DataError, match=r"class_names\.txt: it must hold"):
        read_class_names(tmp_path)


def test_no_class_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"class_names\.txt: no such file"):
        read_class_names(tmp_path)


def test_images_without_masks(shapes_root: Path, tmp_path: Path) -> None:
    files = ImageFiles(shapes_root / "JPEGImages", EVALUATION)
    assert len(files) == 20
    assert (files[0]["mask"] == 255).all()
    with pytest.raises(DataError, match="it holds no .jpg"):
        ImageFiles(tmp_path, EVALUATION)
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png: .*a\.jpg"):
        ImageFiles(tmp_path, EVALUATION)
    with pytest.raises(DataError, match="no such folder"):
        ImageFiles(tmp_path / "none", EVALUATION)
