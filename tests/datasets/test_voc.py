from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.datasets.images import DataError, load
from deeplab_lightning.datasets.sbd import read_sbd_mask
from deeplab_lightning.datasets.transforms import EvaluationTransform
from deeplab_lightning.datasets.voc import CLASS_NAMES, NUM_IMAGES, VOCDataset, split_ids
from tests.devkits import SBD_ONLY, SBD_TRAIN, SBD_VAL, VOC_TEST, VOC_TRAIN, VOC_VAL, save_sbd_mask, write_list

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)


def labels_of(dataset: VOCDataset, image_id: str) -> np.ndarray:
    return np.asarray(dataset.mask(dataset.image_ids.index(image_id)))


def test_splits_follow_the_rule(voc_root: Path, sbd_root: Path) -> None:
    train_aug = set(split_ids(voc_root, "train_aug", sbd_root))
    assert train_aug == (set(VOC_TRAIN) | set(SBD_TRAIN) | set(SBD_VAL)) - set(VOC_VAL)
    assert not train_aug & set(VOC_VAL)
    assert train_aug - set(VOC_TRAIN) == set(SBD_ONLY)
    assert set(split_ids(voc_root, "trainval_aug", sbd_root)) == train_aug | set(VOC_VAL)
    assert split_ids(voc_root, "train") == VOC_TRAIN
    assert split_ids(voc_root, "val", sbd_root) == VOC_VAL
    for split in ("train_aug", "trainval_aug"):
        with pytest.raises(ValueError, match=f"split '{split}' needs SBD; set sbd_root"):
            split_ids(voc_root, split)


def test_voc_masks_take_precedence_over_sbd_masks(voc_root: Path, sbd_root: Path) -> None:
    dataset = VOCDataset(voc_root, "train_aug", EVALUATION, sbd_root)
    for image_id in VOC_TRAIN:
        own = np.asarray(Image.open(voc_root / "SegmentationClass" / f"{image_id}.png"))
        assert np.array_equal(labels_of(dataset, image_id), own)
        assert 255 in own
    for image_id in SBD_ONLY:
        labels = labels_of(dataset, image_id)
        assert np.array_equal(labels, np.asarray(read_sbd_mask(sbd_root / "cls" / f"{image_id}.mat")))
        assert 255 not in labels


def test_validation_is_scored_on_masks_of_voc(voc_root: Path, sbd_root: Path) -> None:
    dataset = VOCDataset(voc_root, "val", EVALUATION)
    assert {path.parent.name for path in dataset.mask_files} == {"SegmentationClass"}
    assert all(255 in labels_of(dataset, image_id) for image_id in VOC_VAL)
    both = VOCDataset(voc_root, "trainval_aug", EVALUATION, sbd_root)
    for image_id in VOC_VAL:  # although SBD labels some of them too
        assert np.array_equal(labels_of(both, image_id), labels_of(dataset, image_id))


def test_the_test_split_has_images_only(voc_root: Path) -> None:
    dataset = VOCDataset(voc_root, "test", EVALUATION)
    assert dataset.image_ids == VOC_TEST
    assert (dataset[0]["mask"] == 255).all()
    assert dataset[0]["image"].shape == (3, 48, 64)


def test_an_sbd_mask_does_not_replace_a_missing_voc_mask(voc_root: Path, sbd_root: Path, tmp_path: Path) -> None:
    root = Path(copytree(voc_root, tmp_path / "voc"))
    (root / "SegmentationClass" / f"{VOC_TRAIN[0]}.png").unlink()
    with pytest.raises(DataError, match=f"{VOC_TRAIN[0]}: no such file; SBD"):
        VOCDataset(root, "train_aug", EVALUATION, sbd_root)
    with pytest.raises(DataError, match=f"{VOC_TRAIN[0]}: no such file, but .*train.txt lists its id"):
        VOCDataset(root, "train", EVALUATION)


def test_published_lists(real_data: Path, tmp_path: Path) -> None:
    """The published lists have the known counts and set relations, and the rule gives the published train_aug."""
    folder = real_data / "voc_lists"
    lists = {path.stem: path.read_text().split() for path in folder.glob("*.txt")}
    for split, count in NUM_IMAGES.items():
        assert len(lists[split]) == len(set(lists[split])) == count
    sets = {name: set(image_ids) for name, image_ids in lists.items()}
    assert sets["train"] | sets["val"] == sets["trainval"]
    assert not sets["train"] & sets["val"]
    assert len(sets["train_aug"] - sets["train"]) == 9118
    assert sets["seg11valid"] <= sets["val"]
    for split in ("train", "val"):
        write_list(tmp_path / "voc" / "ImageSets" / "Segmentation" / f"{split}.txt", lists[split])
    # SBD's lists also hold images of VOC's val; how they are divided between the two lists does not matter.
    sbd = sorted((sets["train_aug"] - sets["train"]) | set(lists["val"][::7]) | set(lists["train"][::5]))
    write_list(tmp_path / "sbd" / "train.txt", sbd[:8498])
    write_list(tmp_path / "sbd" / "val.txt", sbd[8498:])
    assert set(split_ids(tmp_path / "voc", "train_aug", tmp_path / "sbd")) == sets["train_aug"]
    assert set(split_ids(tmp_path / "voc", "trainval_aug", tmp_path / "sbd")) == sets["trainval_aug"]


def test_real_masks(real_data: Path, tmp_path: Path) -> None:
    """VOC's masks have void borders and SBD's have none; an SBD mask is the same from .mat and PNG."""
    folder = real_data / "voc_aug_masks"
    read = {path.stem: path.read_text().split() for path in (folder / "ImageSets" / "Segmentation").glob("*.txt")}
    for image_id in read["train"][:12] + read["val"][:12]:
        assert load(folder / "SegmentationClassAug" / f"{image_id}.png").histogram()[255] > 0
    seen: set[int] = set()
    for image_id in read["sbd_only"]:
        labels = np.asarray(load(folder / "SegmentationClassAug" / f"{image_id}.png"))
        save_sbd_mask(labels, tmp_path / f"{image_id}.mat")
        assert np.array_equal(np.asarray(read_sbd_mask(tmp_path / f"{image_id}.mat")), labels)
        seen |= set(np.unique(labels).tolist())
    assert len(seen) >= 20
    assert seen <= set(range(len(CLASS_NAMES)))


def test_real_images(real_data: Path) -> None:
    dataset = VOCDataset(real_data / "voc_samples", "train", EVALUATION)
    assert dataset.image_ids == ["2011_000003", "2011_000006", "2011_000025"]
    assert [dataset[index]["image"].shape[1:] == dataset[index]["mask"].shape for index in range(3)] == [True] * 3
    assert tuple((real_data / "voc_samples" / "class_names.txt").read_text().split()) == CLASS_NAMES
