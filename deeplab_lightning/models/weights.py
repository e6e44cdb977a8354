"""Conversion of published segmentation checkpoints to networks of this package that give the same logits.

Each function takes the source's state dictionary, renames its tensors and returns the network in evaluation mode. If
tensors are left over on either side, the error lists them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from torch import Tensor

from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.models.resnet import RESNETS

StateDict = Mapping[str, Tensor]
Network = TypeVar("Network", bound=SegmentationNetwork)

# The ASPP of torchvision and segmentation-models-pytorch: (pattern, replacement); the first matching one is applied.
ASPP = [
    (r"\.convs\.4\.1\.", ".branches.4.conv."),
    (r"\.convs\.4\.2\.", ".branches.4.bn."),
    (r"\.convs\.(\d)\.", r".branches.\1."),
]
SEPARABLE_ASPP = [
    *ASPP[:2],
    (r"\.convs\.([123])\.0\.", r".branches.\1."),
    (r"\.convs\.([123])\.1\.", r".branches.\1.2."),
    ASPP[2],
]
SMP = [(r"^segmentation_head\.0\.", "classifier.")]
SMP_V3 = [
    (r"^decoder\.conv\.", "aspp.conv3x3.0."),
    (r"^decoder\.bn\.", "aspp.conv3x3.1."),
    (r"^decoder\.aspp\.", "aspp."),
]
SMP_V3PLUS = [
    (r"^decoder\.aspp\.0\.", "aspp."),
    (r"^decoder\.aspp\.1\.", "aspp.conv3x3."),
    (r"^decoder\.aspp\.2\.", "aspp.conv3x3.2."),
    (r"^decoder\.block1\.", "decoder.reduce.0."),
    (r"^decoder\.block2\.0\.", "decoder.refine.0.0."),
    (r"^decoder\.block2\.1\.", "decoder.refine.0.0.2."),
]
KAZUTO1011 = [
    (r"layer1\.conv1\.conv\.", "backbone.conv1."),
    (r"layer1\.conv1\.bn\.", "backbone.bn1."),
    (r"aspp\.c(\d)\.", r"classifier.\1."),
]
KAZUTO1011_UNIT = {"reduce": ("conv1", "bn1"), "conv3x3": ("conv2", "bn2"), "increase": ("conv3", "bn3")}
KAZUTO1011_UNIT["shortcut"] = ("downsample.0", "downsample.1")


def from_torchvision(
    name: Literal["deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"], state_dict: StateDict
) -> DeepLabV3:
    """Convert a DeepLabv3 of torchvision; its auxiliary classifier, used in training only, is left out.

    Args:
        name: Name in torchvision.models.segmentation.
        state_dict: Tensors of that model, for example `DeepLabV3_ResNet50_Weights.DEFAULT.get_state_dict()`.

    Raises:
        ValueError: The model is unknown, or tensors are left over or missing.
    """
    if name not in ("deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"):
        raise ValueError(f"torchvision has no DeepLabv3 named {name!r}")
    mobile = name == "deeplabv3_mobilenet_v3_large"
    network = DeepLabV3(
        _num_classes(state_dict, "classifier.4.weight"),
        name.removeprefix("deeplabv3_"),
        output_stride=16 if mobile else 8,
        atrous_rates=(12, 24, 36),
        stride_unit="first_dilated" if mobile else "first",
        dropout=0.5,
        aspp_conv3x3=True,
    )
    rules = [
        (r"^classifier\.4\.", "classifier."),
        (r"^classifier\.([12])\.", lambda match: f"aspp.conv3x3.{int(match[1]) - 1}."),
        (r"^classifier\.0\.", "aspp."),
        *([(r"^backbone\.", "backbone.features.")] if mobile else []),
    ]
    kept = {key: value for key, value in state_dict.items() if not key.startswith("aux_classifier.")}
    return _load(network, _rename(_rename(kept, rules), ASPP))


def from_smp(
    architecture: Literal["DeepLabV3", "DeepLabV3Plus"],
    encoder: str,
    state_dict: StateDict,
    output_stride: int | None = None,
    atrous_rates: Sequence[int] = (12, 24, 36),
) -> DeepLabV3 | DeepLabV3Plus:
    """Convert a network of segmentation-models-pytorch.

    Args:
        architecture: Name of the network's class in segmentation-models-pytorch.
        encoder: The network's `encoder_name`.
        state_dict: The network's tensors.
        output_stride: The network's `encoder_output_stride`; if not given, the default of segmentation-models-pytorch
            (8 for DeepLabV3, 16 for DeepLabV3Plus).
        atrous_rates: The network's `decoder_atrous_rates`.

    Raises:
        ValueError: The class is unknown, or tensors are left over or missing.
    """
    own = encoder in RESNETS
    num_classes = _num_classes(state_dict, "segmentation_head.0.weight")
    settings: dict[str, Any] = {
        "backbone": encoder if own or encoder.startswith("tu-") else f"smp-{encoder}",
        "output_stride": output_stride or (8 if architecture == "DeepLabV3" else 16),
        "atrous_rates": atrous_rates,
        "stride_unit": "first_dilated" if own else "first",
        "aspp_channels": state_dict["segmentation_head.0.weight"].shape[1],
        "dropout": 0.5,
        "aspp_conv3x3": True,
        "align_corners": True,
    }
    renamed = _rename(state_dict, [*SMP, (r"^encoder\.", "backbone." if own else "backbone.encoder.")])
    if architecture == "DeepLabV3":
        network = DeepLabV3(num_classes, **settings)
        return _load(network, _rename(_rename(renamed, SMP_V3), ASPP))
    if architecture != "DeepLabV3Plus":
        raise ValueError(f"architecture must be 'DeepLabV3' or 'DeepLabV3Plus', got {architecture!r}")
    decoder = {"decoder_channels": settings["aspp_channels"], "decoder_convs": 1}
    plus = DeepLabV3Plus(num_classes, separable=True, depthwise_norm=False, **decoder, **settings)
    return _load(plus, _rename(_rename(renamed, SMP_V3PLUS), SEPARABLE_ASPP))


def from_kazuto1011(
    name: Literal["deeplabv2_resnet101", "deeplabv2_resnet101_msc"], state_dict: StateDict
) -> DeepLabV2:
    """Convert the ResNet-101 DeepLab v2 of kazuto1011/deeplab-pytorch.

    The network takes BGR images in 0..255 minus the mean (the "caffe" normalisation).

    Args:
        name: Name of the model; "_msc" has multi-scale inputs.
        state_dict: Tensors of the model; every name begins with "base." if the model has multi-scale inputs.

    Raises:
        ValueError: The model is unknown, or tensors are left over or missing.
    """
    if name not in ("deeplabv2_resnet101", "deeplabv2_resnet101_msc"):
        raise ValueError(f"kazuto1011/deeplab-pytorch has no model named {name!r}")
    multi_scale = name.endswith("_msc")
    if multi_scale:
        state_dict = {key.removeprefix("base."): value for key, value in state_dict.items()}
    network = DeepLabV2(
        _num_classes(state_dict, "aspp.c0.weight"),
        "resnet101",
        input_scales=(1.0, 0.5, 0.75) if multi_scale else (1.0,),
        align_corners=False,
    )
    rules = [*KAZUTO1011, (r"^layer([2345])\.block(\d+)\.(\w+)\.(conv|bn)\.", _kazuto1011_unit)]
    return _load(network, _rename(state_dict, rules))


def _kazuto1011_unit(match: re.Match[str]) -> str:
    layer, unit, part, kind = match.groups()
    return f"backbone.layer{int(layer) - 1}.{int(unit) - 1}.{KAZUTO1011_UNIT[part][kind == 'bn']}."


def _num_classes(state_dict: StateDict, key: str) -> int:
    if key not in state_dict:
        raise ValueError(f"the state dictionary has no tensor {key}, which gives the number of classes")
    return len(state_dict[key])


def _rename(state_dict: StateDict, rules: Sequence[tuple[str, object]]) -> StateDict:
    """Rename each key by the first rule that matches it."""
    return {_renamed(key, rules): value for key, value in state_dict.items()}


def _renamed(key: str, rules: Sequence[tuple[str, object]]) -> str:
    for pattern, replacement in rules:
        if re.search(pattern, key):
            return re.sub(pattern, replacement, key, count=1)  # type: ignore[call-overload, no-any-return]
    return key


def _load(network: Network, state_dict: StateDict) -> Network:
    own = network.state_dict()
    missing, left_over = sorted(set(own) - set(state_dict)), sorted(set(state_dict) - set(own))
    if missing or left_over:
        raise ValueError(f"the state dictionary does not fit: missing {missing}, left over {left_over}")
    network.load_state_dict(dict(state_dict))
    return network.eval()
