"""The base of the callbacks that act during an evaluation."""

from typing import Any, ClassVar, Literal, cast

from lightning import Callback, LightningModule, Trainer

from deeplab_lightning.callbacks.log_folder import log_folder
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.outputs import Outputs

Split = Literal["val", "test", "predict"]
"""The evaluated split, which is part of the scores' names, or "predict" for images without scores."""
SPLITS: dict[str, Split] = {"validate": "val", "test": "test", "predict": "predict"}
"""The split for each stage of Lightning's trainer."""


class EvaluationCallback(Callback):
    """A callback with four hooks that are the same for validations, tests and predictions.

    A callback reads the step's outputs and does not change them, and `finish` of all callbacks runs before `report` of
    any. The order in which callbacks are listed therefore never matters. The sanity check does not call the hooks.
    """

    splits: ClassVar[tuple[Split, ...]] = ("val", "test")
    """The splits for which the hooks are called."""
    during_fit: bool = True
    """Whether the hooks are called for the validations of a training too, not only for `validate`."""

    def start(self, module: SegmentationModule, split: Split) -> None:
        """Prepare before the first batch."""

    def batch(self, module: SegmentationModule, outputs: Outputs, batch: dict[str, Any], split: Split) -> None:
        """Process a batch and the outputs of its step."""

    def finish(self, module: SegmentationModule, split: Split) -> None:
        """Log scores after the last batch."""

    def report(self, module: SegmentationModule, split: Split) -> None:
        """Write and print results after every score is logged."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the log folder."""
        self.logs = log_folder(trainer)

    def _split_to_handle(self, trainer: Trainer) -> Split | None:
        """Return the evaluated split, or None if no hook is to be called; the sanity check has a stage of its own."""
        split = SPLITS.get(trainer.state.stage or "")
        return split if split in self.splits and (self.during_fit or trainer.state.fn != "fit") else None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call `start`."""
        if split := self._split_to_handle(trainer):
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
        """Call `batch`."""
        if split := self._split_to_handle(trainer):
            self.batch(cast(SegmentationModule, pl_module), outputs, batch, split)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call `finish`."""
        if split := self._split_to_handle(trainer):
            self.finish(cast(SegmentationModule, pl_module), split)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call `report`."""
        if split := self._split_to_handle(trainer):
            self.report(cast(SegmentationModule, pl_module), split)

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_predict_batch_end = on_validation_batch_end
    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end
    on_test_end = on_predict_end = on_validation_end
