"""DeepLab v2 on a ResNet-101 of kazuto1011/deeplab-pytorch."""

import re
from typing import Literal

from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.published.importing import Imported, fill
from deeplab_lightning.published.state_dicts import Rule, StateDict, num_classes, rename

PARTS = {"reduce": ("conv1", "bn1"), "conv3x3": ("conv2", "bn2"), "increase": ("conv3", "bn3")}
PARTS["shortcut"] = ("downsample.0", "downsample.1")


def _unit(match: re.Match[str]) -> str:
    layer, unit, part, kind = match.groups()
    return f"backbone.layer{int(layer) - 1}.{int(unit) - 1}.{PARTS[part][kind == 'bn']}."


RULES: list[Rule] = [
    (r"layer1\.conv1\.conv\.", "backbone.conv1."),
    (r"layer1\.conv1\.bn\.", "backbone.bn1."),
    (r"layer([2345])\.block(\d+)\.(\w+)\.(conv|bn)\.", _unit),
    (r"aspp\.c(\d)\.", r"classifier.\1."),
]


def from_kazuto1011(
    name: Literal["deeplabv2_resnet101", "deeplabv2_resnet101_msc"], state_dict: StateDict
) -> Imported[DeepLabV2]:
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
    settings = {
        "num_classes": num_classes(state_dict, "aspp.c0.weight"),
        "backbone": "resnet101",
        "input_scales": (1.0, 0.5, 0.75) if multi_scale else (1.0,),
        "align_corners": False,
    }
    return fill(DeepLabV2, settings, rename(state_dict, RULES))
