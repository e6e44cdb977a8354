"""The dense CRF's refinement of whatever logits the evaluation step has: scored, or in place of a prediction."""

import os
from typing import Any

from lightning import LightningModule, Trainer

from deeplab_lightning.callbacks.evaluation import EvaluationCallback, Split
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.refinement import RefinementQueue, Refiner
from deeplab_lightning.metrics import ImageMean, SegmentationScores
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.outputs import Outputs
from deeplab_lightning.scores import ScoreName


class CRFEvaluation(EvaluationCallback):
    """Refine every evaluated image and log the scores again, as `val/miou_crf` beside `val/miou`, and the gain.

    The module refines while this callback has it do so, and returns the refinement with the step's outputs, where every
    callback finds it: `predict` writes the refined predictions. The torch engine refines a batch on the device of its
    logits, at once. With pydensecrf worker processes do it: the CRF of one image runs while the network computes the
    next.

    Args:
        num_workers: Number of pydensecrf's processes; when not given, the processors shared out among the ranks of this
            machine.
        during_fit: Refine at every validation of a training run too, not only in `validate` and `test`.
        settings: The CRF's settings, by the names of `DenseCRF`.
    """

    splits = ("val", "test", "predict")

    def __init__(self, num_workers: int | None = None, during_fit: bool = False, **settings: Any) -> None:
        self.crf = DenseCRF(**settings)
        if num_workers is not None and self.crf.uses_torch:
            raise ValueError(
                f"num_workers {num_workers} does nothing with engine {self.crf.engine!r}, only with 'pydensecrf'"
            )
        self.num_workers = num_workers
        self.during_fit = during_fit

    def start(self, module: SegmentationModule, split: Split) -> None:
        """Have the module refine, and start the scores."""
        _stop(module)
        processors = max(1, (os.cpu_count() or 1) // module.trainer.num_devices)
        module.refiner = Refiner(self.crf, self.num_workers or processors)
        own = module.scores
        self._scores = SegmentationScores(own.class_names, own.trimap_width).to(module.device)
        self._seconds = ImageMean().to(module.device)
        self._waiting = RefinementQueue()

    def batch(self, module: SegmentationModule, outputs: Outputs, batch: dict[str, Any], split: Split) -> None:
        """Score what is refined so far."""
        if "refinement" not in outputs:
            raise ValueError(
                f"a step of {type(module).__name__} returned no refinement; let it return {{'loss': loss, "
                "**self.prediction(logits, batch)}"
            )
        if split != "predict":
            self._waiting.add(outputs["refinement"], batch["mask"])
            self._score()

    def _score(self, wait: bool = False) -> None:
        for prediction, target, seconds in self._waiting.take(wait):
            self._seconds.update(seconds)
            self._scores.update(prediction, target)

    def finish(self, module: SegmentationModule, split: Split) -> None:
        """Wait for the rest and log."""
        if split == "predict":
            return
        self._score(wait=True)
        scores, miou = self._scores.compute(split, refined=True), ScoreName(split, "miou")
        gain = scores[ScoreName(split, "miou", refined=True)] - module.scores.compute(split)[miou]
        scores[ScoreName(split, "miou_gain", refined=True)] = gain
        scores[ScoreName(split, "seconds_per_image", refined=True)] = float(self._seconds.compute())
        for name, value in scores.items():
            module.log(str(name), value, sync_dist=True)

    def report(self, module: SegmentationModule, split: Split) -> None:
        """Let the workers go."""
        _stop(module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let no worker outlive a run that fails."""
        _stop(pl_module)


def _stop(module: Any) -> None:
    refiner: Refiner | None = getattr(module, "refiner", None)
    module.refiner = None
    if refiner is not None:
        refiner.close()
