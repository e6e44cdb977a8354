"""Pictures as a model takes them: pixels (H, W, C) from files, PIL images, arrays and tensors, then normalised."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from deeplab_lightning.datasets.images import DataError, frames_of
from deeplab_lightning.datasets.pixels import (
    PixelFormat,
    Stored,
    are_channels,
    checked,
    read_stored,
    turned,
    values_of_pillow,
)
from deeplab_lightning.datasets.tiff import is_tiff, read_pages
from deeplab_lightning.description import PixelNormalization

EIGHT_BIT = (0.0, 255.0)
ROWS = 256
"""Number of rows of more than 8 bits that are converted at once, so that a large image needs little memory."""


@dataclass(frozen=True)
class Picture:
    """An image to segment.

    Args:
        pixels: Values (H, W, C) as stored, upright.
        name: Name of the image in results and errors: for a file, its path.
    """

    pixels: Stored
    name: str

    @property
    def size(self) -> tuple[int, int]:
        """The size (H, W)."""
        return self.pixels.shape[0], self.pixels.shape[1]


class PixelReader:
    """Turns files, PIL images, arrays and tensors into pictures of the channels and the range that a model expects.

    Args:
        normalization: Normalisation of the model.
        value_range: Stored values that stand for black and white in images of more than 8 bits; those of the training
            if not given.
    """

    def __init__(self, normalization: PixelNormalization, value_range: tuple[float, float] | None = None) -> None:
        self.num_channels = normalization.num_channels
        trained_on_8_bits = normalization.value_range == EIGHT_BIT
        self.stated_range = value_range or (None if trained_on_8_bits else normalization.value_range)
        self.value_range = value_range or normalization.value_range
        self.pixel_format = PixelFormat(self.num_channels, self.stated_range)
        self.normalization = normalization
        self._num_unnamed = 0

    def read(self, path: Path) -> Picture:
        """Read an image file.

        Raises:
            DataError: The file is missing, damaged, too large or no image, has other channels than the model, or holds
                more than 8 bits in an unknown range.
        """
        return Picture(read_stored(path, self.pixel_format), str(path))

    def read_all(self, path: Path) -> list[Picture]:
        """Read all pages of a TIFF, or the one image of another file, as pictures.

        Raises:
            DataError: As for `read`; also for an animation, of which only the first frame would be read.
        """
        if not is_tiff(path):
            if (frames := frames_of(path)) > 1:
                raise DataError(f"it is an animation of {frames} frames; save one of them, or a video (.mp4)", path)
            return [self.read(path)]
        pages = read_pages(path)
        if len(pages) == 1 or are_channels(pages, self.num_channels):
            return [self.read(path)]
        names = [f"{path}, page {number}" for number in range(1, len(pages) + 1)]
        values = [checked(page, path, self.pixel_format) for page in pages]
        upright = [turned(each, page.orientation) for each, page in zip(values, pages, strict=True)]
        return [Picture(each, name) for each, name in zip(upright, names, strict=True)]

    def convert(self, image: Any, name: str) -> Picture:
        """Take a path, a PIL image, an array (H, W), (H, W, C) or a tensor (C, H, W) as a picture.

        Arrays and tensors of uint8 hold 0..255. Floats hold 0..1, or values in the range that was stated for the model.
        Pictures that are no files are named "image 0", "image 1" and so on, each name once.

        Args:
            image: The image.
            name: Name of the image in errors, if it is no file.

        Raises:
            DataError: A file cannot be read.
            TypeError: It is none of these.
            ValueError: It has other channels than the model, is empty, or its values are not in the range.
        """
        if isinstance(image, str | Path):
            return self.read(Path(image))
        if isinstance(image, Image.Image):
            values = values_of_pillow(ImageOps.exif_transpose(image), self.num_channels)
        elif isinstance(image, Tensor):
            values = image.detach().cpu().numpy()
            values = values.transpose(1, 2, 0) if values.ndim == 3 else values
        elif isinstance(image, np.ndarray):
            values = image
        else:
            raise TypeError(
                f"{name}: a {type(image).__name__} is no image; give a path, a PIL image, an array (H, W, C) or a "
                "tensor (C, H, W)"
            )
        pixels = self._checked(values, name)
        self._num_unnamed += 1
        return Picture(pixels, f"image {self._num_unnamed - 1}")

    def _checked(self, values: NDArray[Any], name: str) -> Stored:
        values = values[..., None] if values.ndim == 2 else values
        if values.ndim == 3 and values.shape[2] == 1 and self.num_channels == 3:
            values = np.repeat(values, 3, 2)
        if values.ndim != 3 or values.shape[2] != self.num_channels or 0 in values.shape:
            raise ValueError(
                f"{name}: its shape is {values.shape}, but the model takes images (H, W, {self.num_channels})"
            )
        if values.dtype == np.uint8:
            return values
        if values.dtype.kind != "f" and self.stated_range is None:
            raise ValueError(f"{name}: it holds {values.dtype}; give 8-bit values, or floats in 0..1")
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: some of its values are not finite")
        if self.stated_range is None:
            if values.min() < 0 or values.max() > 1:
                raise ValueError(
                    f"{name}: floats must be in 0..1, got {values.min():g} to {values.max():g}; 8-bit values are uint8"
                )
            values *= np.float32(EIGHT_BIT[1])
        return values

    def range_of(self, pixels: Stored) -> tuple[float, float]:
        """Return the stored values that stand for 0 and 1."""
        return EIGHT_BIT if pixels.dtype == np.uint8 else self.value_range


def normalize(pixels: Stored, reader: PixelReader, pad_to: tuple[int, int] | None = None) -> Tensor:
    """Return pixels (H, W, C) as the network's input (C, H, W), padded at the right and the bottom.

    For 8-bit images the arithmetic is that of the data sets' `EvaluationTransform`, to the last bit. An image that is
    larger than `pad_to` is not padded.
    """
    factor, offset = affine(reader.normalization, reader.range_of(pixels))
    copied = np.array(pixels, np.uint8 if pixels.dtype == np.uint8 else np.float32)  # decoded pixels may be read-only
    values = torch.from_numpy(copied)
    if reader.normalization.channel_order == "reversed":
        values = values.flip(-1)
    height, width, channels = values.shape
    padded = pad_to if pad_to and pad_to[0] >= height and pad_to[1] >= width else (height, width)
    canvas = (torch.empty if padded == (height, width) else torch.zeros)(*padded, channels)
    rows = canvas.view(padded[0], -1)[:height, : channels * width]
    rows.copy_(values.flatten(1)).mul_(factor.repeat(width)).add_(offset.repeat(width))
    return canvas.permute(2, 0, 1)


def affine(normalization: PixelNormalization, value_range: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return factor and offset (C,) that normalise values of a range, in the order of the network's channels."""
    low, high = value_range
    mean, std = torch.tensor(normalization.mean), torch.tensor(normalization.std)
    factor, offset = 1 / ((high - low) * std), -(mean + low / (high - low)) / std
    return (factor.flip(0), offset.flip(0)) if normalization.channel_order == "reversed" else (factor, offset)


def displayed(pixels: Stored, value_range: tuple[float, float]) -> NDArray[np.uint8]:
    """Return pixels (H, W, C) as 8-bit RGB (H, W, 3): the first three channels, or the first one as grey."""
    shown: NDArray[Any] = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, 2)
    if shown.dtype == np.uint8:
        return np.ascontiguousarray(shown)
    low, high = value_range
    scaled = np.empty(shown.shape, np.uint8)
    for start in range(0, len(shown), ROWS):
        part = shown[start : start + ROWS].astype(np.float32)
        scaled[start : start + ROWS] = ((part - low) * (255 / (high - low))).round().clip(0, 255)
    return scaled
