"""Reading images and masks. Every fault is one sentence that names the file."""

from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deeplab_lightning import IGNORE_INDEX


class Sample(TypedDict):
    """One training or evaluation sample: image (3, H, W) normalised, mask (H, W) int64 with 255 as void, its id."""

    image: Tensor
    mask: Tensor
    image_id: str


class DataError(ValueError):
    """A fault in the data, as one sentence."""


def read_image(path: Path) -> Image.Image:
    """The image at a path as RGB.

    Raises:
        DataError: it is missing, truncated or no image.
    """
    return _load(path).convert("RGB")


def read_mask(path: Path, num_classes: int) -> Image.Image:
    """The mask at a path: pixel values are class indices (palette or 8-bit grey), 255 is void.

    Raises:
        DataError: it is unreadable, has colours instead of class indices, or a value that is no class.
    """
    mask = _load(path)
    if mask.mode not in ("P", "L"):
        raise DataError(
            f"{path}: the mask is in mode {mask.mode}, but class indices are expected: "
            "a palette PNG (mode P) or 8-bit grey (mode L); RGB colours are not guessed at"
        )
    mask = _keep_indices(mask)
    values: NDArray[np.int64] = np.flatnonzero(np.bincount(np.asarray(mask).ravel(), minlength=256))
    wrong = values[(values >= num_classes) & (values != IGNORE_INDEX)]
    if len(wrong):
        raise DataError(
            f"{path}: mask value {', '.join(map(str, wrong[:5]))} is outside the {num_classes} classes "
            f"(0 to {num_classes - 1}, and {IGNORE_INDEX} for void)"
        )
    return mask


def read_pair(image_path: Path, mask_path: Path, num_classes: int) -> tuple[Image.Image, Image.Image]:
    """An image and its mask.

    Raises:
        DataError: either is faulty, or their sizes differ.
    """
    image, mask = read_image(image_path), read_mask(mask_path, num_classes)
    if image.size != mask.size:
        raise DataError(
            f"{image_path} is {image.width}x{image.height}, but its mask {mask_path} is {mask.width}x{mask.height}"
        )
    return image, mask


def _load(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def _keep_indices(mask: Image.Image) -> Image.Image:
    """The mask as a grey image of its indices, whatever its palette."""
    return mask if mask.mode == "L" else Image.fromarray(np.asarray(mask))
