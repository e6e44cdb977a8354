"""Scores in bands of growing width along the void borders, before and after the CRF: Figure 10b of the v2 paper."""

from pathlib import Path
from typing import Any

from torch import Tensor

from deeplab_lightning.atomic import replacing
from deeplab_lightning.callbacks.evaluation import EvaluationCallback, Split
from deeplab_lightning.crf.refinement import RefinementQueue
from deeplab_lightning.metrics import TrimapBands, mean_iou, pixel_accuracy
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.outputs import Outputs
from deeplab_lightning.run_folder import TRIMAP_CURVE
from deeplab_lightning.scores import ScoreName


class TrimapEvaluation(EvaluationCallback):
    """Logs mIoU and pixel accuracy in the bands of width 1 to `max_width`, and draws the mIoU as a curve.

    The scores are logged as `val/trimap_miou/<width>` and `val/trimap_accuracy/<width>` and, with a CRF, as
    `val/trimap_miou_crf/<width>` and so on as well. The curve is written to `panels/` of the log folder.

    Args:
        max_width: Width of the widest band in pixels; the papers show 40.
        during_fit: Every validation of a training is scored too, not only `validate` and `test`.
    """

    def __init__(self, max_width: int = 40, during_fit: bool = False) -> None:
        TrimapBands(2, max_width)  # raises for an invalid width
        self.max_width, self.during_fit = max_width, during_fit

    def names(self, split: Split, refined: bool = False) -> list[ScoreName]:
        """Return the names of the scores: the mIoU of every width, then the pixel accuracy of every width."""
        kinds, widths = ("trimap_miou", "trimap_accuracy"), range(1, self.max_width + 1)
        return [ScoreName(split, kind, str(width), refined) for kind in kinds for width in widths]

    def start(self, module: SegmentationModule, split: Split) -> None:
        """Start with empty matrices."""
        num_classes = len(module.scores.class_names)
        self._bands = {refined: TrimapBands(num_classes, self.max_width).to(module.device) for refined in (False, True)}
        self._waiting = RefinementQueue()

    def batch(self, module: SegmentationModule, outputs: Outputs, batch: dict[str, Any], split: Split) -> None:
        """Count the batch."""
        self._bands[False].update(outputs["logits"].argmax(1), batch["mask"])
        if "refinement" in outputs:
            self._waiting.add(outputs["refinement"], batch["mask"])
            self._count_refined()

    def _count_refined(self, wait: bool = False) -> None:
        for prediction, target, _ in self._waiting.take(wait):
            self._bands[True].update(prediction, target)

    def finish(self, module: SegmentationModule, split: Split) -> None:
        """Log the scores and draw the curve."""
        self._count_refined(wait=True)
        # Computing waits for all processes, so even those without an image must do the same kinds.
        kinds = [False] if module.refiner is None else [False, True]
        curves = {refined: trimap_curves(self._bands[refined].compute()) for refined in kinds}
        for refined, (ious, accuracies) in curves.items():
            logged_by_module = set(module.scores.names(split, refined))  # it logs one of the bands itself
            for name, value in zip(self.names(split, refined), [*ious, *accuracies], strict=True):
                if name not in logged_by_module:
                    module.log(str(name), value, sync_dist=True)
        if module.trainer.is_global_zero:
            names = {False: "without CRF", True: "with CRF"}
            named = {names[refined]: ious for refined, (ious, _) in curves.items()}
            draw_trimap_curves(named, self.logs.panels / split / TRIMAP_CURVE)


def trimap_curves(matrices: Tensor) -> tuple[list[float], list[float]]:
    """Return the mIoU and the pixel accuracy in each band from the matrices (max_width, K, K) of `TrimapBands`."""
    return [mean_iou(matrix) for matrix in matrices], [pixel_accuracy(matrix) for matrix in matrices]


def draw_trimap_curves(curves: dict[str, list[float]], path: Path) -> None:
    """Draw named curves of the mIoU over the width of the band, from 1 pixel on, into a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, ious in curves.items():
        axes.plot(range(1, len(ious) + 1), ious, label=name)
    axes.set_xlabel("trimap width (pixels)")
    axes.set_ylabel("mIoU")
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as draft:
        figure.savefig(draft, dpi=120, format="png")
