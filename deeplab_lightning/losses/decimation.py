"""Labels on the grid of a feature map."""

from collections.abc import Sequence

import torch
from torch import Tensor


def decimate(target: Tensor, size: Sequence[int], stride: float, offset: int = 0) -> Tensor:
    """Return the label under each position of a feature grid, without interpolation (v1, section 3.1).

    Position i of the grid lies over pixel i * stride + offset. These are Caffe's aligned corners, with 41 positions of
    stride 8 over 321 pixels. A position beyond the border takes the last pixel.

    Args:
        target: Class indices and 255 for void, (B, H, W).
        size: Size (h, w) of the grid.
        stride: Number of pixels between positions; it need not be an integer if the grid is that of a scaled image.
        offset: Pixel under the first position.

    Returns:
        The labels (B, h, w).
    """
    rows, columns = (
        torch.arange(positions, device=target.device).mul(stride).add(offset).round().long().clamp(max=side - 1)
        for positions, side in zip(size, target.shape[1:], strict=True)
    )
    return target[:, rows[:, None], columns]
