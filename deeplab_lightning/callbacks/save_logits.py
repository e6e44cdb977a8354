"""Keep what a CRF needs, on disk, so that the network runs once and the CRF many times."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor


def load_logits(path: Path) -> tuple[NDArray[np.uint8], Tensor, Tensor]:
    """What `SaveLogits` wrote of one image: image (H, W, 3), probabilities (K, H, W), target (H, W)."""
    with np.load(path) as saved:
        probabilities = torch.from_numpy(saved["logits"]).float().softmax(0)
        return saved["image"], probabilities, torch.from_numpy(saved["target"])


class SaveLogits(Callback):
    """Write each image as `<folder>/<image_id>.npz`: logits (K, H, W), float16, image (H, W, 3), target (H, W).

    Args:
        folder: is made if it is not there.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write the images of one batch."""
        if trainer.sanity_checking:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        transform = trainer.datamodule.eval_transform  # type: ignore[attr-defined]
        for logits, image, target, image_id in zip(
            outputs["logits"], batch["image"], batch["mask"], batch["image_id"], strict=True
        ):
            np.savez(
                self.folder / f"{image_id}.npz",
                logits=logits.half().cpu().numpy(),
                image=transform.denormalize(image, target.shape).numpy(),
                target=target.byte().cpu().numpy(),
            )
