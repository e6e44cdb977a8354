"""Networks of the authors' Caffe releases of v1 and v2, built from the layers of a caffemodel.

The networks take BGR images in 0..255 minus the mean (the "caffe" normalisation). The names of layers are those of the
releases' prototxt files; fc8_voc12 and fc1_voc12_c0 contain the name of the data set.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeplab_lightning.models.deeplab_v1 import DeepLabV1
from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.models.resnet import UNITS
from deeplab_lightning.published.formats.caffe import Layer
from deeplab_lightning.published.importing import Imported, StartPoint, fill

VGG_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""The indices of conv1_1 to conv5_3 in torchvision's VGG-16, whose names the trunk has."""
VGG_NAMES = tuple(
    f"conv{block}_{unit}" for block, units in enumerate((2, 2, 3, 3, 3), 1) for unit in range(1, units + 1)
)
MSC_SOURCES = ("data", "pool1", "pool2", "pool3", "pool4")
INPUT_SCALES = (1.0, 0.75, 0.5)
COPY = re.compile(r".*_res0?\d+(_.*)?")
"""The names of layers of the v2 ResNet that repeat others, with the same arrays, for its two smaller input scales."""

Place = tuple[str, str]
"""A layer and the name of the module that takes its arrays."""
Plan = tuple[type[SegmentationNetwork], dict[str, Any], list[Place]]
"""The class of a network, its arguments, and the places of all layers."""


HEAD = re.compile(r"fc([67])(_(\d))?")
"""The names of VGG's fully connected layers, of one branch or of several."""


def from_caffe(layers: Sequence[Layer]) -> Imported[SegmentationNetwork]:
    """Build the released segmentation network that has these layers; its logits are those of test.prototxt.

    Args:
        layers: All layers, including those without arrays, because the inputs of layers identify the branches of MSc.

    Raises:
        ValueError: The layers belong to another network; the message says which.
    """
    own, copies = _own(layers)
    if "conv1_1" in own:
        kind, settings, places = _vgg(own)
    elif "bn_conv1" in own:
        kind, settings, places = _resnet(own, len(copies) > 0)
    else:
        raise ValueError(f"not a known network of the releases; its first layers are {', '.join([*own][:8])}")
    if left_over := sorted(set(own) - {name for name, _ in places}):
        raise ValueError(f"the file has layer {left_over[0]}, which the network does not need")
    return fill(kind, settings, _placed(own, places), copies)


def start_from_caffe(layers: Sequence[Layer]) -> StartPoint:
    """Return the start of a training: the trunk of a network, and a VGG-16's fc6 and fc7 where they are convolutions.

    vgg16_20M.caffemodel is v1's start, with an fc6 of 3x3; the init.caffemodel of v2's ResNet-101 was trained on COCO,
    and its classifier of 91 classes is dropped.

    Args:
        layers: All layers of the file.

    Raises:
        ValueError: The layers have no trunk of a released network.
    """
    own, copies = _own(layers)
    settings: dict[str, Any] = {}
    if "conv1_1" in own:
        places = [(name, f"backbone.features.{index}") for name, index in zip(VGG_NAMES, VGG_INDICES, strict=True)]
        for name, layer in own.items():
            match = HEAD.fullmatch(name)
            if match and layer.blobs[0].ndim == 4:
                branch = f".branches.{int(match[3]) - 1}" if match[3] else ""
                places.append((name, f"head{branch}.{0 if match[1] == '6' else 3}"))
        if ("fc6", "head.0") in places:
            channels, _, kernel_size, _ = own["fc6"].blobs[0].shape
            settings = {"kernel_size": kernel_size, "fc_channels": channels}
    elif "bn_conv1" in own:
        depth = 101 if "res4b1_branch2a" in own else 50
        settings = {"backbone": f"resnet{depth}", "stride_unit": "first_1x1"}
        places = [*_resnet_places(depth)]
    else:
        raise ValueError(f"not a known network of the releases; its first layers are {', '.join([*own][:8])}")
    dropped = [name for name in own if name not in {name for name, _ in places}]
    return StartPoint(settings, _placed(own, places), (*dropped, *copies))


def _own(layers: Sequence[Layer]) -> tuple[dict[str, Layer], list[str]]:
    """Return the layers with arrays by name, and the names of those that repeat others for smaller input scales."""
    named = {layer.name: layer for layer in layers if layer.blobs}
    copies = [name for name in named if COPY.fullmatch(name)]
    return {name: layer for name, layer in named.items() if name not in copies}, copies


def _placed(layers: Mapping[str, Layer], places: Sequence[Place]) -> dict[str, tuple[str, Tensor]]:
    """Return the arrays of layers by the names of the network's tensors."""
    tensors: dict[str, tuple[str, Tensor]] = {}
    for name, target in places:
        if name not in layers:
            raise ValueError(f"the network needs layer {name}, which the file does not have")
        for part, tensor in _tensors(layers[name]).items():
            tensors[f"{target}.{part}"] = (f"{name} {part}", tensor)
    return tensors


def _tensors(layer: Layer) -> dict[str, Tensor]:
    """Return the arrays of a layer by their names in torch.

    Caffe's BatchNorm stores its statistics multiplied by its third array. The weights are in the Scale layer after it.
    """
    arrays = [torch.from_numpy(np.array(blob, np.float32)) for blob in layer.blobs]
    if layer.kind == "BatchNorm":
        if len(arrays) != 3:
            raise ValueError(f"layer {layer.name} has {len(arrays)} arrays instead of mean, variance and factor")
        mean, variance, factor = arrays
        share = 1 / factor if factor.item() else factor
        return {"running_mean": mean * share, "running_var": variance * share}
    if len(arrays) > 2:
        raise ValueError(f"layer {layer.name} has {len(arrays)} arrays instead of weights and biases")
    return dict(zip(("weight", "bias"), arrays, strict=False))


def _vgg(layers: Mapping[str, Layer]) -> Plan:
    """Plan a network on VGG-16: one of v1, or that of v2 with a branch per rate."""
    places = [(name, f"backbone.features.{index}") for name, index in zip(VGG_NAMES, VGG_INDICES, strict=True)]
    branches = sorted(name for name in layers if re.fullmatch(r"fc6_\d", name))
    classifiers = [name for name in layers if re.fullmatch(r"fc8_(?!.*_\d$).+", name)]
    if branches:
        rates = [layers[name].dilation for name in branches]
        scores = [_only(layers, rf"fc8_.+_{number}") for number in range(1, len(branches) + 1)]
        for index, (fc6, fc8) in enumerate(zip(branches, scores, strict=True)):
            places += [(fc6, f"head.branches.{index}.0"), (fc6.replace("fc6", "fc7"), f"head.branches.{index}.3")]
            places.append((fc8, f"classifier.{index}"))
        classes = len(layers[scores[0]].blobs[0])
        return DeepLabV2, {"num_classes": classes, "backbone": "vgg16", "atrous_rates": rates}, places
    if len(classifiers) != 1 or "fc6" not in layers:
        raise ValueError(
            f"a VGG-16 without the classifier of a segmentation network; its last layer is {[*layers][-1]}"
        )
    first, score = layers["fc6"], classifiers[0]
    places += [("fc6", "head.0"), ("fc7", "head.3"), (score, "classifier.0")]
    chains = [_branch(layers, source) for source in MSC_SOURCES]
    for index, chain in enumerate(chain for chain in chains if chain):
        targets = (f"decoder.branches.{index}.0", f"decoder.branches.{index}.3", f"classifier.{index + 1}")
        places += zip(chain, targets, strict=True)
    settings = {
        "num_classes": len(layers[score].blobs[0]),
        "kernel_size": first.blobs[0].shape[2],
        "rate": first.dilation,
        "fc_channels": 1024 if first.blobs[0].shape[2] == 3 else 4096,  # v1, sections 4.1 and 5
        "multi_scale": any(chains),
        "pool5a": first.bottoms == ("pool5a",),
    }
    return DeepLabV1, settings, places


def _branch(layers: Mapping[str, Layer], source: str) -> tuple[str, str, str] | None:
    """Return the three convolutions of the MSc branch that reads `source`; None if there is none."""
    trunk = {*VGG_NAMES, "fc6"}
    first = next((name for name, layer in layers.items() if source in layer.bottoms and name not in trunk), None)
    if first is None:
        return None
    chain = [first]
    while len(chain) < 3:
        tops = layers[chain[-1]].tops
        follower = next((name for name, layer in layers.items() if set(tops) & set(layer.bottoms)), None)
        if follower is None:
            raise ValueError(f"the MSc branch of {source} ends in layer {chain[-1]}, before its classifier")
        chain.append(follower)
    return chain[0], chain[1], chain[2]


def _resnet(layers: Mapping[str, Layer], has_copies: bool) -> Plan:
    """Plan v2's network on a ResNet, with one classifier per rate."""
    depth = 101 if "res4b1_branch2a" in layers else 50
    scores = sorted(name for name in layers if re.fullmatch(r"fc1_.+_c\d", name))
    if not scores:
        raise ValueError(
            "a ResNet without the classifiers of DeepLab v2 (fc1_voc12_c0 and so on); only its trunk can be used"
        )
    places = [*_resnet_places(depth), *((name, f"classifier.{index}") for index, name in enumerate(scores))]
    settings = {
        "num_classes": len(layers[scores[0]].blobs[0]),
        "backbone": f"resnet{depth}",
        "atrous_rates": [layers[name].dilation for name in scores],
        "input_scales": INPUT_SCALES if has_copies else (1.0,),
    }
    return DeepLabV2, settings, places


def _resnet_places(depth: int) -> Iterator[Place]:
    yield from _conv_bn("", "conv1", "backbone.conv1", "backbone.bn1")
    for stage, num_units in enumerate(UNITS[depth], 2):
        for unit in range(num_units):
            # Caffe's ResNet-101 names the units of these stages a, b1, b2, ...; all other units are a, b, c, ...
            numbered = depth == 101 and stage in (3, 4)
            letter = "a" if unit == 0 else f"b{unit}" if numbered else "abcdef"[unit]
            name = f"backbone.layer{stage - 1}.{unit}"
            if unit == 0:
                yield from _conv_bn("res", f"{stage}a_branch1", f"{name}.downsample.0", f"{name}.downsample.1")
            for number, branch in enumerate(("2a", "2b", "2c"), 1):
                yield from _conv_bn(
                    "res", f"{stage}{letter}_branch{branch}", f"{name}.conv{number}", f"{name}.bn{number}"
                )


def _conv_bn(prefix: str, layer: str, conv: str, norm: str) -> Iterator[Place]:
    """Yield a convolution and the two layers of its batch norm: bn_conv1 of conv1, bn2a_branch1 of res2a_branch1."""
    behind = layer if prefix else f"_{layer}"
    yield f"{prefix}{layer}", conv
    yield f"bn{behind}", norm
    yield f"scale{behind}", norm


def _only(layers: Mapping[str, Layer], pattern: str) -> str:
    found = [name for name in layers if re.fullmatch(pattern, name)]
    if len(found) != 1:
        raise ValueError(f"the file has {len(found)} layers with a name like {pattern}, but one is needed")
    return found[0]
