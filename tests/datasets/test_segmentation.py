"""The base class of the data sets; test_broken_inputs.py tests its errors, and those of lists and folders."""

import os
from pathlib import Path
from shutil import copytree

import numpy as np
import torch

from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.transforms import EvaluationTransform, TrainTransform

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)


def test_a_subset_has_the_chosen_images_in_order(shapes_root: Path) -> None:
    dataset = FolderDataset(shapes_root, "train", 8, EVALUATION)
    subset = dataset.subset([5, 1, 5])
    assert subset.image_ids == ["train_00005", "train_00001", "train_00005"]
    assert torch.equal(subset[1]["image"], dataset[1]["image"])
    assert len(dataset) == 12


def test_another_transform_reads_the_same_data(shapes_root: Path) -> None:
    dataset = FolderDataset(shapes_root, "train", 8, EVALUATION)
    crops = dataset.with_transform(
        TrainTransform((32, 40), (1.0, 1.0), flip=False, color_jitter=0.0, mean=(0.5,) * 3, std=(0.25,) * 3)
    )
    assert crops[3]["image"].shape == (3, 32, 40)
    assert dataset[3]["image"].shape == (3, 48, 64)
    assert crops.pair(3)[0].tobytes() == dataset.pair(3)[0].tobytes()


def test_the_fingerprint_depends_on_ids_settings_and_mask_files(shapes_root: Path, tmp_path: Path) -> None:
    root = Path(copytree(shapes_root, tmp_path / "copy"))

    def fingerprint(num_classes: int = 8) -> str:
        return FolderDataset(root, "train", num_classes, EVALUATION).fingerprint()

    found = [fingerprint(), fingerprint(9), FolderDataset(root, "val", 8, EVALUATION).fingerprint()]
    os.utime(root / "SegmentationClass" / "train_00003.png", ns=(1, 1))
    found.append(fingerprint())
    np.save(root / "SegmentationClass" / "train_00003.npy", np.zeros(1))  # not the mask of any id
    assert len(set(found)) == 4
    assert fingerprint() == found[-1]
