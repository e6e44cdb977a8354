"""The dense CRF's refinement of the logits of evaluation steps, which is scored or replaces the prediction."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from deeplab_lightning.callbacks.evaluation import EvaluationCallback, Split
from deeplab_lightning.class_record import ClassRecord
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.refinement import RefinementQueue, Refiner
from deeplab_lightning.metrics import ImageMean, SegmentationScores
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.outputs import Outputs
from deeplab_lightning.modules.trainer_data import datamodule_of
from deeplab_lightning.processors import count_processors
from deeplab_lightning.scores import ScoreName


class CRFEvaluation(EvaluationCallback):
    """Refines every evaluated image and logs the scores again, as `val/miou_crf` beside `val/miou`, and the gain.

    This callback gives the module a refiner for the evaluation. The module returns the refinement with the step's
    outputs, which every callback can read: `predict` writes the refined predictions. The torch engine refines a batch
    at once, on the device of its logits. With pydensecrf, worker processes refine: the CRF of one image runs while the
    network computes the next image.

    Args:
        num_workers: Number of worker processes of pydensecrf; if not given, the processors of this machine divided by
            its ranks.
        during_fit: Every validation of a training is refined too, not only `validate` and `test`.
        settings: Settings of the CRF, by the names of `DenseCRF`.
    """

    splits = ("val", "test", "predict")

    def __init__(self, num_workers: int | None = None, during_fit: bool = False, **settings: Any) -> None:
        self.crf = DenseCRF(**settings)
        if num_workers is not None and self.crf.uses_torch:
            raise ValueError(
                f"num_workers {num_workers} has no effect with engine {self.crf.engine!r}, only with 'pydensecrf'"
            )
        self.num_workers = num_workers
        self.during_fit = during_fit

    def start(self, module: SegmentationModule, split: Split) -> None:
        """Give the module a refiner, and start the scores."""
        _stop(module)
        module.refiner = Refiner(self.crf, self.num_workers or _processors(module.trainer))
        own = module.scores
        self._scores = SegmentationScores(own.class_names, own.trimap_width).to(module.device)
        self._seconds = ImageMean().to(module.device)
        self._waiting = RefinementQueue()

    def batch(self, module: SegmentationModule, outputs: Outputs, batch: dict[str, Any], split: Split) -> None:
        """Score the images that are refined so far."""
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
        """Wait for the other images, and log the scores."""
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
        """Stop the workers, and record the confusion matrix."""
        _stop(module)
        if split != "predict" and module.trainer.is_global_zero:
            palette = datamodule_of(module.trainer).palette
            identity = module.evaluation_identity(split).refined(str(self.crf)).as_dict()
            ClassRecord(palette, self._scores.matrix.tolist(), identity).write(self.logs.classes(split, refined=True))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop the workers of a run that fails."""
        _stop(pl_module)


def _processors(trainer: Trainer) -> int:
    """Return the number of this process's processors; processes that Lightning starts share those of the first."""
    if trainer.num_devices == 1:
        return count_processors()
    is_own = isinstance(trainer.strategy.cluster_environment, LightningEnvironment)  # type: ignore[attr-defined]
    return max(1, count_processors() // (trainer.num_devices if is_own else 1))


def _stop(module: Any) -> None:
    refiner: Refiner | None = getattr(module, "refiner", None)
    module.refiner = None
    if refiner is not None:
        refiner.close()
