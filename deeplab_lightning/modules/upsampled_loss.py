"""The loss of upsampled logits, computed in bands of rows where all rows at once would take much memory."""

from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeplab_lightning.losses.cross_entropy import LossContext, in_float32
from deeplab_lightning.losses.weighted_sum import OverPart, WeightedSum
from deeplab_lightning.models.layers import upsample

VALUES_AT_ONCE = 2**22
"""The largest number of upsampled logits held at once: 16 MiB in float32; the loss takes several times that."""

Number = TypeVar("Number", float, Tensor)


def upsampled_loss(
    loss: WeightedSum, logits: Tensor, target: Tensor, *, align_corners: bool, context: LossContext
) -> Tensor:
    """Return the loss of logits that are upsampled to the size of the target (v3, section 4.1).

    All upsampled logits of 182 classes at 513x513 take 183 MiB an image in float32, and the loss holds several tensors
    of that size. Of more than `VALUES_AT_ONCE` logits the loss is therefore computed band by band: a band of rows is
    upsampled, its summand of the loss and its gradient on the coarse logits are computed at once, and only these are
    kept. Loss and gradient equal those of all rows at once to rounding; upsampling is in at least float32. Losses that
    need all pixels at once (hard pixels, regions) are computed on all rows.

    Args:
        loss: The loss.
        logits: Logits (B, K, h, w) on the grid of the features.
        target: Class indices and 255 for void, (B, H, W).
        align_corners: Grid of the upsampling.
        context: Class weights, processes and step of the training.
    """
    if logits.shape[1] * target.numel() > VALUES_AT_ONCE:
        coarse = in_float32(logits)
        over_part = loss.over_parts(target, coarse.dtype, context)
        if over_part is not None:
            banded: Tensor = _Banded.apply(coarse, target, over_part, align_corners)
            return banded
    return loss(upsample(logits, target.shape[1:], align_corners), target, context)


class _Banded(torch.autograd.Function):
    """The sum of a loss over bands, whose gradient is computed together with it."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, over_part: OverPart, align_corners: bool) -> Tensor:
        total, gradient = logits.new_zeros(()), torch.zeros_like(logits)
        for rows in _bands(logits.shape[1], target):
            band = _Band(rows, logits.shape[2], target.shape[1], align_corners)
            source = logits[:, :, band.source].detach().requires_grad_()
            with torch.enable_grad():
                summand = over_part(band.upsample(source, target.shape[2]), target[:, rows])
            gradient[:, :, band.source] += torch.autograd.grad(summand, source)[0]
            total += summand.detach()
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (kept,) = ctx.saved_tensors
        return kept * gradient, None, None, None


def _bands(num_classes: int, target: Tensor) -> Iterator[slice]:
    images, height, width = target.shape
    rows = max(1, VALUES_AT_ONCE // (images * num_classes * width))
    for first in range(0, height, rows):
        yield slice(first, min(first + rows, height))


class _Band:
    """Some rows of an upsampled map, and the rows of the map that they lie between.

    A row is a mixture of two rows of the map, upsampled along the width: bilinear upsampling is that along the height
    and that along the width, one after the other.
    """

    def __init__(self, rows: slice, height: int, upsampled_height: int, align_corners: bool) -> None:
        self.rows, self.height, self.align_corners = rows, height, align_corners
        if align_corners:
            self.scale = (height - 1) / max(upsampled_height - 1, 1)
        else:
            self.scale = height / upsampled_height
        first, last = (int(max(0.0, self._position(float(row)))) for row in (rows.start, rows.stop - 1))
        self.source = slice(max(0, first - 1), min(height, last + 3))  # one more on each side, for the rounding

    def _position(self, row: Number) -> Number:
        """Return where a row lies on the rows of the map, as `torch.nn.functional.interpolate` defines it."""
        return row * self.scale if self.align_corners else (row + 0.5) * self.scale - 0.5

    def upsample(self, source: Tensor, width: int) -> Tensor:
        """Return the rows of the upsampled map (B, K, rows, width) from those of `source` (B, K, ..., w)."""
        rows = torch.arange(self.rows.start, self.rows.stop, dtype=source.dtype, device=source.device)
        positions = self._position(rows).clamp(0, self.height - 1)
        above = positions.long()
        below = (above + 1).clamp(max=self.height - 1)
        share = (positions - above)[:, None]
        first = self.source.start
        mixed = torch.lerp(source[:, :, above - first], source[:, :, below - first], share)
        return upsample(mixed, (len(rows), width), self.align_corners)
