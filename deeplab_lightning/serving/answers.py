"""Segmentations for a page: large pictures at a reduced size, and the CRF's settings without the network again."""

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from deeplab_lightning.segmentation.pictures import Picture
from deeplab_lightning.segmentation.result import SegmentationResult
from deeplab_lightning.segmentation.segmenter import Method, Segmenter, refined
from deeplab_lightning.serving.limits import Deadline, Limits

LARGEST = 1 << 20
"""Number of pixels up to which a picture is segmented at its own size: 1024x1024."""
LARGEST_SCORES = 1 << 26
"""Number of probabilities, pixels times classes, up to which it is: 256 MiB."""


@dataclass(frozen=True)
class Answer:
    """What a model answers.

    Args:
        result: Segmentation at the size at which it was computed, with probabilities.
        mask: Label map (H, W) at the size of the picture.
        seconds: Computing time.
    """

    result: SegmentationResult
    mask: NDArray[np.uint8]
    seconds: float


class ServedModel:
    """A model on the page. It is used by one request at a time.

    Args:
        name: Name on the page.
        segmenter: The model.
    """

    def __init__(self, name: str, segmenter: Segmenter) -> None:
        self.name, self.segmenter = name, segmenter
        self._last: tuple[object, SegmentationResult] | None = None

    def read(self, path: Path, limits: Limits) -> Picture:
        """Read a visitor's file.

        Raises:
            DataError: The file is too large, or cannot be read as a picture for this model.
        """
        limits.check_file(path)
        return self.segmenter.reader.read(path)

    def answer(self, picture: Picture, how: Method, deadline: Deadline) -> Answer:
        """Segment a picture.

        The probabilities before the CRF are kept, so that another CRF for the same picture needs no network.

        Raises:
            TimeoutError: The deadline has passed.
            ValueError: The model has no CRF, because its images have no colours.
        """
        start = time.perf_counter()
        if how.crf is not None:
            self.segmenter.method(how.crf)  # refuses models without colours
        key = (hashlib.sha256(picture.pixels.data).hexdigest(), picture.pixels.shape, how.scales, how.flip)
        if self._last is None or self._last[0] != key:
            small = self.reduced(picture)
            with deadline.holds_for(self.segmenter.network), torch.inference_mode():
                (result,) = self.segmenter.run([small], replace(how, crf=None))
            self._last = key, result
        result = self._last[1]
        deadline.check()
        if how.crf is not None:
            result = refined(result, how, self.segmenter.device)
            deadline.check()
        mask = enlarged(result, picture.size)
        return Answer(_remarked(result, picture), mask, time.perf_counter() - start)

    def reduced(self, picture: Picture) -> Picture:
        """Return a picture of at most `LARGEST` pixels and `LARGEST_SCORES` probabilities."""
        height, width = picture.size
        factor = min(LARGEST, LARGEST_SCORES // len(self.segmenter.class_names)) / (height * width)
        if factor >= 1:
            return picture
        size = max(1, int(height * factor**0.5)), max(1, int(width * factor**0.5))
        values = torch.from_numpy(np.array(picture.pixels)).permute(2, 0, 1)[None].float()
        small = F.interpolate(values, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
        if picture.pixels.dtype == np.uint8:
            small = small.round().clip(0, 255).astype(np.uint8)
        return replace(picture, pixels=small)


def enlarged(result: SegmentationResult, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the label map at another size: the class of the largest interpolated probability.

    Classes that are nowhere the largest at the result's own size are left out.
    """
    if result.mask.shape == size:
        return result.mask
    assert result.probabilities is not None
    labels, largest = torch.zeros(size, dtype=torch.uint8), torch.full(size, -1.0)
    for label in np.unique(result.mask):
        own = torch.from_numpy(np.ascontiguousarray(result.probabilities[label], np.float32))
        shares = F.interpolate(own[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        labels[shares > largest] = int(label)
        torch.maximum(largest, shares, out=largest)
    return labels.numpy()


def _remarked(result: SegmentationResult, picture: Picture) -> SegmentationResult:
    (height, width), (own_height, own_width) = picture.size, result.mask.shape
    if (height, width) == (own_height, own_width):
        return result
    remark = (
        f"segmented at {own_width}x{own_height}; the files have the picture's size, {width}x{height}, by interpolated "
        "probabilities"
    )
    return replace(result, remarks=(*result.remarks, remark))
