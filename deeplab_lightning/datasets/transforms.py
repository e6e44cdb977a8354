"""Joint transforms of image and mask, each drawn from the generator it is given.

Scale and crop are one resampling of only the part of the image that the crop keeps, which is where the time goes.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image, ImageEnhance
from torch import Tensor

from deeplab_lightning import IGNORE_INDEX


class Transform(Protocol):
    """Maps an image and its mask to tensors (3, H, W) float and (H, W) int64."""

    def __call__(self, image: Image.Image, mask: Image.Image, rng: Generator) -> tuple[Tensor, Tensor]:
        """Apply it, drawing all that is random from `rng`."""


class EvaluationTransform:
    """The whole image at its own size, normalised.

    Args:
        mean: of each RGB channel, in 0..1.
        std: of each RGB channel, in 0..1.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    def normalize(self, image: Image.Image) -> Tensor:
        """A PIL image to (3, H, W), normalised."""
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        return pixels.float().div_(255).sub_(self.mean).div_(self.std)

    def denormalize(self, image: Tensor) -> Tensor:
        """(3, H, W) normalised back to uint8 (H, W, 3); exact, for it rounds."""
        pixels = image.float().cpu() * self.std + self.mean
        return pixels.mul_(255).round_().clamp_(0, 255).byte().permute(1, 2, 0).contiguous()

    def __call__(self, image: Image.Image, mask: Image.Image, rng: Generator) -> tuple[Tensor, Tensor]:
        """Image and mask as tensors; nothing is random."""
        return self.normalize(image), torch.from_numpy(np.array(mask)).long()


class TrainTransform(EvaluationTransform):
    """Random scale, crop, flip and colour, then normalise (v3, section 4.1: scales 0.5 to 2, left-right flip).

    An image smaller than the crop is padded at the right and the bottom, with the mean (0 once normalised) and the mask
    with 255.

    Args:
        crop_size: (H, W) of what comes out.
        scale_range: smallest and largest scale, drawn uniformly.
        flip: mirror one image in two.
        color_jitter: strength s: brightness, contrast and saturation each get a factor from [1 - s, 1 + s].
        mean: of each RGB channel, in 0..1.
        std: of each RGB channel, in 0..1.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        scale_range: tuple[float, float],
        flip: bool,
        color_jitter: float,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__(mean, std)
        if min(crop_size) < 1:
            raise ValueError(f"crop_size must be at least 1x1, got {crop_size}")
        if not 0 < scale_range[0] <= scale_range[1]:
            raise ValueError(f"scale_range must be positive and ascending, got {scale_range}")
        if not 0 <= color_jitter < 1:
            raise ValueError(f"color_jitter must be in [0, 1), got {color_jitter}")
        self.crop_size, self.scale_range, self.flip, self.color_jitter = crop_size, scale_range, flip, color_jitter

    def __call__(self, image: Image.Image, mask: Image.Image, rng: Generator) -> tuple[Tensor, Tensor]:
        """A crop of (3, *crop_size) and its mask (*crop_size)."""
        scale = rng.uniform(*self.scale_range)
        scaled = [max(1, round(side * scale)) for side in (image.height, image.width)]
        top, left = (
            int(rng.integers(max(0, side - crop) + 1)) for side, crop in zip(scaled, self.crop_size, strict=True)
        )
        height, width = (min(side, crop) for side, crop in zip(scaled, self.crop_size, strict=True))
        down, right = image.height / scaled[0], image.width / scaled[1]
        box = (
            left * right,
            top * down,
            min((left + width) * right, image.width),
            min((top + height) * down, image.height),
        )
        image = image.resize((width, height), Image.Resampling.BILINEAR, box)
        mask = mask.resize((width, height), Image.Resampling.NEAREST, box)
        if self.flip and rng.random() < 0.5:
            image, mask = (picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in (image, mask))
        if self.color_jitter:
            for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
                image = enhance(image).enhance(1 + rng.uniform(-self.color_jitter, self.color_jitter))
        padded_image = torch.zeros(3, *self.crop_size)
        padded_image[:, :height, :width] = self.normalize(image)
        padded_mask = torch.full(self.crop_size, IGNORE_INDEX)
        padded_mask[:height, :width] = torch.from_numpy(np.array(mask))
        return padded_image, padded_mask
