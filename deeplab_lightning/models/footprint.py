"""The receptive field of a stack of atrous convolutions: its side, its holes, and the valid weights at the border."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def receptive_field(rates: Sequence[int], kernel_size: int = 3) -> int:
    """Return the side of the receptive field of a stack of convolutions; each adds (kernel_size - 1) * rate."""
    return 1 + sum((kernel_size - 1) * rate for rate in rates)


def footprint(rates: Sequence[int], kernel_size: int = 3) -> Tensor:
    """Count the paths from each input to one output, float64 (side, side); a 0 is a hole in the receptive field."""
    paths, kernel = torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.ones(1, 1, kernel_size, kernel_size).double()
    for rate in rates:
        paths = F.conv_transpose2d(paths, kernel, dilation=rate)
    return paths[0, 0]


def valid_weights(rate: int, side: int, kernel_size: int = 3) -> Tensor:
    """Count, for each position, the weights of an atrous convolution that fall on the map: int64 (side, side).

    The other weights fall on the padding. If the rate is close to the side of the map, only the middle weight is valid
    (v3, section 3.3 and Figure 4).
    """
    ones = torch.ones(1, 1, side, side), torch.ones(1, 1, kernel_size, kernel_size)
    return F.conv2d(*ones, padding=rate * (kernel_size - 1) // 2, dilation=rate)[0, 0].round().long()
