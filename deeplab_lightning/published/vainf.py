"""DeepLabv3 and v3+ on ResNets of VainF/DeepLabV3Plus-Pytorch (`["model_state"]` of its files)."""

from typing import Any

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.published.importing import Imported, fill
from deeplab_lightning.published.state_dicts import (
    StateDict,
    aspp_rules,
    num_classes,
    rename,
    resnet_depth,
    swap_inputs,
)

LOW_LEVEL_CHANNELS = 48
RATES = (6, 12, 18)
BACKBONE = (r"backbone\.", "backbone.")


V3 = [
    BACKBONE,
    *aspp_rules(r"classifier\.classifier\.0\."),
    (r"classifier\.classifier\.1\.", "aspp.conv3x3.0."),
    (r"classifier\.classifier\.2\.", "aspp.conv3x3.1."),
    (r"classifier\.classifier\.4\.", "classifier."),
]
V3_PLUS = [
    BACKBONE,
    *aspp_rules(r"classifier\.aspp\."),
    (r"classifier\.project\.", "decoder.reduce.0."),
    (r"classifier\.classifier\.([01])\.", r"decoder.refine.0.0.\1."),
    (r"classifier\.classifier\.3\.", "classifier."),
]


def from_vainf(state_dict: StateDict, output_stride: int = 16) -> Imported[SegmentationNetwork]:
    """The network with that `model_state`; its inputs have the "imagenet" normalisation.

    Its decoder concatenates low-level features and those of the encoder in the other order. Input channels of the
    decoder's convolution change places therefore; if names alone changed, the network would load and be wrong.

    Args:
        state_dict: The tensors by name.
        output_stride: 16 or 8, with rates of ASPP twice as large; the published scores are at 16.

    Raises:
        ValueError: The tensors are of another network, or of one on a MobileNet.
    """
    if any(name.startswith("backbone.low_level_features.") for name in state_dict):
        raise ValueError(
            "the MobileNet of VainF pads before the 1x1 expansion of each block, so that batch norm acts on the "
            "padding; it cannot be expressed here"
        )
    settings: dict[str, Any] = {
        "backbone": f"resnet{resnet_depth(state_dict)}",
        "output_stride": output_stride,
        "atrous_rates": tuple(rate * 16 // output_stride for rate in RATES),
    }
    if "classifier.project.0.weight" not in state_dict:
        settings |= {"num_classes": num_classes(state_dict, "classifier.classifier.4.weight"), "aspp_conv3x3": True}
        return fill(DeepLabV3, settings, rename(state_dict, V3))
    tensors = rename(state_dict, V3_PLUS)
    swap_inputs(tensors, "decoder.refine.0.0.0.weight", LOW_LEVEL_CHANNELS)
    settings |= {"num_classes": num_classes(state_dict, "classifier.classifier.3.weight"), "decoder_convs": 1}
    return fill(DeepLabV3Plus, settings, tensors)
