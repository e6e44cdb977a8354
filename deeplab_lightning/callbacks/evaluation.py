"""The base of the callbacks that follow an evaluation."""

from typing import Any, ClassVar, Literal, cast

from lightning import Callback, LightningModule, Trainer

from deeplab_lightning.callbacks.log_folder import log_folder
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.outputs import Outputs

Split = Literal["val", "test", "predict"]
"""The split that is evaluated, as scores are named by it, or "predict" for images that are only predicted."""
SPLITS: dict[str, Split] = {"validate": "val", "test": "test", "predict": "predict"}
"""The split by the stage of Lightning's trainer."""


class EvaluationCallback(Callback):
    """Follows validations, tests and predictions by four hooks, which are the same for every split.

    A callback reads the step's outputs and leaves them as they are, and all have finished before the first one reports:
    the order in which callbacks are listed never matters. The sanity check is not followed.
    """

    splits: ClassVar[tuple[Split, ...]] = ("val", "test")
    """The splits that the callback follows."""
    during_fit: bool = True
    """Whether it follows the validations of a training too, not only `validate`."""

    def start(self, module: SegmentationModule, split: Split) -> None:
        """Begin, before the first batch."""

    def batch(self, module: SegmentationModule, outputs: Outputs, batch: dict[str, Any], split: Split) -> None:
        """Take a batch and what the step made of it."""

    def finish(self, module: SegmentationModule, split: Split) -> None:
        """Log the scores, after the last batch."""

    def report(self, module: SegmentationModule, split: Split) -> None:
        """Write and show, once every score is logged."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask for the log folder."""
        self.logs = log_folder(trainer)

    def _follows(self, trainer: Trainer) -> Split | None:
        """The split that is evaluated, where the hooks are called; None for the sanity check, whose stage is none."""
        split = SPLITS.get(trainer.state.stage or "")
        return split if split in self.splits and (self.during_fit or trainer.state.fn != "fit") else None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand over to `start`."""
        if split := self._follows(trainer):
            self.start(cast(SegmentationModule, pl_module), split)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hand over to `batch`."""
        if split := self._follows(trainer):
            self.batch(cast(SegmentationModule, pl_module), outputs, batch, split)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand over to `finish`."""
        if split := self._follows(trainer):
            self.finish(cast(SegmentationModule, pl_module), split)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand over to `report`."""
        if split := self._follows(trainer):
            self.report(cast(SegmentationModule, pl_module), split)

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_predict_batch_end = on_validation_batch_end
    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end
    on_test_end = on_predict_end = on_validation_end
