"""Images and masks, read from files. An error names the file and its fault in one sentence."""

import ctypes
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from deeplab_lightning import IGNORE_INDEX

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF")
"""Formats that are read, whatever suffix a file has.

Some of Pillow's other formats start programs (EPS), and some have decoders with a long record of vulnerabilities.
"""

MAX_PIXELS = 1 << 27
"""Largest number of pixels of an image: 134 million, such as 11585x11585.

Aerial images have 10,000x10,000 pixels, which `deeplab segment` cuts into tiles. No benchmark has larger ones
(Mapillary 22 million pixels, aerial tiles 36 million). As 32-bit float RGB an image of this size takes 1.5 GiB.
"""

Note = ctypes.Array[ctypes.c_char]
"""Shared memory that holds the path of the file a worker opened last."""
NOTE_SIZE = 4096
"""Size of a note in bytes."""
_note: Note | None = None


class Sample(TypedDict):
    """One training or evaluation sample: image (C, H, W) normalised, mask (H, W) int64 with 255 as void, its id."""

    image: Tensor
    mask: Tensor
    image_id: str


class DataError(ValueError):
    """A fault in the data; the message is one sentence that begins with the path.

    Args:
        fault: Sentence about the fault, without the path.
        path: Faulty file or folder; None where no single file is at fault.
        line: Number of the faulty line.
    """

    def __init__(self, fault: str, path: Path | None = None, line: int | None = None) -> None:
        place = "" if path is None else f"{path}: " if line is None else f"{path}, line {line}: "
        super().__init__(f"{place}{fault}")
        self.path, self.line = path, line


def read_mask(path: Path, num_classes: int) -> Image.Image:
    """The mask at a path: pixel values are class indices (palette or 8-bit grey), 255 is void.

    Raises:
        DataError: The file cannot be read, holds colours instead of class indices, or a value that is not a class.
    """
    mask = load(path)
    if mask.mode not in ("P", "L"):
        raise DataError(
            f"the mask is in mode {mask.mode}, but class indices are expected: a palette PNG (mode P) or 8-bit grey "
            "(mode L); the classes of RGB colours are not guessed",
            path,
        )
    return mask_of(np.asarray(mask), path, num_classes)  # asarray gives the indices of a palette image


def mask_of(labels: NDArray[Any], path: Path, num_classes: int) -> Image.Image:
    """The grey mask of a label map (H, W) whose values are classes or void.

    Args:
        labels: Label map (H, W) of any type of whole numbers.
        path: File that the error message names.
        num_classes: Number of classes.

    Raises:
        DataError: The label map has a value that is neither a class nor void.
    """
    wrong = ((labels >= num_classes) & (labels != IGNORE_INDEX)) | (labels < 0)
    if wrong.any():
        values = ", ".join(map(str, np.unique(labels[wrong])[:5]))
        raise DataError(
            f"mask value {values} is outside the {num_classes} classes (0 to {num_classes - 1}, and {IGNORE_INDEX} for "
            "void)",
            path,
        )
    return Image.fromarray(labels.astype(np.uint8, copy=False))


def record_opened_paths(note: Note | None) -> None:
    """Have this process write down the path of each image before opening it, in case native code kills it there.

    Args:
        note: `NOTE_SIZE` bytes of memory shared with the parent; they hold the process id, a space, and the path. None
            ends it.
    """
    global _note
    _note = note


def record_opening(path: Path) -> None:
    """Write down the path of an image that is about to be opened, if `record_opened_paths` asked for it."""
    if _note is not None:
        _note.value = f"{os.getpid()} {path}".encode(errors="replace")[: NOTE_SIZE - 1]


def load(path: Path, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """The image at a path in its stored mode.

    Args:
        path: Path of the image.
        formats: Pillow's names of the formats that are read.

    Raises:
        DataError: The file is missing, truncated, too large or not an image.
    """
    with _opened(path, formats) as image:
        image.load()
    return image


def load_deep_png(path: Path) -> NDArray[np.uint16] | None:
    """The values (H, W, C) of a 16-bit RGB or RGBA PNG, of which Pillow keeps the high bytes only; None for others.

    Raises:
        DataError: The file is missing, truncated, too large or not an image, or is grey with transparency.
    """
    # Pillow's two ways of reading 16-bit values, "B" and "L", take the first byte and the second. A PNG's first is the
    # high one.
    halves: list[NDArray[np.uint8]] = []
    for order in "BL":
        with _opened(path) as image:
            if not isinstance(image, PngImagePlugin.PngImageFile):
                return None
            tile = image.tile[0]
            raw_mode = str(tile.args)
            if raw_mode == "LA;16B":
                raise DataError("16-bit grey with transparency is not read; save it without transparency", path)
            if raw_mode not in ("RGB;16B", "RGBA;16B"):
                return None
            image.tile = [type(tile)(tile.codec_name, tile.extents, tile.offset, raw_mode[:-1] + order)]
            halves.append(np.asarray(image))
    high, low = halves
    return high.astype(np.uint16) * np.uint16(256) + low


def size_of(path: Path) -> tuple[int, int]:
    """The width and height of the image at a path, from its header.

    Raises:
        DataError: The file is missing, too large or not an image.
    """
    with _opened(path) as image:
        return image.size


def format_of(path: Path) -> str | None:
    """Pillow's name of the format of an image, such as "JPEG"; None for what `load` does not read."""
    with suppress(DataError), _opened(path) as image:
        return image.format
    return None


def frames_of(path: Path) -> int:
    """The number of frames of the image at a path: above 1 for an animation, of which only the first is read.

    Raises:
        DataError: The file is missing, too large or not an image.
    """
    with _opened(path) as image:
        return int(getattr(image, "n_frames", 1))


@contextmanager
def _opened(path: Path, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """The image at a path with only its header read; an error within the block becomes a fault of the file."""
    record_opening(path)
    try:
        # Pillow's warnings do not name the file. The only one that matters is about the size, and is an error here.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"it has {image.width}x{image.height} pixels, but at most {MAX_PIXELS} are accepted; cut it into "
                    "tiles or make it smaller",
                    path,
                )
            yield image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError("no such file", path) from error
    except IsADirectoryError as error:
        raise DataError("it is a folder, not an image", path) from error
    except UnidentifiedImageError as error:
        raise DataError(f"cannot be read as an image (damaged, or none of {', '.join(formats)})", path) from error
    except Exception as error:  # decoders have no common class of error
        raise DataError(f"cannot be read as an image ({error or type(error).__name__})", path) from error


def orientation_of(image: Image.Image, path: Path) -> int:
    """The EXIF orientation of an image, 1 to 8; 1 means upright.

    Raises:
        DataError: The image has EXIF data that cannot be read.
    """
    if "exif" not in image.info:
        return 1
    exif = Image.Exif()  # `image.getexif` silently ignores damaged EXIF data in a JPEG
    try:
        with warnings.catch_warnings(action="ignore"):  # about other EXIF fields, which are not used
            exif.load(image.info["exif"])
            orientation = exif.get(ExifTags.Base.Orientation)
    except Exception as error:  # Pillow has no common class of error for it
        raise DataError(
            f"its EXIF data cannot be read ({error or type(error).__name__}), so its orientation is unknown; save the "
            "image without EXIF data",
            path,
        ) from error
    return orientation if orientation is not None and orientation in range(1, 9) else 1
