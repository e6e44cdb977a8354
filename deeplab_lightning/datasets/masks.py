"""Masks of your own data: class indices or other values of any number of bits, or colours; from PNGs and TIFFs."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.datasets.class_names import CLASS_FILE, Key, LabelMap, text_of
from deeplab_lightning.datasets.images import DataError, load, mask_of
from deeplab_lightning.datasets.tiff import is_tiff, read_pages

BASE = 1 << 21  # more than any value of a colour; three digits to this base fit into 63 bits


def read_labels(path: Path) -> NDArray[Any]:
    """The values (H, W) of a mask as stored: indices of a palette, or grey values of 1 to 32 bits.

    Raises:
        DataError: The mask cannot be read, or holds colours, fractions or several channels or pages.
    """
    if not is_tiff(path):
        mask = load(path)
        if mask.mode not in ("P", "L", "1", "I") and not mask.mode.startswith("I;16"):
            raise DataError(
                f"the mask is in mode {mask.mode}, but class indices are expected: a palette PNG (mode P) or grey of 8 "
                "or 16 bits; the classes of RGB colours are not guessed",
                path,
            )
        return np.asarray(mask)  # asarray gives the indices of a palette image
    pages = read_pages(path, indices=True)
    values = pages[0].values
    if len(pages) > 1 or values.shape[2] > 1 or values.dtype.kind not in "bui":
        raise DataError(
            f"the mask has {len(pages)} pages of {values.shape[2]} channels in {values.dtype}, but whole numbers of "
            "one channel are needed",
            path,
        )
    return values[..., 0]


def read_folder_mask(path: Path, num_classes: int, label_map: LabelMap | None) -> Image.Image:
    """The mask at a path as class indices, looked up in the label map if there is one.

    Args:
        path: PNG or TIFF.
        num_classes: Number of classes.
        label_map: Class of each colour (RGB or palette) or value in the mask; None for class indices.

    Raises:
        DataError: The mask cannot be read, or holds a colour or value that is not in the map or not a class.
    """
    if label_map is None:
        return mask_of(read_labels(path), path, num_classes)
    colored = len(next(iter(label_map))) == 3
    keys = _read_colors(path) if colored else read_labels(path)[..., None]
    codes, known = _codes(keys), _codes(np.array(list(label_map)))
    order = np.argsort(known)
    position = np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)
    found = order[position]
    if (wrong := known[found] != codes).any():
        y, x = np.argwhere(wrong)[0]
        what = "colour" if colored else "value"
        raise DataError(f"the {what} {text_of(keys[y, x].astype(int))} at x {x}, y {y} is not in {CLASS_FILE}", path)
    return Image.fromarray(np.array(list(label_map.values()), np.uint8)[found])


def count_keys(path: Path) -> Counter[Key]:
    """The values, or the colours of an RGB mask, that a mask holds, with their numbers of pixels.

    Raises:
        DataError: The mask cannot be read.
    """
    channels = read_pages(path, indices=True)[0].values.shape[2] if is_tiff(path) else len(load(path).getbands())
    colored = channels == 3
    keys = _read_colors(path) if colored else read_labels(path)[..., None]
    _, first, counts = np.unique(_codes(keys), return_index=True, return_counts=True)
    found = keys.reshape(-1, keys.shape[-1])[first].astype(int).tolist()
    return Counter({tuple(key): int(count) for key, count in zip(found, counts, strict=True)})


def _read_colors(path: Path) -> NDArray[Any]:
    """The colours (H, W, 3) of a mask."""
    if is_tiff(path):
        pages = read_pages(path)
        if len(pages) > 1 or pages[0].values.shape[2] != 3:
            raise DataError(f"{CLASS_FILE} gives colours: a TIFF of one page and three channels is expected", path)
        return pages[0].values
    mask = load(path)
    if mask.mode not in ("RGB", "P"):
        raise DataError(f"the mask is in mode {mask.mode}, but {CLASS_FILE} gives colours: RGB is expected", path)
    return np.asarray(mask.convert("RGB"))


def _codes(keys: NDArray[Any]) -> NDArray[np.int64]:
    """One number (...) for each colour (..., 3) or value (..., 1)."""
    codes: NDArray[np.int64] = keys.astype(np.int64) @ np.array([BASE**2, BASE, 1])[-keys.shape[-1] :]
    return codes
