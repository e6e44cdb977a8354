"""Panels of image, target, prediction and CRF prediction, written to disk and to Weights & Biases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray

from deeplab_lightning.atomic import replacing
from deeplab_lightning.callbacks.evaluation import EvaluationCallback, Split
from deeplab_lightning.crf.refinement import RefinedImage
from deeplab_lightning.drawing import panel
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.outputs import Outputs
from deeplab_lightning.modules.trainer_data import datamodule_of


@dataclass
class Kept:
    """An image that is kept to be drawn.

    Args:
        image_id: Name of the image.
        maps: Tiles by name: the image (H, W, 3), and label maps (H, W).
        refined: Prediction refined by a CRF; None without a CRF.
    """

    image_id: str
    maps: dict[str, NDArray[np.uint8]]
    refined: RefinedImage | None


class LogPredictions(EvaluationCallback):
    """Draws the first images of every evaluation into `panels/` of the log folder, and logs them to Weights & Biases.

    With a CRF, the panels show its prediction as well.

    Args:
        num_images: Number of images.
    """

    def __init__(self, num_images: int = 8) -> None:
        if num_images < 1:
            raise ValueError(f"num_images must be at least 1, got {num_images}")
        self.num_images = num_images

    def start(self, module: SegmentationModule, split: Split) -> None:
        """Forget the images of an earlier evaluation."""
        self._kept: list[Kept] = []

    def batch(self, module: SegmentationModule, outputs: Outputs, batch: dict[str, Any], split: Split) -> None:
        """Keep the images that will be drawn."""
        if not module.trainer.is_global_zero:
            return
        transform = datamodule_of(module.trainer).eval_transform
        refinement: Sequence[RefinedImage | None] = outputs.get("refinement") or [None] * len(batch["image"])
        for index in range(min(len(batch["image"]), self.num_images - len(self._kept))):
            maps = {
                "image": transform.denormalize(batch["image"][index], batch["mask"].shape[-2:]).numpy(),
                "target": batch["mask"][index].byte().cpu().numpy(),
                "prediction": outputs["logits"][index].argmax(0).byte().cpu().numpy(),
            }
            self._kept.append(Kept(batch["image_id"][index], maps, refinement[index]))

    def finish(self, module: SegmentationModule, split: Split) -> None:
        """Wait for the CRF."""
        for kept in self._kept:
            if kept.refined is not None:
                kept.maps["after CRF"] = kept.refined.result()[0]

    def report(self, module: SegmentationModule, split: Split) -> None:
        """Draw and log the panels."""
        if not self._kept:
            return
        palette = datamodule_of(module.trainer).palette
        pictures = [panel([kept.maps], palette) for kept in self._kept]
        for kept, picture in zip(self._kept, pictures, strict=True):
            with replacing(self.logs.panels / split / f"{kept.image_id}.png") as draft:
                picture.save(draft, "PNG")
        for logger in module.trainer.loggers:
            if isinstance(logger, WandbLogger):
                captions = [kept.image_id for kept in self._kept]
                logger.log_image(f"{split}/panels", list(pictures), caption=captions)
                _log_masks(logger, split, self._kept, dict(enumerate(module.class_names)))
        self._kept = []


def _log_masks(logger: WandbLogger, split: Split, kept: list[Kept], names: dict[int, str]) -> None:
    """Log the images with masks that can be switched on and off; W&B chooses the colours of these."""
    masks = [
        {
            name.replace(" ", "_"): {"mask_data": mask, "class_labels": names}
            for name, mask in each.maps.items()
            if name != "image"
        }
        for each in kept
    ]
    images = [each.maps["image"] for each in kept]
    logger.log_image(f"{split}/masks", images, caption=[each.image_id for each in kept], masks=masks)
