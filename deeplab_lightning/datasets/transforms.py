"""Joint transforms of image and mask; all random choices are drawn from a given generator.

Three things make them fast. The image is scaled as it is stored, with channels last, because torch has a vectorised
kernel for 8-bit pixels in this order. The mask is resampled only within the crop. The pixels are normalised
directly into the crop, row by row.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from PIL import Image, ImageEnhance
from torch import Tensor

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.augmentation import Augmentation
from deeplab_lightning.datasets.evaluation_sizes import Resizing
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.pixels import RGB, Pixels

NormalizationName = Literal["imagenet", "caffe", "inception"]
NORMALIZATIONS: dict[NormalizationName, tuple[tuple[float, float, float], tuple[float, float, float], bool]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False),  # torchvision's weights
    "caffe": ((122.675 / 255, 116.669 / 255, 104.008 / 255), (1 / 255, 1 / 255, 1 / 255), True),  # v1, v2: 0..255, BGR
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), False),  # the TensorFlow release: -1..1
}
"""Mean and standard deviation of RGB in 0..1, and whether the network takes BGR."""

HALVES_UP = 1e-6
"""Added to a coordinate: otherwise a rounding error would take a point half way between two pixels to the lower one."""


def normalization_of(
    name: NormalizationName, num_channels: int, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[Sequence[float], Sequence[float], bool]:
    """Mean and standard deviation of each channel, and whether the channels are reversed.

    Args:
        name: Normalisation of RGB images.
        num_channels: Number of channels C.
        mean: Mean of each channel that replaces the normalisation's; other images than RGB have 0.5 without it.
        std: Standard deviation of each channel, likewise.

    Raises:
        ValueError: There is no such normalisation, or not one number for each channel.
    """
    if name not in NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {', '.join(NORMALIZATIONS)}, got {name!r}")
    own_mean, own_std, bgr = NORMALIZATIONS[name]
    if num_channels != 3 and (mean is None or std is None):
        mean, std = mean or (0.5,) * num_channels, std or (0.5,) * num_channels
    found = mean or own_mean, std or own_std
    if {len(each) for each in found} != {num_channels}:
        lengths = f"mean {list(found[0])} and std {list(found[1])}"
        raise ValueError(f"the images have {num_channels} channels, but {lengths} do not")
    return *found, bgr and num_channels == 3


class Transform(Protocol):
    """A function from the pixels (H, W, C) of an image and its mask to tensors: float (C, H, W) and int64 (H, W)."""

    def __call__(self, image: Pixels, mask: Image.Image, rng: Generator) -> tuple[Tensor, Tensor]:
        """Transform an image and its mask; all random choices are drawn from `rng`."""


class EvaluationTransform:
    """The whole image at its own size, padded or resized, and normalised.

    Args:
        mean: Mean of each channel, in 0..1.
        std: Standard deviation of each channel, in 0..1.
        bgr: Whether the channels of RGB images come out as BGR.
        pad_to: Size (H, W) that the image is padded to at the right and the bottom with the mean, which is 0 after
            normalisation. The mask keeps its size. None for no padding.
        resizing: Resizing of image and mask; None for none.
        void_as: Class that void pixels of the mask become; None if they stay void.
        value_range: Values of the images that stand for 0 and 1.

    Raises:
        ValueError: Mean and standard deviation differ in length or are not three for BGR, or a standard deviation is
            not above 0.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        bgr: bool = False,
        pad_to: tuple[int, int] | None = None,
        resizing: Resizing | None = None,
        void_as: int | None = None,
        value_range: tuple[float, float] = RGB.limits,
    ) -> None:
        if len(mean) != len(std) or (bgr and len(mean) != 3):
            raise ValueError(f"mean and std must have one number for each channel, got {list(mean)} and {list(std)}")
        if min(std) <= 0:
            raise ValueError(f"std must be above 0 in every channel, got {tuple(std)}")
        self.mean, self.std, self.bgr, self.pad_to = torch.tensor(mean), torch.tensor(std), bgr, pad_to
        self.resizing, self.void_as = resizing, void_as
        self.value_range = low, high = value_range
        self._factor = 1 / ((high - low) * self.std)
        self._offset = -self.mean / self.std - low * self._factor
        if bgr:
            self._factor, self._offset = self._factor.flip(0), self._offset.flip(0)

    @property
    def num_channels(self) -> int:
        """The number of channels C of an image."""
        return len(self.mean)

    def normalize(self, image: Pixels) -> Tensor:
        """The pixels (H, W, C) of an image as a normalised tensor (C, H, W)."""
        return self._normalize_into(torch.empty(image.shape), _tensor(image))

    def _normalize_into(self, canvas: Tensor, pixels: Tensor) -> Tensor:
        """The canvas (H, W, C) as (C, H, W), with pixels (h, w, C) normalised into its upper left corner."""
        if self.bgr:
            pixels = pixels.flip(-1)
        height, width = pixels.shape[:2]
        # With channels last, a row is one vector of C * w values: factor and offset repeat once for each pixel.
        factor, offset = self._factor.repeat(width), self._offset.repeat(width)
        rows = canvas.view(len(canvas), -1)[:height, : self.num_channels * width]
        rows.copy_(pixels.flatten(1)).mul_(factor).add_(offset)
        return canvas.permute(2, 0, 1)

    def denormalize(self, image: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """The uint8 RGB pixels (h, w, 3) of a normalised image (C, H, W); rounding restores those of 8 bits exactly.

        Of images with other channels than RGB, the first three are shown as RGB, or the first one as grey.

        Args:
            image: Normalised image (C, H, W).
            size: Size (h, w) of the image without its padding; the whole size when not given.
        """
        height, width = size or image.shape[-2:]
        pixels = image[:, :height, :width].float().cpu()
        if self.bgr:
            pixels = pixels.flip(0)
        pixels = pixels * self.std.view(-1, 1, 1) + self.mean.view(-1, 1, 1)
        pixels = pixels[:3] if len(pixels) >= 3 else pixels[:1].repeat(3, 1, 1)
        return pixels.mul_(255).round_().clamp_(0, 255).byte().permute(1, 2, 0).contiguous()

    def __call__(self, image: Pixels, mask: Image.Image, rng: Generator) -> tuple[Tensor, Tensor]:
        """The image and its mask as tensors; no choice is random.

        Raises:
            DataError: The image does not fit into `pad_to`.
        """
        if self.resizing is not None:
            image, mask = self.resizing(image, mask)
        target = torch.from_numpy(np.array(mask)).long()
        if self.void_as is not None:
            target[target == IGNORE_INDEX] = self.void_as
        if self.pad_to is None:
            return self.normalize(image), target
        height, width = image.shape[:2]
        if height > self.pad_to[0] or width > self.pad_to[1]:
            raise DataError(
                f"its size {width}x{height} exceeds {self.pad_to[1]}x{self.pad_to[0]}, to which images are "
                "padded; set data.evaluation_size to whole_image"
            )
        return self._normalize_into(torch.zeros(*self.pad_to, self.num_channels), _tensor(image)), target


class TrainTransform(EvaluationTransform):
    """Random scale, crop, flip and colour, then normalisation (v3, section 4.1: scales 0.5 to 2, left-right flip).

    An image smaller than the crop is padded at the right and the bottom, like in the Caffe and the TensorFlow release:
    the image with the mean, which is 0 after normalisation, and the mask with 255. Images are scaled bilinearly and
    masks by nearest neighbour, both on the same grid and without a low-pass filter.

    Args:
        crop_size: Size (H, W) of the crop.
        scale_range: Smallest and largest scale.
        flip: Whether images are mirrored with probability one half.
        color_jitter: Strength s; brightness, contrast and saturation are each multiplied by a factor from
            [1 - s, 1 + s]. It acts on RGB images of 8 bits only.
        mean: Mean of each channel, in 0..1.
        std: Standard deviation of each channel, in 0..1.
        bgr: Whether the channels of RGB images come out as BGR.
        scale_step: Step between the scales in scale_range; None draws uniformly from the whole range.
        align_corners: Whether corner pixels stay at the corners, like in the TensorFlow release; otherwise pixels are
            areas, like in the Caffe releases. Both truncate the scaled sizes.
        value_range: Values of the images that stand for 0 and 1.
        augmentation: Transforms of the whole image and mask, before everything else.

    Raises:
        ValueError: A setting is invalid.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        scale_range: tuple[float, float],
        *,
        flip: bool,
        color_jitter: float,
        mean: Sequence[float],
        std: Sequence[float],
        bgr: bool = False,
        scale_step: float | None = None,
        align_corners: bool = True,
        value_range: tuple[float, float] = RGB.limits,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(mean, std, bgr, value_range=value_range)
        if min(crop_size) < 1:
            raise ValueError(f"crop_size must be at least 1x1, got {crop_size}")
        if not 0 < scale_range[0] <= scale_range[1]:
            raise ValueError(f"scale_range must be positive and ascending, got {scale_range}")
        if not 0 <= color_jitter < 1:
            raise ValueError(f"color_jitter must be in [0, 1), got {color_jitter}")
        if color_jitter and (self.num_channels != 3 or value_range != RGB.limits):
            raise ValueError(f"color_jitter {color_jitter} acts on RGB images of 8 bits only; leave it out")
        self.crop_size, self.scale_range, self.flip, self.color_jitter = crop_size, scale_range, flip, color_jitter
        self.scales = None if scale_step is None else _steps(scale_range, scale_step)
        self.align_corners, self.augmentation = align_corners, augmentation

    def __call__(self, image: Pixels, mask: Image.Image, rng: Generator) -> tuple[Tensor, Tensor]:
        """A crop (C, *crop_size) and its mask (*crop_size).

        Raises:
            DataError: A transform of the augmentation fails. The error names no file.
        """
        if self.augmentation is not None:
            image, mask = self.augmentation(image, mask, rng)
        size = (image.shape[0], image.shape[1])
        scaled = self._scaled_size(size, rng)
        offset = [int(rng.integers(max(0, side - crop) + 1)) for side, crop in zip(scaled, self.crop_size, strict=True)]
        kept = [min(side, crop) for side, crop in zip(scaled, self.crop_size, strict=True)]
        if self.flip and rng.random() < 0.5:
            image, mask = _mirrored(image), mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.color_jitter:
            image = self._jittered(image, rng)
        (top, left), (height, width) = offset, kept
        pixels = _tensor(image)
        if scaled != size:
            channels_last = pixels[None].permute(0, 3, 1, 2)  # this memory order makes the kernel twice as fast
            channels_last = F.interpolate(channels_last, scaled, mode="bilinear", align_corners=self.align_corners)
            pixels = channels_last.permute(0, 2, 3, 1)[0]
        canvas = torch.zeros(*self.crop_size, self.num_channels)
        crop = self._normalize_into(canvas, pixels[top : top + height, left : left + width])
        grid_x = self._grid(size[1], scaled[1], left)
        grid_y = self._grid(size[0], scaled[0], top)
        part = mask.transform(
            (width, height), Image.Transform.AFFINE, (*grid_x[:1], 0, *grid_x[1:], 0, *grid_y), Image.Resampling.NEAREST
        )
        target = torch.full(self.crop_size, IGNORE_INDEX, dtype=torch.uint8)
        target[:height, :width] = torch.from_numpy(np.array(part))
        return crop, target.long()

    def _jittered(self, image: Pixels, rng: Generator) -> Pixels:
        picture = Image.fromarray(image)
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            picture = enhance(picture).enhance(1 + rng.uniform(-self.color_jitter, self.color_jitter))
        return np.asarray(picture)

    def _scaled_size(self, size: tuple[int, int], rng: Generator) -> tuple[int, int]:
        scale = float(rng.uniform(*self.scale_range) if self.scales is None else rng.choice(self.scales))
        return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))

    def _grid(self, side: int, scaled: int, offset: int) -> tuple[float, float]:
        """The factor a and shift c of one axis: pixel j of the crop is pixel floor(a * (j + 0.5) + c) of the image."""
        if self.align_corners:
            ratio = (side - 1) / (scaled - 1) if scaled > 1 else 0.0
            return ratio, 0.5 - 0.5 * ratio + offset * ratio + HALVES_UP
        return side / scaled, offset * side / scaled + HALVES_UP


def _tensor(image: Pixels) -> Tensor:
    """The pixels (H, W, C) of an image as a tensor, copied because those of Pillow cannot be written to."""
    return torch.from_numpy(np.array(image, order="C"))


def _mirrored(image: Pixels) -> Pixels:
    """The pixels (H, W, C) of an image from right to left, by torch: numpy takes ten times as long."""
    mirrored: Pixels = _tensor(image).permute(2, 0, 1)[None].flip(-1)[0].permute(1, 2, 0).numpy()
    return mirrored


def _steps(scale_range: tuple[float, float], step: float) -> list[float]:
    low, high = scale_range
    count = round((high - low) / step) if step > 0 else 0
    if count < 1 or abs(low + count * step - high) > 1e-9:
        raise ValueError(f"scale_step must divide scale_range {scale_range} into equal steps, got {step}")
    return [low + index * step for index in range(count + 1)]
