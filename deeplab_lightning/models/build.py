"""Building a network from the name of its class and plain arguments, as descriptions and catalogues hold them."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from deeplab_lightning.models.deeplab_v1 import DeepLabV1
from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3_cascade import DeepLabV3Cascade
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.models.lraspp import LRASPP
from deeplab_lightning.models.smp_network import SMPNetwork

NETWORKS: dict[str, type[SegmentationNetwork]] = {
    kind.__name__: kind
    for kind in (DeepLabV1, DeepLabV2, DeepLabV3, DeepLabV3Cascade, DeepLabV3Plus, LRASPP, SMPNetwork)
}
"""The only classes that a description may name."""


def build_network(name: str, arguments: Mapping[str, Any]) -> SegmentationNetwork:
    """Build a network with initial weights.

    Args:
        name: Name of the network's class.
        arguments: Arguments of the network, by name.

    Raises:
        ValueError: The class is not one of `NETWORKS`, or an argument does not exist, is missing or cannot work.
    """
    if name not in NETWORKS:
        raise ValueError(f"there is no network {name!r}; the networks are {', '.join(NETWORKS)}")
    try:
        return NETWORKS[name](**arguments)
    except (AttributeError, LookupError, TypeError) as error:
        first_line = str(error).partition("\n")[0]  # torch adds its call stack
        raise ValueError(f"{name} cannot be built with these arguments: {first_line}") from error


def restore_network(name: str, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SegmentationNetwork:
    """Build a network that holds the given tensors as its weights, in evaluation mode.

    The network is built on the meta device, so that arguments which do not fit the tensors cost no memory.

    Args:
        name: Name of the network's class.
        arguments: Arguments of the network, by name; `pretrained` is ignored.
        tensors: All weights and running statistics by name. The network shares their memory.

    Raises:
        ValueError: The network cannot be built, or a tensor is missing, left over or of another shape or type.
    """
    try:
        with torch.device("meta"):
            network = build_network(name, {**arguments, "pretrained": False})
    except RuntimeError as error:  # torch cannot even count the bytes
        raise ValueError(f"{name} cannot be built with these arguments: {str(error).splitlines()[0]}") from error
    own = network.state_dict()
    for key in sorted(own.keys() | tensors.keys()):
        there, here = _form(tensors.get(key)), _form(own.get(key))
        if there != here:
            raise ValueError(f"the weights do not fit {name}: {key} is {there} there, but {here} in the network")
    network.load_state_dict(tensors, assign=True)
    return network.requires_grad_(False).eval()


def _form(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def complete_arguments(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of a network: the given ones, and the defaults of the others.

    Args:
        name: Name of the network's class.
        arguments: Some arguments of the network, by name.
    """
    return _defaults(name) | dict(arguments)


@cache
def _defaults(name: str) -> dict[str, Any]:
    from jsonargparse import ArgumentParser  # it follows **kwargs through the signatures, as the command line does

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(NETWORKS[name], None, skip={"num_classes"}, fail_untyped=False)
    defaults: dict[str, Any] = parser.get_defaults().as_dict()
    return defaults
