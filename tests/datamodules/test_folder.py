"""Own data in the VOC layout and in plain folders."""

from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.datamodules.folder import FolderDataModule, find_root
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.polygons import Annotations
from deeplab_lightning.palette import Palette

SMALL: dict[str, Any] = {"batch_size": 4, "crop_size": (32, 40), "num_workers": 0}


def test_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPLAB_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError, match="mine is empty"):
        find_root("mine")
    (tmp_path / "data" / "mine" / "class_names.txt").touch()
    assert find_root("mine") == find_root("data/mine") == find_root(str(tmp_path / "data" / "mine"))
    with pytest.raises(DataError, match=r"data root 'other' .*--data.root.*DEEPLAB_DATA"):
        find_root("other")


def test_a_training_set_of_void_and_one_class_is_refused_and_one_of_one_class_warned_of(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FolderDataModule(str(shapes_root), **SMALL).setup("fit")
    root = Path(copytree(shapes_root, tmp_path / "copy"))
    (root / "class_names.txt").write_text("background\ncrack\n")
    for path in (root / "SegmentationClass").iterdir():
        labels = np.asarray(Image.open(path))
        Image.fromarray(np.where(labels > 0, 255, 0).astype(np.uint8)).save(path)
    data = FolderDataModule(str(root), **SMALL)
    with pytest.raises(DataError, match=r"masks of split 'train' hold 0 and 255 alone.*`deeplab data check --fix`"):
        data.setup("fit")
    data.setup("validate")
    rare = root / "SegmentationClass" / "train_00005.png"
    with monkeypatch.context() as patch:
        patch.setattr("deeplab_lightning.datamodules.folder.NUM_CHECKED", 2)
        Image.fromarray(np.eye(48, 64, dtype=np.uint8)).save(rare)
        with pytest.warns(UserWarning, match=r"2 images of split 'train' hold no class but 'background'"):
            data.setup("fit")
    Image.new("L", (64, 48), 255).save(rare)
    (root / "class_names.txt").write_text("background = 0\ncrack = 255\n")
    mapped = FolderDataModule(str(root), **SMALL)
    mapped.setup("fit")
    assert mapped.labels == "masks of SegmentationClass, values by class_names.txt, void left out"
    (root / "class_names.txt").write_text("background\ncrack\n")
    for path in (root / "SegmentationClass").iterdir():
        Image.new("L", (64, 48)).save(path)
    with pytest.warns(UserWarning, match=r"12 images of split 'train' hold no class but 'background'"):
        FolderDataModule(str(root), **SMALL).setup("fit")


def test_polygons_are_found_where_there_are_no_masks(shapes_root: Path, tmp_path: Path) -> None:
    assert FolderDataModule(str(shapes_root), **SMALL).annotations is None
    with pytest.raises(ValueError, match="overlap 'first' is for polygons"):
        FolderDataModule(str(shapes_root), overlap="first")
    root = tmp_path / "mine"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    (root / "class_names.txt").write_text("background\nroad\n")
    places = ("images/a.json", "annotations/a.json", "annotations/instances_train.json", "annotations.json")
    found = ("images", "annotations", "annotations/instances_{split}.json", "annotations.json")
    for place, expected in zip(places, found, strict=True):
        (root / place).touch()
        data = FolderDataModule(str(root), overlap="void")
        assert data.annotations == Annotations(root / expected, ("background", "road"), "void")
        assert data.labels == f"polygons of {expected}, overlaps void, void left out"
    (root / "masks").mkdir()
    assert FolderDataModule(str(root)).annotations is None
    given = FolderDataModule(str(root), annotations="annotations/{split}.json").annotations
    assert given == Annotations(root / "annotations/{split}.json", ("background", "road"), "last")
    with pytest.raises(DataError, match=r"labels\.json: no such file or folder \(data.annotations\)"):
        FolderDataModule(str(root), annotations="labels.json")


def plain_tree(root: Path, shapes_root: Path, splits: bool) -> Path:
    """A tree of images/ and masks/ with the 12 training images, and lists if wanted."""
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


def test_the_colours_are_those_of_the_class_file(shapes_root: Path, tmp_path: Path) -> None:
    root = plain_tree(tmp_path / "mine", shapes_root, splits=True)
    names = FolderDataModule(str(root), **SMALL).class_names
    assert FolderDataModule(str(root), **SMALL).palette == Palette.generated(names)
    (root / "class_names.txt").write_text("".join(f"{name} = {k} {k} 0 9\n" for k, name in enumerate(names)))
    assert FolderDataModule(str(root), **SMALL).palette.colors == tuple((k, 0, 9) for k in range(len(names)))
