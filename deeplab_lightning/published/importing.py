"""Filling a network of this package with exactly the tensors of another source."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from deeplab_lightning.models.layers import SegmentationNetwork

Network = TypeVar("Network", bound=SegmentationNetwork)
SHOWN = 3  # names of tensors in an error


@dataclass(frozen=True)
class Imported(Generic[Network]):
    """A network with the weights of a source.

    Args:
        network: The network, in evaluation mode.
        arguments: The arguments that it was built with, num_classes included.
        used: Names of the source's tensors that the network holds.
        ignored: Names of the source's tensors that only training or another task needs.
    """

    network: Network
    arguments: Mapping[str, Any]
    used: tuple[str, ...]
    ignored: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class StartPoint:
    """The backbone of a source's network, and what else fits, as the start of a training.

    Args:
        settings: Arguments of the network that these weights need.
        tensors: Name of a tensor in the source and the tensor itself, by its name in the network.
        dropped: Names of the source's tensors that are left out.
    """

    settings: Mapping[str, Any]
    tensors: Mapping[str, tuple[str, Tensor]]
    dropped: tuple[str, ...]


def fill(
    kind: type[Network],
    arguments: Mapping[str, Any],
    tensors: Mapping[str, tuple[str, Tensor]],
    ignored: Iterable[str] = (),
) -> Imported[Network]:
    """Build a network and load tensors into it, of which it needs each one and no other.

    Args:
        kind: Class of the network.
        arguments: Arguments of the network.
        tensors: Name of a tensor in the source and the tensor itself, by its name in the network.
        ignored: Names in the source of tensors that are left out on purpose.

    Raises:
        ValueError: An argument cannot work, or a tensor is missing, left over, of another shape or type, or not finite.
    """
    network = kind(**arguments)
    own = network.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    if missing := sorted(set(own) - set(tensors) - counters):
        raise ValueError(f"the network needs {_some(missing)}, which the weights do not have")
    if left_over := sorted(tensors[name][0] for name in set(tensors) - set(own)):
        raise ValueError(f"the weights have {_some(left_over)}, which the network does not need")
    for name, (source, tensor) in tensors.items():
        if tensor.shape != own[name].shape:
            raise ValueError(f"{source} is {list(tensor.shape)}, but the network's {name} is {list(own[name].shape)}")
        if tensor.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"{source} holds {str(tensor.dtype).removeprefix('torch.')} numbers instead of float32")
        if not tensor.isfinite().all():
            raise ValueError(f"{source} holds numbers that are not finite")
    network.load_state_dict({name: tensor for name, (_, tensor) in tensors.items()}, strict=False)
    used = tuple(source for source, _ in tensors.values())
    return Imported(network.eval(), arguments, used, tuple(ignored))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
