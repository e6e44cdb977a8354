"""Images of any number of channels and any depth as arrays; an error names the file in one sentence."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.datasets.images import DataError, load, load_deep_png, orientation_of
from deeplab_lightning.datasets.tiff import TiffPage, is_tiff, read_pages

Pixels = NDArray[np.uint8] | NDArray[np.float32]
"""Values (H, W, C) of an image as the file stores them: uint8, or float32 for all types of more than 8 bits."""
Stored = NDArray[Any]
"""Values (H, W, C) of an image in the type in which the file stores them, which takes less memory than float32."""


@dataclass(frozen=True)
class PixelFormat:
    """The channels of the images of a data set, and the range of their values.

    Args:
        num_channels: Number of channels C.
        value_range: Values that stand for 0 and 1; None for images of 8 bits alone, with 0 and 255.

    Raises:
        ValueError: There is no channel, or the range is empty.
    """

    num_channels: int = 3
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.num_channels < 1:
            raise ValueError(f"in_channels must be at least 1, got {self.num_channels}")
        if not self.limits[0] < self.limits[1]:
            raise ValueError(f"value_range must be two ascending numbers, got {self.value_range}")

    @property
    def limits(self) -> tuple[float, float]:
        """The values that stand for 0 and 1."""
        return self.value_range or (0.0, 255.0)


RGB = PixelFormat()


def read_pixels(path: Path, pixel_format: PixelFormat = RGB) -> Pixels:
    """The pixels (H, W, C) of the image at a path, turned according to its orientation.

    Grey images are repeated if three channels are expected, and a channel that is declared as transparency is dropped
    if it is one too many. The pages of a TIFF are its channels if they are grey and as many as expected.

    Args:
        path: Path of a TIFF, PNG, JPEG, WebP, BMP or GIF.
        pixel_format: Channels that are expected, and the range of their values. The values are not scaled by it.

    Raises:
        DataError: The file is missing, damaged, too large or not an image, has another number of channels or several
            pages, has more than 8 bits without a stated range, or holds values that are not finite.
    """
    return converted(read_stored(path, pixel_format))


def read_stored(path: Path, pixel_format: PixelFormat) -> Stored:
    """The pixels (H, W, C) of the image at a path as those of `read_pixels`, in the type in which it stores them."""
    page = _stored_page(path, pixel_format)
    return turned(checked(page, path, pixel_format), page.orientation)


def converted(values: Stored) -> Pixels:
    """Stored values as uint8, or as float32 if they have more than 8 bits."""
    return values if values.dtype == np.uint8 else values.astype(np.float32, copy=False)


def read_pixels_of_mask(path: Path, pixel_format: PixelFormat, mask: Image.Image, mask_path: Path) -> Pixels:
    """The pixels (H, W, C) of the image at a path, in the orientation of its mask.

    An image with an EXIF orientation may have been labelled as stored or as displayed. The sizes of image and mask show
    which.

    Raises:
        DataError: The image is faulty, the sizes differ, or they fit both orientations.
    """
    page = _stored_page(path, pixel_format)
    stored = converted(checked(page, path, pixel_format))
    size = (mask.height, mask.width)
    if page.orientation == 1 and stored.shape[:2] == size:
        return stored
    fitting = [each for each in (stored, turned(stored, page.orientation)) if each.shape[:2] == size]
    if page.orientation != 1 and len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(
            f"its EXIF orientation is {page.orientation}, and the size of its mask fits the image both as stored and "
            "as displayed; save the image upright",
            path,
        )
    height, width = stored.shape[:2]
    raise DataError(f"the mask is {mask.width}x{mask.height}, but its image {path} is {width}x{height}", mask_path)


def _stored_page(path: Path, pixel_format: PixelFormat) -> TiffPage:
    """The values of an image as stored, before they are turned and checked."""
    num_channels = pixel_format.num_channels
    return joined_pages(read_pages(path), path, num_channels) if is_tiff(path) else _read_by_pillow(path, num_channels)


def values_of(path: Path) -> NDArray[Any]:
    """The values (H, W, C) of an image in the type in which the file stores them, without transparency.

    Args:
        path: Path of an image as for `read_pixels`, of any number of channels. Those of 8 bits that are not TIFFs are
            returned as RGB.

    Raises:
        DataError: The file is missing, damaged, too large or not an image, or has pages of different kinds.
    """
    if not is_tiff(path):
        page = _read_by_pillow(path, RGB.num_channels)
    else:
        pages = read_pages(path)
        page = joined_pages(pages, path, len(pages))
    return page.values[..., :-1] if page.has_alpha and page.values.shape[2] > 1 else page.values


def joined_pages(pages: list[TiffPage], path: Path, num_channels: int) -> TiffPage:
    """The only page of a file, or its grey pages of equal size as channels.

    Raises:
        DataError: The file has several pages that are not `num_channels` channels.
    """
    if len(pages) == 1:
        return pages[0]
    if not are_channels(pages, num_channels):
        raise DataError(f"it has {len(pages)} pages; save each page in a file of its own", path)
    return replace(pages[0], values=np.concatenate([page.values for page in pages], 2))


def are_channels(pages: list[TiffPage], num_channels: int) -> bool:
    """Whether pages are the channels of one image: as many, and grey, of one size and one type."""
    kinds = {(page.values.shape, page.values.dtype) for page in pages}
    return len(pages) == num_channels and len(kinds) == 1 and pages[0].values.shape[2] == 1


def checked(page: TiffPage, path: Path, pixel_format: PixelFormat) -> Stored:
    """The stored pixels of a page if they have the expected channels, a known range and only finite values.

    The arguments and the errors are those of `read_pixels`.
    """
    values = _with_channels(page, path, pixel_format.num_channels)
    if page.white_is_zero:
        values = _inverted(values)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if values.dtype.kind == "f" and (wrong := int(values.size - np.isfinite(values).sum())):
        raise DataError(f"{wrong} of its values are not finite numbers", path)
    if pixel_format.value_range is None:
        bounds = nearest_range(values)
        raise DataError(
            f"it holds values of type {values.dtype} from {values.min():g} to {values.max():g}; state the range that "
            f'they stand for, such as data.value_range "{bounds}" in a training, or --value_range '
            f"{bounds.strip('[]').replace(',', '')} in deeplab segment and serve",
            path,
        )
    return values


def turned(values: Stored, orientation: int) -> Stored:
    """Stored pixels (H, W, C) as displayed, by their EXIF orientation; values outside 2 to 8 mean upright."""
    turning: NDArray[Any] = values.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else values
    if orientation in (3, 4, 7, 8):
        turning = turning[::-1]
    if orientation in (2, 3, 6, 7):
        turning = turning[:, ::-1]
    return np.ascontiguousarray(turning)


def _with_channels(page: TiffPage, path: Path, num_channels: int) -> NDArray[Any]:
    values = page.values
    depth = values.shape[2]
    if page.has_alpha and depth > 1 and depth != num_channels:
        values = values[..., :-1]
    if values.shape[2] == 1 and num_channels == 3:
        return np.repeat(values, 3, 2)
    if values.shape[2] != num_channels:
        raise DataError(
            f"it has {depth} channel{'' if depth == 1 else 's'}, but {num_channels} are expected (in_channels)", path
        )
    return values


def _inverted(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "b":
        return ~values
    return values.dtype.type(np.iinfo(values.dtype).max) - values if values.dtype.kind == "u" else -values


def nearest_range(values: NDArray[Any]) -> str:
    """A range that the values fit into: that of the fewest bits, or of -1 or 0 to 1 for small fractions."""
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f":
        return f"[{-1 if low < 0 else 0}, 1]" if max(-low, high) <= 1 else f"[{min(low, 0):g}, {high:g}]"
    top = (1 << max(8, int(max(high, -low)).bit_length())) - 1
    return f"[{-top - 1 if low < 0 else 0}, {top}]"


def _read_by_pillow(path: Path, num_channels: int) -> TiffPage:
    """The pixels of a file that is not a TIFF."""
    image = load(path)
    orientation = orientation_of(image, path)
    if image.format == "PNG" and (deep := load_deep_png(path)) is not None:
        return TiffPage(deep, has_alpha=image.mode == "RGBA", orientation=orientation)
    return TiffPage(values_of_pillow(image, num_channels), orientation=orientation)


def values_of_pillow(image: Image.Image, num_channels: int) -> NDArray[Any]:
    """The values (H, W, C) of an image of Pillow with the channels of its mode, whether they are as many as expected.

    Palettes, CMYK and the like are colours in RGB. Three channels are always RGB, and one is grey without transparency.
    """
    if not image.mode.startswith(("I", "F")):
        own = {"1": "L", "L": "L", "LA": "L" if num_channels == 1 else "LA", "RGBA": "RGBA"}.get(image.mode, "RGB")
        if image.mode != (mode := "RGB" if num_channels == 3 else own):
            image.info.pop("transparency", None)
            image = image.convert(mode)
    return np.atleast_3d(np.asarray(image))
