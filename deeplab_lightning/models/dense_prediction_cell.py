"""The dense prediction cell (arXiv:1809.04184) that was found by search on Cityscapes, in the place of the ASPP."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeplab_lightning.models.dropout import SampleDropout
from deeplab_lightning.models.layers import conv_bn_relu, separable_conv_bn_relu


class Branch(NamedTuple):
    """One atrous separable convolution of the cell.

    Args:
        source: Index of the branch whose output it takes; None for the backbone's features.
        rates: Vertical and horizontal rate at output stride 16.
    """

    source: int | None
    rates: tuple[int, int]


BRANCHES = (Branch(None, (1, 6)), Branch(0, (18, 15)), Branch(1, (6, 3)), Branch(0, (1, 1)), Branch(0, (6, 21)))
"""The best cell (Figure 5; dense_prediction_cell_branch5_top1_cityscapes.json of the TensorFlow release)."""


class DensePredictionCell(nn.Module):
    """Five atrous separable convolutions, four of which follow another, concatenated and projected.

    Args:
        in_channels: Number of channels of the backbone's last features.
        output_stride: Output stride, 16 or less; the rates of the cell double as it halves.
        channels: Number of channels of every branch and of the projection.
        dropout: Probability of dropout of the concatenated branches; 0.1 in the TensorFlow release.

    Raises:
        ValueError: The output stride is larger than 16, at which the rates would not be whole.
    """

    def __init__(self, in_channels: int, output_stride: int, channels: int = 256, *, dropout: float = 0.1) -> None:
        super().__init__()
        if output_stride > 16:
            raise ValueError(f"a dense prediction cell needs output_stride 8 or 16, got {output_stride}")
        self.out_channels = channels
        self.branches = nn.ModuleList()
        for source, rates in BRANCHES:
            inputs = in_channels if source is None else channels
            rate = (rates[0] * 16 // output_stride, rates[1] * 16 // output_stride)
            self.branches.append(separable_conv_bn_relu(inputs, channels, 3, dilation=rate))
        self.dropout = SampleDropout(dropout)
        self.project = conv_bn_relu(len(BRANCHES) * channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, channels, h, w)."""
        outputs: list[Tensor] = []
        for (source, _), branch in zip(BRANCHES, self.branches, strict=True):
            outputs.append(branch(features if source is None else outputs[source]))
        out: Tensor = self.project(self.dropout(torch.cat(outputs, 1)))
        return out
