"""Scores from one confusion matrix over the whole split, and the trimap band around the void borders."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric, SumMetric

from deeplab_lightning import IGNORE_INDEX


class ConfusionMatrix(Metric):
    """One int64 matrix (K, K) over all updates, target in rows, prediction in columns; void left out, ranks summed."""

    full_state_update = False
    matrix: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("matrix", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch: prediction and target (B, H, W), class indices; 255 in the target is void."""
        if prediction.shape != target.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
        valid = target != IGNORE_INDEX
        pairs = target[valid].long() * self.num_classes + prediction[valid].long()
        self.matrix += torch.bincount(pairs, minlength=self.num_classes**2).view(self.num_classes, -1)

    def compute(self) -> Tensor:
        """The matrix so far."""
        return self.matrix


def iou_per_class(matrix: Tensor) -> Tensor:
    """IoU of each class (K,) in float64; NaN for a class that neither target nor prediction holds."""
    hits = matrix.diagonal().double()
    return hits / (matrix.sum(0) + matrix.sum(1) - hits)


def mean_iou(matrix: Tensor) -> float:
    """Mean over the classes that occur; NaN for an empty matrix (VOC's measure: Everingham et al., IJCV 2015)."""
    return float(iou_per_class(matrix).nanmean())


def pixel_accuracy(matrix: Tensor) -> float:
    """Share of the labelled pixels that are right."""
    return float(matrix.diagonal().sum().double() / matrix.sum())


def trimap_band(target: Tensor, width: int) -> Tensor:
    """The labelled pixels near void: the void dilated by a square of side 2 width + 1, less the void.

    Args:
        target: (B, H, W) with 255 as void.
        width: of the band in pixels, at least 1 (v1, section 5.3; the authors' MyVOCevalsegBoundary.m).

    Returns:
        bool (B, H, W).
    """
    void = target == IGNORE_INDEX
    dilated = F.max_pool2d(void.float().unsqueeze(1), 2 * width + 1, 1, width).squeeze(1) > 0
    return dilated & ~void


class SegmentationScores(nn.Module):
    """What one evaluation reports: mIoU, pixel accuracy, IoU by class, and mIoU in one trimap band.

    Args:
        class_names: K names, by which the IoUs are reported.
        trimap_width: of the band, in pixels.
        suffix: ends the name of every score, "_crf" for what a CRF refined.
    """

    def __init__(self, class_names: Sequence[str], trimap_width: int = 3, suffix: str = "") -> None:
        super().__init__()
        if trimap_width < 1:
            raise ValueError(f"trimap_width must be at least 1, got {trimap_width}")
        self.class_names, self.trimap_width, self.suffix = list(class_names), trimap_width, suffix
        self.whole = ConfusionMatrix(len(class_names))
        self.band = ConfusionMatrix(len(class_names))
        self.images = SumMetric()
        self.num_images = 0

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch: prediction and target (B, H, W)."""
        self.whole.update(prediction, target)
        self.images.update(len(target))
        self.band.update(prediction, target.where(trimap_band(target, self.trimap_width), IGNORE_INDEX))

    def compute(self) -> dict[str, float]:
        """All scores by name, over all ranks; NaN for a score of nothing (an absent class, no void border).

        `num_images` then holds how many images they are of.
        """
        self.num_images = int(self.images.compute())
        matrix = self.whole.compute()
        scores = {f"miou{self.suffix}": mean_iou(matrix), f"pixel_accuracy{self.suffix}": pixel_accuracy(matrix)}
        scores[f"trimap_miou{self.suffix}/{self.trimap_width}"] = mean_iou(self.band.compute())
        for name, iou in zip(self.class_names, iou_per_class(matrix).tolist(), strict=True):
            scores[f"iou{self.suffix}/{name}"] = iou
        return scores

    def reset(self) -> None:
        """Start anew."""
        for metric in (self.whole, self.band, self.images):
            metric.reset()
