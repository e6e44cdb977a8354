"""Scores from one confusion matrix over the whole split, and scores in trimap bands along the void borders."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, SumMetric

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.scores import ScoreName


class ConfusionMatrix(Metric):
    """The confusion matrix (K, K) of a split, int64: targets in rows, predictions in columns, without void pixels."""

    full_state_update = False
    matrix: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("matrix", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch of predictions and targets (B, H, W), which hold class indices; 255 in a target is void.

        Raises:
            ValueError: Prediction and target differ in shape, or one of them holds a label that is not a class.
        """
        if prediction.shape != target.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
        check_labels("target", target, self.num_classes, 256)
        check_labels("prediction", prediction, self.num_classes)
        # Counting a row for every 8-bit label and dropping those of void is faster than masking void out.
        pairs = target.int() * self.num_classes + prediction.int()
        counts = torch.bincount(pairs.flatten(), minlength=256 * self.num_classes).view(256, -1)
        if counts[self.num_classes : IGNORE_INDEX].any():
            check_labels("target", target[target != IGNORE_INDEX], self.num_classes)
        self.matrix += counts[: self.num_classes]

    def compute(self) -> Tensor:
        """Return the matrix (K, K) over all updates of all ranks."""
        return self.matrix


def check_labels(name: str, labels: Tensor, num_classes: int, bound: int | None = None) -> None:
    """Refuse labels that are not classes. On a GPU this synchronises, which `torch.bincount` does in any case.

    Args:
        name: Name of the labels, for the error.
        labels: Class indices of any shape and type.
        num_classes: Number of classes K.
        bound: Labels below this bound are accepted; K if not given.

    Raises:
        ValueError: A label is negative or not below the bound; the message names it.
    """
    if not labels.numel():
        return
    least, largest = torch.stack(labels.aminmax()).tolist()
    if not 0 <= least <= largest < (bound or num_classes):
        raise ValueError(
            f"the {name} holds label {largest if least >= 0 else least}, which is not a class: the {num_classes} "
            f"classes are 0 to {num_classes - 1}, and {IGNORE_INDEX} in a target is void"
        )


def iou_per_class(matrix: Tensor) -> Tensor:
    """Return the IoU of each class (K,) in float64; NaN for a class in neither the target nor the prediction."""
    hits = matrix.diagonal().double()
    return hits / (matrix.sum(0) + matrix.sum(1) - hits)


def scores_per_class(matrix: Tensor) -> dict[str, Tensor]:
    """Return IoU, precision, recall and F1 of each class (K,) in float64 by their names; NaN where there is no pixel.

    Precision is the share of the pixels predicted as a class that are of the class, recall the share of the class's
    pixels that are predicted as it, and F1 their harmonic mean, which is also the Dice coefficient.
    """
    hits, predicted, target = matrix.diagonal().double(), matrix.sum(0), matrix.sum(1)
    return {
        "IoU": iou_per_class(matrix),
        "precision": hits / predicted,
        "recall": hits / target,
        "F1": 2 * hits / (predicted + target),
    }


def mean_iou(matrix: Tensor) -> float:
    """Return the mean IoU over the classes that occur, as VOC does (Everingham et al., IJCV 2015); NaN if none does."""
    return float(iou_per_class(matrix).nanmean())


def pixel_accuracy(matrix: Tensor) -> float:
    """Return the share of the labelled pixels that are predicted correctly."""
    return float(matrix.diagonal().sum().double() / matrix.sum())


def void_distance(target: Tensor, limit: int) -> Tensor:
    """Return the Chebyshev distance of each pixel to the nearest void pixel of its image, up to a limit.

    Args:
        target: Label maps (B, H, W) with 255 as void.
        limit: Largest exact distance, at most 254; greater distances become limit + 1.

    Returns:
        The distances, uint8 (B, H, W), 0 on void.
    """
    height, width = target.shape[1:]
    # A Chebyshev distance is max(|dy|, |dx|). `vertical` is the least |dy| within each column; `nearest` is the least
    # |dy| over the columns with |dx| <= shift; the distance is the least max(nearest, shift) over all shifts.
    rows = torch.arange(height, dtype=torch.int32, device=target.device)[:, None].expand_as(target)
    far, is_void = height + limit + 1, target == IGNORE_INDEX
    above = rows.where(is_void, -far).cummax(1).values
    below = rows.where(is_void, height + far).flip(1).cummin(1).values.flip(1)
    vertical = torch.minimum(rows - above, below - rows).clamp(max=limit + 1).byte()
    distance, nearest = vertical, vertical.clone()
    for shift in range(1, min(limit, width - 1) + 1):
        nearest[..., shift:] = torch.minimum(nearest[..., shift:], vertical[..., :-shift])
        nearest[..., :-shift] = torch.minimum(nearest[..., :-shift], vertical[..., shift:])
        distance = torch.minimum(distance, nearest.clamp(min=shift))
    return distance


class TrimapBands(Metric):
    """The confusion matrices of a split in the bands of width 1 to `max_width` along void borders, int64.

    The band of width w is the void dilated by a square of side 2 w + 1, minus the void. It holds the labelled pixels at
    a Chebyshev distance of at most w (v1, section 5; the authors' MyVOCevalsegBoundary.m).

    Args:
        num_classes: Number of classes K.
        max_width: Width of the widest band, 1 to 254 pixels.
    """

    full_state_update = False
    rings: Tensor

    def __init__(self, num_classes: int, max_width: int) -> None:
        super().__init__()
        if not 1 <= max_width <= 254:
            raise ValueError(f"the width of a trimap band must be 1 to 254 pixels, got {max_width}")
        self.num_classes, self.max_width = num_classes, max_width
        rings = torch.zeros(max_width, num_classes, num_classes, dtype=torch.int64)
        self.add_state("rings", rings, dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch of predictions and targets (B, H, W), which hold class indices; 255 in a target is void.

        Raises:
            ValueError: A prediction or a target holds a label within a band that is not a class.
        """
        distance = void_distance(target, self.max_width)
        # Each pixel is counted once, in the ring of its distance; a band is the sum of its rings.
        inside = (distance > 0) & (distance <= self.max_width)
        ring, prediction, target = distance[inside].long() - 1, prediction[inside].long(), target[inside].long()
        check_labels("target", target, self.num_classes)
        check_labels("prediction", prediction, self.num_classes)
        cells = (ring * self.num_classes + target) * self.num_classes + prediction
        self.rings += torch.bincount(cells, minlength=self.rings.numel()).view_as(self.rings)

    def compute(self) -> Tensor:
        """Return the matrices (max_width, K, K) over all updates of all ranks, the narrowest band first."""
        return self.rings.cumsum(0)


class ImageMean(MeanMetric):
    """The mean of a value over the images of all ranks, summed in float64; one NaN makes the mean NaN."""

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")
        self.set_dtype(torch.float64)


class SegmentationScores(nn.Module):
    """The scores of one evaluation: mIoU, pixel accuracy, IoU by class, and mIoU in one trimap band.

    Args:
        class_names: Names of the K classes, under which the IoUs are reported.
        trimap_width: Width of the band in pixels; `TrimapEvaluation` scores all widths.
    """

    def __init__(self, class_names: Sequence[str], trimap_width: int = 3) -> None:
        super().__init__()
        self.class_names, self.trimap_width = list(class_names), trimap_width
        self.whole = ConfusionMatrix(len(class_names))
        self.bands = TrimapBands(len(class_names), trimap_width)
        self.images = SumMetric()
        self.num_images = 0
        self.matrix = self.whole.matrix

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch of predictions and targets (B, H, W)."""
        self.whole.update(prediction, target)
        self.images.update(len(target))
        self.bands.update(prediction, target)

    def compute(self, split: str, refined: bool = False) -> dict[ScoreName, float]:
        """Return all scores over all ranks, and set `num_images` and the confusion `matrix` (K, K) of these images.

        A score without pixels (an absent class, no void border) is NaN.

        Args:
            split: Split of the data, "val" or "test".
            refined: The predictions were refined by a CRF.
        """
        self.num_images = int(self.images.compute())
        matrix = self.matrix = self.whole.compute()
        values = [mean_iou(matrix), pixel_accuracy(matrix), mean_iou(self.bands.compute()[-1])]
        return dict(zip(self.names(split, refined), [*values, *iou_per_class(matrix).tolist()], strict=True))

    def names(self, split: str, refined: bool = False) -> list[ScoreName]:
        """Return the names of the scores, in the order of `compute`."""
        details = [("miou", ""), ("pixel_accuracy", ""), ("trimap_miou", str(self.trimap_width))]
        details += [("iou", name) for name in self.class_names]
        return [ScoreName(split, kind, detail, refined) for kind, detail in details]

    def reset(self) -> None:
        """Reset all scores."""
        for metric in (self.whole, self.bands, self.images):
            metric.reset()
