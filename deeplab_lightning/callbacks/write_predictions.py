"""Writing predicted label maps to files."""

from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from PIL import Image

from deeplab_lightning.callbacks.evaluation import EvaluationCallback, Split
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.outputs import Outputs
from deeplab_lightning.palette import VOC_COLORS


class WritePredictions(EvaluationCallback):
    """Writes each predicted label map as a palette PNG (value = class index) into `predictions/` of the log folder.

    With a CRF, it writes the refined label maps.
    """

    splits = ("predict",)

    def batch(self, module: SegmentationModule, outputs: Outputs, batch: dict[str, Any], split: Split) -> None:
        """Write the label maps of one batch."""
        folder = self.logs.predictions
        folder.mkdir(parents=True, exist_ok=True)
        if "refinement" in outputs:
            predictions = [image.result()[0] for image in outputs["refinement"]]
        else:
            predictions = list(outputs["logits"].argmax(1).byte().cpu().numpy())
        for image_id, prediction in zip(batch["image_id"], predictions, strict=True):
            mask = Image.fromarray(prediction.astype(np.uint8), "P")
            mask.putpalette(VOC_COLORS.ravel().tolist())
            mask.save(folder / f"{image_id}.png")

    def report(self, module: SegmentationModule, split: Split) -> None:
        """Print the path of the label maps."""
        rank_zero_info(f"predictions are in {self.logs.predictions}")
