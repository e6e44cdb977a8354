"""Values shared by the processes of a training."""

import torch.distributed
from torch import Tensor


def mean_over_ranks(value: Tensor) -> Tensor:
    """Average a tensor over all processes, without gradient; a single process gets it back unchanged."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    total = value.detach().clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()
