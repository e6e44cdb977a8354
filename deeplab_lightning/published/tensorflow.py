"""Networks of the TensorFlow release (tensorflow/models, research/deeplab), built from the variables of a checkpoint.

The names of the variables give the architecture. A convolution is a scope with `weights` (H, W, I, O) or
`depthwise_weights` (H, W, C, 1), and with `BatchNorm/...` or `biases` in it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.models.resnet import UNITS
from deeplab_lightning.models.xception import FLOWS
from deeplab_lightning.published.importing import Imported, fill

Variables = Mapping[str, NDArray[Any]]
Place = tuple[str, str]
"""The target of a scope: the names of a convolution and of its batch norm; "" stands for no batch norm."""

TRAINING_ONLY = re.compile(r"global_step|.*/(Momentum|RMSProp(_1)?|ExponentialMovingAverage)")
AVERAGE = "/ExponentialMovingAverage"
NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
KINDS = {"weights": "weight", "depthwise_weights": "weight", "biases": "bias"}
QUANTISED = re.compile(r".*/(act|weights)_quant/.*")
RATES = (6, 12, 18)
"""The rates of ASPP at output stride 16; they double as it halves (v3, section 4.2)."""


def from_tensorflow(
    variables: Variables, output_stride: int = 16, multi_grid: Sequence[int] = (1, 2, 4)
) -> Imported[SegmentationNetwork]:
    """Build the segmentation network with these variables; one checkpoint serves every output stride.

    If a variable has an exponential moving average, as in slim's ImageNet MobileNetV2, the average is taken.

    Args:
        variables: Variables of a checkpoint or a frozen graph, by name.
        output_stride: Output stride of the network: 8, 16 or 32.
        multi_grid: Unit rates of a ResNet's block4; the release recommends (1, 2, 4) for its ResNets (common.py).

    Raises:
        ValueError: The variables belong to another network or one that is not supported; the message says which.
    """
    if any(QUANTISED.match(name) for name in variables):
        raise ValueError("the network is quantised to 8 bits; take the checkpoint in floating point")
    kept = {name: variables.get(name + AVERAGE, array) for name, array in variables.items() if not _is_ignored(name)}
    network, places = _network(kept, output_stride, multi_grid)
    tensors: dict[str, tuple[str, Tensor]] = {}
    for name, array in kept.items():
        scope, _, kind = name.removesuffix("/BatchNorm").rpartition("/")
        scope, is_norm = scope.removesuffix("/BatchNorm"), scope.endswith("/BatchNorm")
        if scope not in places:
            raise ValueError(f"the network does not need {name}, which the checkpoint has")
        conv, norm = places[scope]
        kinds = NORM if is_norm else KINDS
        target = f"{norm if is_norm else conv}.{kinds.get(kind, kind)}"
        tensors[target] = (name, _tensor(kind, array))
    _rotate_projection(tensors)
    return fill(network, tensors, [name for name in variables if _is_ignored(name)])


def _is_ignored(name: str) -> bool:
    return TRAINING_ONLY.fullmatch(name) is not None


def _tensor(kind: str, array: NDArray[Any]) -> Tensor:
    """Return a variable in torch's order of axes, as float32."""
    axes = {"weights": (3, 2, 0, 1), "depthwise_weights": (2, 3, 0, 1)}.get(kind)
    turned = array.transpose(axes) if axes and array.ndim == 4 else array
    return torch.from_numpy(np.array(turned, np.float32))


def _rotate_projection(tensors: dict[str, tuple[str, Tensor]]) -> None:
    """Reorder the input channels of the projection: image pooling is the release's first branch, and here the last."""
    name = "aspp.project.0.weight"
    if name in tensors:
        source, weight = tensors[name]
        width = weight.shape[0]  # every branch is as wide as the projection
        tensors[name] = (source, torch.cat([weight[:, width:], weight[:, :width]], 1))


def _network(
    variables: Variables, output_stride: int, multi_grid: Sequence[int]
) -> tuple[SegmentationNetwork, dict[str, Place]]:
    """Build the network that the names describe, and return it with the places of its scopes."""
    root = next((name.partition("/")[0] for name in variables if name.startswith(("xception", "resnet"))), "")
    semantic = variables.get("logits/semantic/weights")
    if not root or semantic is None:
        found = sorted({name.partition("/")[0] for name in variables})
        raise ValueError(
            f"not a known segmentation network of the release; its first scopes are {', '.join(found[:8])}"
        )
    if any(name.startswith("meta_architecture/") for name in variables):
        raise ValueError("the network has a dense prediction cell (arXiv:1809.04184), which is not supported")
    num_branches = sum(f"aspp{branch}_pointwise/weights" in variables for branch in (1, 2, 3))
    has_decoder = "decoder/feature_projection0/weights" in variables
    settings: dict[str, Any] = {
        "num_classes": semantic.shape[-1],
        "output_stride": output_stride,
        "atrous_rates": tuple(rate * 16 // output_stride for rate in RATES),
        "align_corners": True,
    }
    places = dict(_head_places(separable=num_branches > 0, has_decoder=has_decoder))
    if match := re.fullmatch(r"xception_(\d+)", root):
        depth = int(match[1])
        if depth not in FLOWS:
            raise ValueError(f"an Xception of depth {depth} is not supported; the depths are {sorted(FLOWS)}")
        settings |= {"backbone": f"xception{depth}"}
        places |= dict(_xception_places(depth))
    elif (match := re.fullmatch(r"resnet_v1_(\d+)", root)) and f"{root}/conv1_1/weights" in variables:
        depth = int(match[1])
        settings |= {"backbone": f"resnet{depth}", "multi_grid": tuple(multi_grid)}
        settings |= {"stem": "three_conv3x3", "stride_unit": "last"}
        places |= dict(_resnet_places(depth))
    else:
        raise ValueError(f"{root} is not supported: of the release's ResNets, only beta ones (stem of three 3x3) are")
    if has_decoder:
        if root.startswith("resnet"):
            settings |= {"low_level_features": "conv3"}
        return DeepLabV3Plus(**settings, separable=num_branches > 0), places
    if num_branches:
        raise ValueError("a DeepLabv3 with a separable ASPP and no decoder is not supported; the release has none")
    return DeepLabV3(**settings), places


def _head_places(separable: bool, has_decoder: bool) -> Iterator[tuple[str, Place]]:
    yield "image_pooling", ("aspp.branches.4.conv", "aspp.branches.4.bn")
    yield "aspp0", ("aspp.branches.0.0", "aspp.branches.0.1")
    for branch in (1, 2, 3):
        yield from _conv3x3(f"aspp{branch}", f"aspp.branches.{branch}", separable)
    yield "concat_projection", ("aspp.project.0", "aspp.project.1")
    if has_decoder:
        yield "decoder/feature_projection0", ("decoder.reduce.0.0", "decoder.reduce.0.1")
        for number in (0, 1):
            yield from _conv3x3(f"decoder/decoder_conv{number}", f"decoder.refine.0.{number}", separable=True)
    yield "logits/semantic", ("classifier", "")


def _conv3x3(scope: str, name: str, separable: bool) -> Iterator[tuple[str, Place]]:
    if separable:
        yield f"{scope}_depthwise", (f"{name}.0", f"{name}.1")
        yield f"{scope}_pointwise", (f"{name}.3", f"{name}.4")
    else:
        yield scope, (f"{name}.0", f"{name}.1")


def _xception_places(depth: int) -> Iterator[tuple[str, Place]]:
    root = f"xception_{depth}"
    for number in (1, 2):
        yield f"{root}/entry_flow/conv1_{number}", _conv_bn(f"backbone.stem.{number - 1}")
    num_entry = len(FLOWS[depth][0])
    blocks = [f"entry_flow/block{number}/unit_1" for number in range(1, num_entry + 1)]
    blocks += [f"middle_flow/block1/unit_{number}" for number in range(1, FLOWS[depth][2] + 1)]
    blocks += [f"exit_flow/block{number}/unit_1" for number in (1, 2)]
    for index, block in enumerate(blocks):
        scope, name = f"{root}/{block}/xception_module", f"backbone.blocks.{index}"
        yield f"{scope}/shortcut", _conv_bn(f"{name}.shortcut")
        for number in (1, 2, 3):
            unit = f"{name}.stack.conv{number}"
            yield f"{scope}/separable_conv{number}_depthwise", (f"{unit}.conv_dw", f"{unit}.bn_dw")
            yield f"{scope}/separable_conv{number}_pointwise", (f"{unit}.conv_pw", f"{unit}.bn_pw")


def _conv_bn(name: str) -> Place:
    return f"{name}.conv", f"{name}.bn"


def _resnet_places(depth: int) -> Iterator[tuple[str, Place]]:
    root = f"resnet_v1_{depth}"
    for number, place in enumerate((("0", "1"), ("3", "4")), 1):
        yield f"{root}/conv1_{number}", (f"backbone.conv1.{place[0]}", f"backbone.conv1.{place[1]}")
    yield f"{root}/conv1_3", ("backbone.conv1.6", "backbone.bn1")
    for block, num_units in enumerate(UNITS[depth], 1):
        for unit in range(num_units):
            scope = f"{root}/block{block}/unit_{unit + 1}/bottleneck_v1"
            name = f"backbone.layer{block}.{unit}"
            yield f"{scope}/shortcut", (f"{name}.downsample.0", f"{name}.downsample.1")
            for number in (1, 2, 3):
                yield f"{scope}/conv{number}", (f"{name}.conv{number}", f"{name}.bn{number}")
