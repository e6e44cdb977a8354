"""Scores from one confusion matrix over the whole split, and scores in trimap bands along the void borders."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, SumMetric

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.scores import ScoreName


class ConfusionMatrix(Metric):
    """One int64 matrix (K, K) over all updates, target in rows, prediction in columns; void left out, ranks summed."""

    full_state_update = False
    matrix: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("matrix", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch: prediction and target (B, H, W), class indices; 255 in the target is void.

        Raises:
            ValueError: They differ in shape, or one of them holds a label that is no class.
        """
        if prediction.shape != target.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
        check_labels("target", target, self.num_classes, 256)
        check_labels("prediction", prediction, self.num_classes)
        # A row for every 8-bit label, void included, is counted and cut off: it is quicker than to mask void out.
        pairs = target.int() * self.num_classes + prediction.int()
        counts = torch.bincount(pairs.flatten(), minlength=256 * self.num_classes).view(256, -1)
        if counts[self.num_classes : IGNORE_INDEX].any():
            check_labels("target", target[target != IGNORE_INDEX], self.num_classes)
        self.matrix += counts[: self.num_classes]

    def compute(self) -> Tensor:
        """The matrix so far."""
        return self.matrix


def check_labels(name: str, labels: Tensor, num_classes: int, bound: int | None = None) -> None:
    """Refuse labels that are no classes; on a GPU it waits for them, as `torch.bincount` does by itself.

    Args:
        name: Name of the labels, for the error.
        labels: Class indices of any shape and type.
        num_classes: Number of classes K.
        bound: Labels below it pass here; K unless given.

    Raises:
        ValueError: A label is negative or not below the bound; the message names it.
    """
    if not labels.numel():
        return
    least, largest = torch.stack(labels.aminmax()).tolist()
    if not 0 <= least <= largest < (bound or num_classes):
        raise ValueError(
            f"the {name} holds label {largest if least >= 0 else least}, which is no class: the {num_classes} classes "
            f"are 0 to {num_classes - 1}, and {IGNORE_INDEX} in a target is void"
        )


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


def void_distance(target: Tensor, limit: int) -> Tensor:
    """Chebyshev distance of each pixel to the nearest void one of its image, from a single pass.

    Args:
        target: (B, H, W) with 255 as void.
        limit: Distances above it come out as limit + 1; at most 254.

    Returns:
        uint8 (B, H, W), 0 on void.
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
    """Confusion matrices in the bands of width 1 to `max_width` along void borders, int64, ranks summed.

    The band of width w is the void dilated by a square of side 2 w + 1, less the void: the labelled pixels at a
    Chebyshev distance of at most w (v1, section 5; the authors' MyVOCevalsegBoundary.m).

    Args:
        num_classes: Number of classes K.
        max_width: Width of the widest band, in pixels, 1 to 254.
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
        """Count a batch: prediction and target (B, H, W), class indices; 255 in the target is void.

        Raises:
            ValueError: Within a band one of them holds a label that is no class.
        """
        distance = void_distance(target, self.max_width)
        inside = (distance > 0) & (distance <= self.max_width)
        ring, prediction, target = distance[inside].long() - 1, prediction[inside].long(), target[inside].long()
        check_labels("target", target, self.num_classes)
        check_labels("prediction", prediction, self.num_classes)
        cells = (ring * self.num_classes + target) * self.num_classes + prediction
        self.rings += torch.bincount(cells, minlength=self.rings.numel()).view_as(self.rings)

    def compute(self) -> Tensor:
        """The matrices (max_width, K, K), the narrowest band first."""
        return self.rings.cumsum(0)


class ImageMean(MeanMetric):
    """Mean of a value over the images of all ranks: summed in float64, and divided once; NaN counts as NaN."""

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")
        self.set_dtype(torch.float64)


class SegmentationScores(nn.Module):
    """The scores of one evaluation: mIoU, pixel accuracy, IoU by class, and mIoU in one trimap band.

    Args:
        class_names: K names, by which the IoUs are reported.
        trimap_width: Width of the band in pixels; `TrimapEvaluation` scores all widths.
    """

    def __init__(self, class_names: Sequence[str], trimap_width: int = 3) -> None:
        super().__init__()
        self.class_names, self.trimap_width = list(class_names), trimap_width
        self.whole = ConfusionMatrix(len(class_names))
        self.bands = TrimapBands(len(class_names), trimap_width)
        self.images = SumMetric()
        self.num_images = 0

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch: prediction and target (B, H, W)."""
        self.whole.update(prediction, target)
        self.images.update(len(target))
        self.bands.update(prediction, target)

    def compute(self, split: str, refined: bool = False) -> dict[ScoreName, float]:
        """All scores over all ranks; NaN for a score of nothing (an absent class, no void border).

        `num_images` then holds the number of images that they are of.

        Args:
            split: "val" or "test".
            refined: Whether the predictions were refined by a CRF.
        """
        self.num_images = int(self.images.compute())
        matrix = self.whole.compute()
        values = [mean_iou(matrix), pixel_accuracy(matrix), mean_iou(self.bands.compute()[-1])]
        return dict(zip(self.names(split, refined), [*values, *iou_per_class(matrix).tolist()], strict=True))

    def names(self, split: str, refined: bool = False) -> list[ScoreName]:
        """The names of the scores, in the order of `compute`."""
        details = [("miou", ""), ("pixel_accuracy", ""), ("trimap_miou", str(self.trimap_width))]
        details += [("iou", name) for name in self.class_names]
        return [ScoreName(split, kind, detail, refined) for kind, detail in details]

    def reset(self) -> None:
        """Start anew."""
        for metric in (self.whole, self.bands, self.images):
            metric.reset()
