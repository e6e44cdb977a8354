"""Writing predicted label maps to files."""

from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from deeplab_lightning.atomic import replacing
from deeplab_lightning.callbacks.evaluation import EvaluationCallback, Split
from deeplab_lightning.drawing import label_image
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.outputs import Outputs
from deeplab_lightning.modules.trainer_data import datamodule_of


class WritePredictions(EvaluationCallback):
    """Writes each predicted label map as a palette PNG (value = class index) into `predictions/` of the log folder.

    Its colours are those of the data. With a CRF, it writes the refined label maps.
    """

    splits = ("predict",)

    def batch(self, module: SegmentationModule, outputs: Outputs, batch: dict[str, Any], split: Split) -> None:
        """Write the label maps of one batch."""
        palette = datamodule_of(module.trainer).palette
        if "refinement" in outputs:
            predictions = [image.result()[0] for image in outputs["refinement"]]
        else:
            predictions = list(outputs["logits"].argmax(1).byte().cpu().numpy())
        for image_id, prediction in zip(batch["image_id"], predictions, strict=True):
            with replacing(self.logs.predictions / f"{image_id}.png") as draft:
                label_image(prediction, palette).save(draft, "PNG")

    def report(self, module: SegmentationModule, split: Split) -> None:
        """Print the path of the label maps."""
        rank_zero_info(f"predictions are in {self.logs.predictions}")
