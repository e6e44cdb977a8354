"""DeepLabv3 of torchvision.models.segmentation."""

from typing import Literal

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.published.importing import Imported, fill
from deeplab_lightning.published.state_dicts import StateDict, aspp_rules, num_classes, rename

Name = Literal["deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"]
AUXILIARY = "aux_classifier."
RULES = [
    *aspp_rules(r"classifier\.0\."),
    (r"classifier\.1\.", "aspp.conv3x3.0."),
    (r"classifier\.2\.", "aspp.conv3x3.1."),
    (r"classifier\.4\.", "classifier."),
]


def from_torchvision(name: Name, state_dict: StateDict) -> Imported[DeepLabV3]:
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
    settings = {
        "num_classes": num_classes(state_dict, "classifier.4.weight"),
        "backbone": name.removeprefix("deeplabv3_"),
        "output_stride": 16 if mobile else 8,
        "atrous_rates": (12, 24, 36),
        "stride_unit": "first_dilated" if mobile else "first",
        "dropout": 0.5,
        "aspp_conv3x3": True,
    }
    backbone = (r"backbone\.", "backbone.features." if mobile else "backbone.")
    kept = {key: value for key, value in state_dict.items() if not key.startswith(AUXILIARY)}
    return fill(DeepLabV3, settings, rename(kept, [*RULES, backbone]), state_dict.keys() - kept.keys())
