"""How many pixels of each class every image of a data set holds: scanned once, then remembered."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from deeplab_lightning.atomic import replacing
from deeplab_lightning.datasets.scan import scan
from deeplab_lightning.datasets.segmentation import SegmentationDataset

NUM_VALUES = 256


def cache_folder() -> Path:
    """Where scans are remembered: deeplab_lightning/ in XDG_CACHE_HOME, or in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deeplab_lightning"


def class_counts(dataset: SegmentationDataset, num_workers: int) -> NDArray[np.int64]:
    """The pixels of each mask value in each image, (N, 256); remembered under the data set's fingerprint.

    Args:
        dataset: whose masks are counted.
        num_workers: processes of a first scan.

    Raises:
        DataError: a mask is faulty.
    """
    path = cache_folder() / f"class_counts_{dataset.fingerprint()}.npy"
    if path.is_file():
        remembered: NDArray[np.int64] = np.load(path)
        return remembered
    looks = scan(dataset, count_values, num_workers)
    counts = np.stack(
        list(track(looks, "counting classes", len(dataset), transient=True, console=Console(stderr=True)))
    )
    with replacing(path) as draft, draft.open("wb") as file:
        np.save(file, counts)
    return counts


def count_values(dataset: SegmentationDataset, index: int) -> NDArray[np.int64]:
    """The pixels of each mask value in one image, (256,)."""
    return np.array(dataset.mask(index).histogram(), np.int64)
