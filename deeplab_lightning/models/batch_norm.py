"""A batch norm for maps with a single value per channel, and helpers for all batch norms of a network."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class RescuedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that falls back to its running statistics where a channel has a single value.

    A 1x1 map in a batch of one has no variance, and torch raises an error. The image pooling branch meets this case
    whenever a rank trains on one image.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name)
        """Normalise (B, C, h, w)."""
        if self.training and input.numel() == input.shape[1]:
            statistics = self.running_mean, self.running_var
            return F.batch_norm(input, *statistics, self.weight, self.bias, training=False, eps=self.eps)
        return super().forward(input)


def batch_norms(network: nn.Module) -> Iterator[_BatchNorm]:
    """Find all batch norms of a network, including synchronised ones."""
    return (layer for layer in network.modules() if isinstance(layer, _BatchNorm))


def set_momentum(network: nn.Module, momentum: float) -> None:
    """Set the momentum of every batch norm: the weight of one batch in its running statistics.

    The momentum is 1 minus TensorFlow's decay.

    Raises:
        ValueError: The momentum is not above 0 and up to 1.
    """
    if not 0 < momentum <= 1:
        raise ValueError(f"batch_norm_momentum must be above 0 and up to 1, got {momentum}")
    for layer in batch_norms(network):
        layer.momentum = momentum
