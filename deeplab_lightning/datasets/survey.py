"""A first look at the images of a folder: their size, channels and values, from a sample of the files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.pixels import nearest_range, values_of

SAMPLED = 64
"""Number of images that are read, evenly spread over the folder."""


@dataclass(frozen=True)
class Survey:
    """The looks of the images of a folder.

    Args:
        height: Median height in pixels.
        width: Median width in pixels.
        num_channels: Number of channels; 3 for grey images too, which are repeated.
        value_range: Values that stand for 0 and 1, as a setting; None for images of 8 bits.
    """

    height: int
    width: int
    num_channels: int
    value_range: str | None


def survey(paths: Sequence[Path]) -> Survey:
    """Look at some images of a folder. Those that cannot be read are left to the check of the data.

    The value range of images of more than 8 bits is that of the fewest bits that hold the sample's values: [0, 4095]
    for 12 bits in 16.

    Args:
        paths: The files.

    Raises:
        DataError: Not one of the images can be read; the error is the first image's.
    """
    chosen = np.linspace(0, len(paths) - 1, min(SAMPLED, len(paths))).round().astype(int).tolist()
    sizes, channels, extremes = [], set(), []
    first_error: DataError | None = None
    for path in (paths[index] for index in chosen):
        try:
            values = values_of(path)
        except DataError as error:
            first_error = first_error or error
            continue
        sizes.append(values.shape[:2])
        channels.add(values.shape[2])
        if values.dtype.kind != "b" and values.dtype != np.uint8:
            extremes += [values.min(), values.max()]
    if not sizes:
        raise first_error or DataError("there are no images")
    height, width = np.median(sizes, 0).astype(int).tolist()
    return Survey(
        height=height,
        width=width,
        num_channels=3 if channels <= {1, 3} else max(channels),
        value_range=nearest_range(np.stack(extremes)) if extremes else None,
    )
