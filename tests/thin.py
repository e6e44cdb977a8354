"""Networks that are complete except for their width, which makes them about a hundred times faster."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from torch import nn


@contextmanager
def an_eighth_of_the_channels(*kept: int) -> Iterator[None]:
    """Build layers with an eighth of their channels; those with fewer than 16 (colours, classes) keep them.

    Args:
        kept: Numbers of channels that stay as well, such as those of many classes.
    """
    conv, norm = nn.Conv2d.__init__, nn.BatchNorm2d.__init__

    def share(channels: int) -> int:
        return channels // 8 if channels >= 16 and channels not in kept else channels

    def thin_conv(
        layer: nn.Conv2d,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        shares = share(in_channels), share(out_channels)
        conv(layer, *shares, kernel_size, stride, padding, dilation, share(groups), bias)

    def thin_norm(layer: nn.BatchNorm2d, channels: int, *args: Any, **kwargs: Any) -> None:
        norm(layer, share(channels), *args, **kwargs)

    with patch.object(nn.Conv2d, "__init__", thin_conv), patch.object(nn.BatchNorm2d, "__init__", thin_norm):
        yield
