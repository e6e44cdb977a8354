"""Joint transforms of image and mask; all random choices are drawn from a given generator.

Three things make them fast. The image is scaled as 8-bit pixels with channels last, the order in which it is decoded,
because torch has a vectorised kernel for it. The mask is resampled only within the crop. The pixels are normalised
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
from deeplab_lightning.datasets.images import DataError

NormalizationName = Literal["imagenet", "caffe", "inception"]
NORMALIZATIONS: dict[NormalizationName, tuple[tuple[float, float, float], tuple[float, float, float], bool]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False),  # torchvision's weights
    "caffe": ((122.675 / 255, 116.669 / 255, 104.008 / 255), (1 / 255, 1 / 255, 1 / 255), True),  # v1, v2: 0..255, BGR
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), False),  # the TensorFlow release: -1..1
}
"""Mean and standard deviation of RGB in 0..1, and whether the network takes BGR."""


HALVES_UP = 1e-6
"""Added to a coordinate: otherwise a rounding error would take a point half way between two pixels to the lower one."""


class Transform(Protocol):
    """A function from an image and its mask to tensors: float (3, H, W) and int64 (H, W)."""

    def __call__(self, image: Image.Image, mask: Image.Image, rng: Generator) -> tuple[Tensor, Tensor]:
        """Transform an image and its mask; all random choices are drawn from `rng`."""


class EvaluationTransform:
    """The whole image at its own size, normalised; the mask is unchanged.

    Args:
        mean: Mean of each RGB channel, in 0..1.
        std: Standard deviation of each RGB channel, in 0..1.
        bgr: Whether the output channels are BGR.
        pad_to: Size (H, W) that the image is padded to at the right and the bottom with the mean, which is 0 after
            normalisation. The mask keeps its size. None for no padding.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        bgr: bool = False,
        pad_to: tuple[int, int] | None = None,
    ) -> None:
        self.mean, self.std, self.bgr, self.pad_to = torch.tensor(mean), torch.tensor(std), bgr, pad_to
        self._factor, self._offset = 1 / (255 * self.std), -self.mean / self.std
        if bgr:
            self._factor, self._offset = self._factor.flip(0), self._offset.flip(0)

    def normalize(self, image: Image.Image) -> Tensor:
        """A PIL image as a normalised tensor (3, H, W)."""
        return self._normalize_into(torch.empty(image.height, image.width, 3), _pixels(image))

    def _normalize_into(self, canvas: Tensor, pixels: Tensor) -> Tensor:
        """The canvas (H, W, 3) as (3, H, W), with uint8 pixels (h, w, 3) normalised into its upper left corner."""
        if self.bgr:
            pixels = pixels.flip(-1)
        height, width = pixels.shape[:2]
        # With channels last, a row is one vector of 3w values: factor and offset repeat once for each pixel.
        factor, offset = self._factor.repeat(width), self._offset.repeat(width)
        rows = canvas.view(len(canvas), -1)[:height, : 3 * width]
        rows.copy_(pixels.flatten(1)).mul_(factor).add_(offset)
        return canvas.permute(2, 0, 1)

    def denormalize(self, image: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """The uint8 RGB pixels (h, w, 3) of a normalised image (3, H, W); rounding restores them exactly.

        Args:
            image: Normalised image (3, H, W).
            size: Size (h, w) of the image without its padding; the whole size when not given.
        """
        height, width = size or image.shape[-2:]
        pixels = image[:, :height, :width].float().cpu()
        if self.bgr:
            pixels = pixels.flip(0)
        pixels = pixels * self.std.view(3, 1, 1) + self.mean.view(3, 1, 1)
        return pixels.mul_(255).round_().clamp_(0, 255).byte().permute(1, 2, 0).contiguous()

    def __call__(self, image: Image.Image, mask: Image.Image, rng: Generator) -> tuple[Tensor, Tensor]:
        """The image and its mask as tensors; no choice is random.

        Raises:
            DataError: The image does not fit into `pad_to`.
        """
        target = torch.from_numpy(np.array(mask)).long()
        if self.pad_to is None:
            return self.normalize(image), target
        if image.height > self.pad_to[0] or image.width > self.pad_to[1]:
            raise DataError(
                f"its size {image.width}x{image.height} exceeds {self.pad_to[1]}x{self.pad_to[0]}, to which images are "
                "padded; set data.evaluation_size to whole_image"
            )
        return self._normalize_into(torch.zeros(*self.pad_to, 3), _pixels(image)), target


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
            [1 - s, 1 + s].
        mean: Mean of each RGB channel, in 0..1.
        std: Standard deviation of each RGB channel, in 0..1.
        bgr: Whether the output channels are BGR.
        scale_step: Step between the scales in scale_range; None draws uniformly from the whole range.
        align_corners: Whether corner pixels stay at the corners, like in the TensorFlow release; otherwise pixels are
            areas, like in the Caffe releases. Both truncate the scaled sizes.

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
    ) -> None:
        super().__init__(mean, std, bgr)
        if min(crop_size) < 1:
            raise ValueError(f"crop_size must be at least 1x1, got {crop_size}")
        if not 0 < scale_range[0] <= scale_range[1]:
            raise ValueError(f"scale_range must be positive and ascending, got {scale_range}")
        if not 0 <= color_jitter < 1:
            raise ValueError(f"color_jitter must be in [0, 1), got {color_jitter}")
        self.crop_size, self.scale_range, self.flip, self.color_jitter = crop_size, scale_range, flip, color_jitter
        self.scales = None if scale_step is None else _steps(scale_range, scale_step)
        self.align_corners = align_corners

    def __call__(self, image: Image.Image, mask: Image.Image, rng: Generator) -> tuple[Tensor, Tensor]:
        """A crop (3, *crop_size) and its mask (*crop_size)."""
        size = (image.height, image.width)
        scaled = self._scaled_size(size, rng)
        offset = [int(rng.integers(max(0, side - crop) + 1)) for side, crop in zip(scaled, self.crop_size, strict=True)]
        kept = [min(side, crop) for side, crop in zip(scaled, self.crop_size, strict=True)]
        if self.flip and rng.random() < 0.5:
            image, mask = (picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in (image, mask))
        if self.color_jitter:
            for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
                image = enhance(image).enhance(1 + rng.uniform(-self.color_jitter, self.color_jitter))
        (top, left), (height, width) = offset, kept
        pixels = _pixels(image)
        if scaled != size:
            channels_last = pixels[None].permute(0, 3, 1, 2)  # this memory order makes the kernel twice as fast
            channels_last = F.interpolate(channels_last, scaled, mode="bilinear", align_corners=self.align_corners)
            pixels = channels_last.permute(0, 2, 3, 1)[0]
        crop = self._normalize_into(torch.zeros(*self.crop_size, 3), pixels[top : top + height, left : left + width])
        grid_x = self._grid(size[1], scaled[1], left)
        grid_y = self._grid(size[0], scaled[0], top)
        part = mask.transform(
            (width, height), Image.Transform.AFFINE, (*grid_x[:1], 0, *grid_x[1:], 0, *grid_y), Image.Resampling.NEAREST
        )
        target = torch.full(self.crop_size, IGNORE_INDEX, dtype=torch.uint8)
        target[:height, :width] = torch.from_numpy(np.array(part))
        return crop, target.long()

    def _scaled_size(self, size: tuple[int, int], rng: Generator) -> tuple[int, int]:
        scale = float(rng.uniform(*self.scale_range) if self.scales is None else rng.choice(self.scales))
        return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))

    def _grid(self, side: int, scaled: int, offset: int) -> tuple[float, float]:
        """The factor a and shift c of one axis: pixel j of the crop is pixel floor(a * (j + 0.5) + c) of the image."""
        if self.align_corners:
            ratio = (side - 1) / (scaled - 1) if scaled > 1 else 0.0
            return ratio, 0.5 - 0.5 * ratio + offset * ratio + HALVES_UP
        return side / scaled, offset * side / scaled + HALVES_UP


def _pixels(image: Image.Image) -> Tensor:
    """An RGB image as uint8 (H, W, 3)."""
    return torch.from_numpy(np.array(image))


def _steps(scale_range: tuple[float, float], step: float) -> list[float]:
    low, high = scale_range
    count = round((high - low) / step) if step > 0 else 0
    if count < 1 or abs(low + count * step - high) > 1e-9:
        raise ValueError(f"scale_step must divide scale_range {scale_range} into equal steps, got {step}")
    return [low + index * step for index in range(count + 1)]
