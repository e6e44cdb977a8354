"""Pixels of each class in every image of a data set, counted once and then cached."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from deeplab_lightning.atomic import replacing
from deeplab_lightning.datasets.scan import scan
from deeplab_lightning.datasets.segmentation import SegmentationDataset


def cache_folder() -> Path:
    """The folder of the cached counts: deeplab_lightning/ in XDG_CACHE_HOME, or in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deeplab_lightning"


def class_counts(dataset: SegmentationDataset, num_workers: int) -> NDArray[np.int64]:
    """The number of pixels of each mask value in each image, (N, 256), cached under the data set's fingerprint.

    Args:
        dataset: Data set whose masks are counted.
        num_workers: Number of worker processes.

    Raises:
        DataError: A mask is faulty.
    """
    path = cache_folder() / f"class_counts_{dataset.fingerprint()}.npy"
    if path.is_file():
        cached: NDArray[np.int64] = np.load(path)
        return cached
    rows = scan(dataset, count_values, num_workers)
    console = Console(stderr=True)
    counts = np.stack(list(track(rows, "counting classes", len(dataset), transient=True, console=console)))
    with replacing(path) as draft, draft.open("wb") as file:
        np.save(file, counts)
    return counts


def count_values(dataset: SegmentationDataset, index: int) -> NDArray[np.int64]:
    """The number of pixels of each mask value in one image, (256,)."""
    return np.array(dataset.mask(index).histogram(), np.int64)
