"""DeepLabV3 and DeepLabV3Plus of segmentation-models-pytorch."""

from collections.abc import Sequence
from typing import Any, Literal

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.resnet import RESNETS
from deeplab_lightning.published.importing import Imported, fill
from deeplab_lightning.published.state_dicts import StateDict, aspp_rules, num_classes, rename

CLASSIFIER = (r"segmentation_head\.0\.", "classifier.")
V3 = [
    CLASSIFIER,
    *aspp_rules(r"decoder\.aspp\."),
    (r"decoder\.conv\.", "aspp.conv3x3.0."),
    (r"decoder\.bn\.", "aspp.conv3x3.1."),
]
V3_PLUS = [
    CLASSIFIER,
    *aspp_rules(r"decoder\.aspp\.0\.", separable=True),
    (r"decoder\.aspp\.1\.", "aspp.conv3x3."),
    (r"decoder\.aspp\.2\.", "aspp.conv3x3.2."),
    (r"decoder\.block1\.", "decoder.reduce.0."),
    (r"decoder\.block2\.0\.", "decoder.refine.0.0."),
    (r"decoder\.block2\.1\.", "decoder.refine.0.0.2."),
]


def from_smp(
    architecture: Literal["DeepLabV3", "DeepLabV3Plus"],
    encoder: str,
    state_dict: StateDict,
    output_stride: int | None = None,
    atrous_rates: Sequence[int] = (12, 24, 36),
) -> Imported[DeepLabV3] | Imported[DeepLabV3Plus]:
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
    settings: dict[str, Any] = {
        "num_classes": num_classes(state_dict, "segmentation_head.0.weight"),
        "backbone": encoder if own or encoder.startswith("tu-") else f"smp-{encoder}",
        "output_stride": output_stride or (8 if architecture == "DeepLabV3" else 16),
        "atrous_rates": atrous_rates,
        "stride_unit": "first_dilated" if own else "first",
        "aspp_channels": state_dict["segmentation_head.0.weight"].shape[1],
        "dropout": 0.5,
        "aspp_conv3x3": True,
        "align_corners": True,
    }
    backbone = (r"encoder\.", "backbone." if own else "backbone.encoder.")
    if architecture == "DeepLabV3":
        return fill(DeepLabV3, settings, rename(state_dict, [*V3, backbone]))
    if architecture != "DeepLabV3Plus":
        raise ValueError(f"architecture must be 'DeepLabV3' or 'DeepLabV3Plus', got {architecture!r}")
    settings |= {"decoder_channels": settings["aspp_channels"], "decoder_convs": 1}
    settings |= {"separable": True, "depthwise_norm": False}
    return fill(DeepLabV3Plus, settings, rename(state_dict, [*V3_PLUS, backbone]))
