"""Scores in bands of growing width along the void borders, before and after the CRF: Figure 10b of the v2 paper."""

from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from deeplab_lightning.metrics import SegmentationScores, TrimapBands, mean_iou, pixel_accuracy

CURVE_FILE = "trimap.png"

Waiting = tuple[Future[Any], Tensor]
"""A refined prediction to come, and the target (H, W)."""


class TrimapEvaluation(Callback):
    """Log mIoU and pixel accuracy in the bands of width 1 to `max_width`, and draw them as a curve.

    They are logged as `val/trimap_miou/<width>` and `val/trimap_accuracy/<width>`, with `CRFEvaluation` beside it as
    `val/trimap_miou_crf/<width>` and so on as well. The curve goes to `panels/` of the log folder.

    Args:
        max_width: width of the widest band in pixels; the papers show 40.
        during_fit: do so at every validation of a training run too, not only in `validate` and `test`.
    """

    def __init__(self, max_width: int = 40, during_fit: bool = False) -> None:
        TrimapBands(2, max_width)  # refuses a width that cannot be
        self.max_width, self.during_fit = max_width, during_fit
        self._active = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask for the log folder while every rank does: the ranks agree on it by a broadcast."""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "panels"

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start anew."""
        self._start(trainer, pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start anew."""
        self._start(trainer, pl_module)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the batch."""
        self._count(outputs, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the batch."""
        self._count(outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log and draw."""
        self._finish(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log and draw."""
        self._finish(trainer, pl_module, "test")

    def _start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._active = not trainer.sanity_checking and (self.during_fit or trainer.state.fn != "fit")
        if self._active:
            scores = pl_module.scores
            assert isinstance(scores, SegmentationScores)
            self._own_width = scores.trimap_width
            num_classes = len(scores.class_names)
            self._plain, self._refined = (
                TrimapBands(num_classes, self.max_width).to(pl_module.device) for _ in range(2)
            )
            self._waiting: deque[Waiting] = deque()
            self._has_crf = False

    def _count(self, outputs: Any, batch: Any) -> None:
        if not self._active:
            return
        self._plain.update(outputs["logits"].argmax(1), batch["mask"])
        if "crf" in outputs:
            self._has_crf = True
            self._waiting += zip(outputs["crf"], batch["mask"], strict=True)
            while self._waiting and self._waiting[0][0].done():
                self._collect()

    def _collect(self) -> None:
        future, target = self._waiting.popleft()
        prediction = torch.from_numpy(future.result()[0]).to(target.device)
        self._refined.update(prediction[None], target[None])

    def _finish(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        if not self._active:
            return
        while self._waiting:
            self._collect()
        curves = {"": trimap_curves(self._plain.compute())}
        if self._has_crf:
            curves["_crf"] = trimap_curves(self._refined.compute())
        for suffix, (ious, accuracies) in curves.items():
            for width, (iou, accuracy) in enumerate(zip(ious, accuracies, strict=True), 1):
                if width != self._own_width:  # the scores of the whole split hold it
                    pl_module.log(f"{split}/trimap_miou{suffix}/{width}", iou, sync_dist=True)
                pl_module.log(f"{split}/trimap_accuracy{suffix}/{width}", accuracy, sync_dist=True)
        if trainer.is_global_zero:
            names = {"": "without CRF", "_crf": "with CRF"}
            draw_trimap_curves(
                {names[suffix]: ious for suffix, (ious, _) in curves.items()}, self._folder / split / CURVE_FILE
            )


def trimap_curves(matrices: Tensor) -> tuple[list[float], list[float]]:
    """The mIoU and pixel accuracy in each band, from the matrices (max_width, K, K) of `TrimapBands`."""
    return [mean_iou(matrix) for matrix in matrices], [pixel_accuracy(matrix) for matrix in matrices]


def draw_trimap_curves(curves: dict[str, list[float]], path: Path) -> None:
    """Draw named curves of mIoU over the width of the band, from 1 pixel on, into a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, ious in curves.items():
        axes.plot(range(1, len(ious) + 1), ious, label=name)
    axes.set_xlabel("trimap width (pixels)")
    axes.set_ylabel("mIoU")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
