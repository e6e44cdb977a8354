"""The sizes at which images are scored: their own, padded, or resized with their labels as other projects do."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from deeplab_lightning.datasets.pixels import Pixels

EvaluationSizeName = Literal["whole_image", "pad_to_513", "pad_to_1025x2049", "short_side_520", "centre_crop_513"]


@dataclass(frozen=True)
class Resizing:
    """The resizing of an image and its labels before they are scored; the score is that of the resized labels.

    Images are resized bilinearly, with a filter where they shrink, and labels by nearest neighbour, as in Pillow.

    Args:
        shorter_side: Length of the shorter side after resizing, in pixels; the longer one is truncated.
        crop: Side of the square that is cut out of the centre; None for no cropping.
    """

    shorter_side: int
    crop: int | None = None

    def __call__(self, image: Pixels, mask: Image.Image) -> tuple[Pixels, Image.Image]:
        """Resize an image (H, W, C) and its mask."""
        height, width = (int(self.shorter_side * side / min(image.shape[:2])) for side in image.shape[:2])
        channels_last = torch.from_numpy(np.array(image, order="C"))[None].permute(0, 3, 1, 2)
        scaled = F.interpolate(channels_last, (height, width), mode="bilinear", antialias=True)
        resized: Pixels = scaled[0].permute(1, 2, 0).numpy()
        labels = mask.resize((width, height), Image.Resampling.NEAREST)
        if self.crop is None:
            return resized, labels
        top, left = round((height - self.crop) / 2), round((width - self.crop) / 2)
        bottom, right = top + self.crop, left + self.crop
        return resized[top:bottom, left:right], labels.crop((left, top, right, bottom))


@dataclass(frozen=True)
class EvaluationSize:
    """The size at which images are scored.

    Args:
        words: Wording of it in the evaluation identity.
        pad_to: Size (H, W) that images are padded to at the right and the bottom; labels keep their size.
        resizing: Resizing of images and labels.
    """

    words: str
    pad_to: tuple[int, int] | None = None
    resizing: Resizing | None = None


EVALUATION_SIZES: dict[EvaluationSizeName, EvaluationSize] = {
    "whole_image": EvaluationSize("whole image, scored at its original size"),
    "pad_to_513": EvaluationSize("padded with the mean to 513x513, scored at its original size", (513, 513)),
    "pad_to_1025x2049": EvaluationSize("padded with the mean to 1025x2049, scored at its original size", (1025, 2049)),
    # torchvision, references/segmentation/presets.py
    "short_side_520": EvaluationSize(
        "image and labels resized to a shorter side of 520, scored at that size", resizing=Resizing(520)
    ),
    # VainF, main.py: ExtResize and ExtCenterCrop; jfzhang95, custom_transforms.py: FixScaleCrop
    "centre_crop_513": EvaluationSize(
        "image and labels resized to a shorter side of 513 and cropped to the centre, scored at that size",
        resizing=Resizing(513, crop=513),
    ),
}
"""The values of `data.evaluation_size`."""


def size_named(name: EvaluationSizeName, void_as: int | None, num_classes: int) -> EvaluationSize:
    """The size with a name.

    Args:
        name: Name of the size.
        void_as: Class as which void is scored; None to leave it out.
        num_classes: Number of classes.

    Raises:
        ValueError: There is no such size or class.
    """
    if name not in EVALUATION_SIZES:
        raise ValueError(f"evaluation_size must be one of {', '.join(EVALUATION_SIZES)}, got {name!r}")
    if void_as is not None and not 0 <= void_as < num_classes:
        raise ValueError(f"void_as must be one of the {num_classes} classes, got {void_as}")
    return EVALUATION_SIZES[name]
