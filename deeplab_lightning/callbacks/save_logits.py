"""Saving the inputs of a CRF on disk, so that the network runs once and the CRF many times."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_lightning.atomic import replacing
from deeplab_lightning.callbacks.evaluation import EvaluationCallback, Split
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.outputs import Outputs
from deeplab_lightning.modules.trainer_data import datamodule_of


def load_logits(path: Path) -> tuple[NDArray[np.uint8], Tensor, Tensor]:
    """Read one image that `SaveLogits` wrote: image (H, W, 3), probabilities (K, H, W), target (H, W)."""
    with np.load(path) as saved:
        probabilities = torch.from_numpy(saved["logits"]).float().softmax(0)
        return saved["image"], probabilities, torch.from_numpy(saved["target"])


class SaveLogits(EvaluationCallback):
    """Writes each image as `<folder>/<image_id>.npz`: logits (K, H, W), float16, image (H, W, 3), target (H, W).

    Args:
        folder: Folder of the files, which is created if necessary.
    """

    splits = ("val",)

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def batch(self, module: SegmentationModule, outputs: Outputs, batch: dict[str, Any], split: Split) -> None:
        """Write the images of one batch."""
        transform = datamodule_of(module.trainer).eval_transform
        for logits, image, target, image_id in zip(
            outputs["logits"], batch["image"], batch["mask"], batch["image_id"], strict=True
        ):
            with replacing(self.folder / f"{image_id}.npz") as draft, draft.open("wb") as file:
                np.savez(
                    file,
                    logits=logits.half().cpu().numpy(),
                    image=transform.denormalize(image, target.shape).numpy(),
                    target=target.byte().cpu().numpy(),
                )
