"""Reading images and masks. Every fault is one sentence that names the file."""

from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
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
    """The image at a path as RGB, turned as its EXIF orientation says.

    Raises:
        DataError: it is missing, truncated or no image.
    """
    return _displayed(_to_rgb(load(path), path))


def read_mask(path: Path, num_classes: int) -> Image.Image:
    """The mask at a path: pixel values are class indices (palette or 8-bit grey), 255 is void.

    Raises:
        DataError: it is unreadable, has colours instead of class indices, or a value that is no class.
    """
    mask = load(path)
    if mask.mode not in ("P", "L"):
        raise DataError(
            f"{path}: the mask is in mode {mask.mode}, but class indices are expected: "
            "a palette PNG (mode P) or 8-bit grey (mode L); RGB colours are not guessed at"
        )
    return checked_mask(_keep_indices(mask), path, num_classes)


def checked_mask(mask: Image.Image, path: Path, num_classes: int) -> Image.Image:
    """The grey mask that was read from `path`, if all its values are classes or void.

    Raises:
        DataError: it has a value that is neither.
    """
    labels = np.asarray(mask)
    if int((labels + np.uint8(255 - IGNORE_INDEX + 1)).max(initial=0)) <= num_classes:  # void wraps round to 0
        return mask
    values: NDArray[np.int64] = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    wrong = values[(values >= num_classes) & (values != IGNORE_INDEX)]
    raise DataError(
        f"{path}: mask value {', '.join(map(str, wrong[:5]))} is outside the {num_classes} classes "
        f"(0 to {num_classes - 1}, and {IGNORE_INDEX} for void)"
    )


def read_image_of_mask(path: Path, mask: Image.Image, mask_path: Path) -> Image.Image:
    """The image at a path as RGB, turned the way that its mask is.

    An image with an EXIF orientation may have been labelled as stored or as displayed; the sizes tell which.

    Raises:
        DataError: the image is faulty, the sizes differ, or the sizes do not tell how a turned image was labelled.
    """
    stored = _to_rgb(load(path), path)
    orientation = stored.getexif().get(ExifTags.Base.Orientation, 1) if "exif" in stored.info else 1
    if orientation == 1 and stored.size == mask.size:
        return stored
    fitting = [image for image in (stored, _displayed(stored)) if image.size == mask.size]
    if orientation != 1 and len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(
            f"{path}: its EXIF orientation is {orientation}, and its mask fits it both as stored and as displayed; "
            "save the image upright"
        )
    raise DataError(f"{path} is {stored.width}x{stored.height}, but its mask {mask_path} is {mask.width}x{mask.height}")


def read_pair(image_path: Path, mask_path: Path, num_classes: int) -> tuple[Image.Image, Image.Image]:
    """An image and its mask.

    Raises:
        DataError: either is faulty, or their sizes differ.
    """
    mask = read_mask(mask_path, num_classes)
    return read_image_of_mask(image_path, mask, mask_path), mask


def load(path: Path) -> Image.Image:
    """The image at a path in the mode it is stored in.

    Raises:
        DataError: it is missing, truncated or no image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """RGB from any 8-bit mode or 16-bit grey, whose high bytes are kept."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise DataError(f"{path}: the image is in mode {image.mode}, of 32 bits; 8 or 16 bits a channel are expected")
    return image.convert("RGB")


def _displayed(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) if "exif" in image.info else image


def _keep_indices(mask: Image.Image) -> Image.Image:
    """The mask as a grey image of its indices, whatever its palette."""
    return mask if mask.mode == "L" else Image.fromarray(np.asarray(mask))
