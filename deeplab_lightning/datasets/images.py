"""Images and masks, read from files. Every fault is one sentence that names the file."""

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
"""Formats that are read, whatever a file's name says.

Of Pillow's others, some start programs (EPS) and some have decoders with a long record of vulnerabilities.
"""

MAX_PIXELS = 1 << 26
"""Pixels that an image may have: 8192x8192.

That is more than any benchmark's pictures have (Mapillary 22 million, aerial tiles 36 million), and 0.75 GiB as 32-bit
float RGB, of which training and evaluation hold several copies.
"""

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition from pixels as stored to pixels as displayed, by EXIF orientation; any other value means upright."""

Note = ctypes.Array[ctypes.c_char]
"""Memory that processes share, for the path of a file."""
NOTE_SIZE = 4096
"""Bytes of a note."""
_note: Note | None = None


class Sample(TypedDict):
    """One training or evaluation sample: image (3, H, W) normalised, mask (H, W) int64 with 255 as void, its id."""

    image: Tensor
    mask: Tensor
    image_id: str


class DataError(ValueError):
    """A fault in the data, as one sentence that begins with its place.

    Args:
        fault: The fault as one sentence, without its place.
        path: File or folder that has the fault; None where there is no single one.
        line: Line of the file.
    """

    def __init__(self, fault: str, path: Path | None = None, line: int | None = None) -> None:
        place = "" if path is None else f"{path}: " if line is None else f"{path}, line {line}: "
        super().__init__(f"{place}{fault}")
        self.path, self.line = path, line


def read_image(path: Path) -> Image.Image:
    """The image at a path as RGB, turned as its EXIF orientation says.

    Raises:
        DataError: It is missing, truncated, too large or no image.
    """
    stored = load(path)
    return _displayed(_to_rgb(stored), _orientation(stored, path))


def read_mask(path: Path, num_classes: int) -> Image.Image:
    """The mask at a path: pixel values are class indices (palette or 8-bit grey), 255 is void.

    Raises:
        DataError: It is unreadable, has colours instead of class indices, or a value that is no class.
    """
    mask = load(path)
    if mask.mode not in ("P", "L"):
        raise DataError(
            f"the mask is in mode {mask.mode}, but class indices are expected: a palette PNG (mode P) or 8-bit grey "
            "(mode L); RGB colours are not guessed at",
            path,
        )
    return mask_of(np.asarray(mask), path, num_classes)  # of a palette image these are the indices


def mask_of(labels: NDArray[np.uint8], path: Path, num_classes: int) -> Image.Image:
    """The grey mask of a label map (H, W), if all its values are classes or void.

    Args:
        labels: The label map.
        path: File that it was read from, for the error message.
        num_classes: Number of classes.

    Raises:
        DataError: It has a value that is neither.
    """
    wrong = (labels >= num_classes) & (labels != IGNORE_INDEX)
    if wrong.any():
        values = ", ".join(map(str, np.unique(labels[wrong])[:5]))
        raise DataError(
            f"mask value {values} is outside the {num_classes} classes (0 to {num_classes - 1}, and {IGNORE_INDEX} for "
            "void)",
            path,
        )
    return Image.fromarray(labels)


def read_image_of_mask(path: Path, mask: Image.Image, mask_path: Path) -> Image.Image:
    """The image at a path as RGB, turned the way that its mask is.

    An image with an EXIF orientation may have been labelled as stored or as displayed; the sizes tell which.

    Raises:
        DataError: The image is faulty, the sizes differ, or the sizes do not tell how a turned image was labelled.
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
            f"its EXIF orientation is {orientation}, and its mask fits it both as stored and as displayed; save the "
            "image upright",
            path,
        )
    fault = f"the mask is {mask.width}x{mask.height}, but its image {path} is {stored.width}x{stored.height}"
    raise DataError(fault, mask_path)


def read_pair(image_path: Path, mask_path: Path, num_classes: int) -> tuple[Image.Image, Image.Image]:
    """An image and its mask.

    Raises:
        DataError: Either is faulty, or their sizes differ.
    """
    mask = read_mask(mask_path, num_classes)
    return read_image_of_mask(image_path, mask, mask_path), mask


def note_what_is_read(note: Note | None) -> None:
    """Have this process note the path of each image that it opens, for another to read if this one dies of the image.

    Args:
        note: `NOTE_SIZE` bytes; they hold the number of the process, a space, and the path. None ends it.
    """
    global _note
    _note = note


def load(path: Path) -> Image.Image:
    """The image at a path in the mode it is stored in.

    Raises:
        DataError: It is missing, truncated, too large or no image.
    """
    with _opened(path) as image:
        image.load()
    return image


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the image at a path, from its header.

    Raises:
        DataError: It is missing, too large or no image.
    """
    with _opened(path) as image:
        return image.size


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image at a path, of which only the header is read; an error within the block becomes a fault of the file."""
    if _note is not None:
        _note.value = f"{os.getpid()} {path}".encode(errors="replace")[: NOTE_SIZE - 1]
    try:
        # Pillow's warnings name no file; the one of them that matters, on the size, is an error here
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"it has {image.width}x{image.height} pixels, and at most {MAX_PIXELS} are taken; cut it into "
                    "tiles or make it smaller",
                    path,
                )
            yield image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError("no such file", path) from error
    except UnidentifiedImageError as error:
        raise DataError(f"cannot be read as an image (damaged, or none of {', '.join(FORMATS)})", path) from error
    except Exception as error:  # a decoder has no common error for what is damaged
        raise DataError(f"cannot be read as an image ({error or type(error).__name__})", path) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB from any 8-bit mode or 16-bit grey; 16 bits keep their high byte, transparent pixels their colour."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image.info.pop("transparency", None)
    return image.convert("RGB")


def _orientation(image: Image.Image, path: Path) -> int:
    """The EXIF orientation of an image, 1 for upright.

    Raises:
        DataError: It has EXIF data that cannot be read.
    """
    if "exif" not in image.info:
        return 1
    exif = Image.Exif()  # `image.getexif` passes over damage in a JPEG without a word
    try:
        with warnings.catch_warnings(action="ignore"):  # about its other parts, which do not matter here
            exif.load(image.info["exif"])
            orientation = exif.get(ExifTags.Base.Orientation)
    except Exception as error:  # Pillow has no common error for it
        raise DataError(
            f"its EXIF data cannot be read ({error or type(error).__name__}), so that nobody knows which way up it is; "
            "save the image without them",
            path,
        ) from error
    return orientation if orientation in TRANSPOSITIONS else 1


def _displayed(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TRANSPOSITIONS[orientation]) if orientation != 1 else image
