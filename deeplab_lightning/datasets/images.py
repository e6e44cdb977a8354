"""Reading images and masks. Every fault is one sentence that names the file."""

import ctypes
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from deeplab_lightning import IGNORE_INDEX

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
"""What a file may be, whatever its name says; Pillow's others start programs (EPS) or decoders with a long record."""

MAX_PIXELS = 1 << 26
"""8192x8192: more than any benchmark's pictures have (Mapillary 22 million, aerial tiles 36 million), and 0.75 GiB once
they are 32-bit RGB, of which training and evaluation hold several."""

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""From pixels as stored to pixels as displayed, by EXIF orientation; any other value means upright."""

Note = ctypes.Array[ctypes.c_char]
"""Memory that processes share, for the path of a file."""
NOTE_SIZE = 4096
_note: Note | None = None


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
        DataError: it is missing, truncated, too large or no image.
    """
    stored = load(path)
    return _displayed(_to_rgb(stored), _orientation(stored, path))


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
    image = load(path)
    orientation, stored = _orientation(image, path), _to_rgb(image)
    if orientation == 1 and stored.size == mask.size:
        return stored
    fitting = [each for each in (stored, _displayed(stored, orientation)) if each.size == mask.size]
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


def note_what_is_read(note: Note) -> None:
    """Have this process leave the path of each image that it opens where another finds it should this one die of it.

    Args:
        note: of `NOTE_SIZE` bytes; the number of the process comes first, then the path.
    """
    global _note
    _note = note


def load(path: Path) -> Image.Image:
    """The image at a path in the mode it is stored in.

    Raises:
        DataError: it is missing, truncated, too large or no image.
    """
    with _opened(path) as image:
        image.load()
    return image


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the image at a path, from its header.

    Raises:
        DataError: it is missing, too large or no image.
    """
    with _opened(path) as image:
        return image.size


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image at a path, of which only the header is read; what then goes wrong is a fault of the file."""
    if _note is not None:
        _note.value = f"{os.getpid()} {path}".encode(errors="replace")[: NOTE_SIZE - 1]
    try:
        # Pillow's warnings name no file; the one of them that matters, on the size, is an error here
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{path}: it has {image.width}x{image.height} pixels, and at most {MAX_PIXELS} are taken; "
                    "cut it into tiles or make it smaller"
                )
            yield image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: cannot be read as an image (damaged, or none of {', '.join(FORMATS)})") from error
    except Exception as error:  # a decoder has no common error for what is damaged
        raise DataError(f"{path}: cannot be read as an image ({error or type(error).__name__})") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB from any 8-bit mode or 16-bit grey, whose high bytes are kept; what is transparent keeps its colour."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image.info.pop("transparency", None)
    return image.convert("RGB")


def _orientation(image: Image.Image, path: Path) -> int:
    """How an image is to be turned, 1 for not at all.

    Raises:
        DataError: it has EXIF data that cannot be read.
    """
    if "exif" not in image.info:
        return 1
    exif = Image.Exif()  # `image.getexif` says nothing of what is damaged in a JPEG
    try:
        with warnings.catch_warnings(action="ignore"):  # on other parts of it, which do not matter here
            exif.load(image.info["exif"])
            orientation = exif.get(ExifTags.Base.Orientation)
    except Exception as error:  # Pillow has no common error for it
        raise DataError(
            f"{path}: its EXIF data cannot be read ({error or type(error).__name__}), so that nobody knows "
            "which way up it is; save the image without them"
        ) from error
    return orientation if orientation in TRANSPOSITIONS else 1


def _displayed(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TRANSPOSITIONS[orientation]) if orientation != 1 else image


def _keep_indices(mask: Image.Image) -> Image.Image:
    """The mask as a grey image of its indices, whatever its palette."""
    return mask if mask.mode == "L" else Image.fromarray(np.asarray(mask))
