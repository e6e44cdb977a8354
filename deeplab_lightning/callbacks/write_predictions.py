"""What `deeplab predict` leaves behind."""

from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from PIL import Image

from deeplab_lightning.datasets.palette import PALETTE


class WritePredictions(Callback):
    """Write each predicted label map as a palette PNG (value = class index) into `predictions/` of the log folder.

    With `CRFEvaluation` before it in the list of callbacks, what the CRF made of it.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask for the log folder while every rank does."""
        self._folder = predictions_folder(trainer)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write the label maps of one batch."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if "crf" in outputs:
            predictions = [future.result()[0] for future in outputs["crf"]]
        else:
            predictions = outputs["logits"].argmax(1).byte().cpu().numpy()
        for image_id, prediction in zip(batch["image_id"], predictions, strict=True):
            mask = Image.fromarray(prediction.astype(np.uint8), "P")
            mask.putpalette(PALETTE.ravel().tolist())
            mask.save(self._folder / f"{image_id}.png")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where they are."""
        rank_zero_info(f"predictions are in {self._folder}")


def predictions_folder(trainer: Trainer) -> Path:
    """Where the label maps go; every rank must ask, for they agree on the log folder by a broadcast."""
    return Path(trainer.log_dir or trainer.default_root_dir) / "predictions"
