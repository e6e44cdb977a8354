"""DeepLabV3 and DeepLabV3Plus of segmentation-models-pytorch, from their tensors or from a folder of its hub."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.resnet import RESNETS
from deeplab_lightning.published.importing import Imported, fill
from deeplab_lightning.published.state_dicts import Rule, StateDict, aspp_rules, num_classes, rename

CLASSIFIER: Rule = (r"segmentation_head\.0\.", "classifier.")
V3: list[Rule] = [
    CLASSIFIER,
    (r"decoder\.conv\.", "aspp.conv3x3.0."),
    (r"decoder\.bn\.", "aspp.conv3x3.1."),
]
V3_PLUS: list[Rule] = [
    CLASSIFIER,
    (r"decoder\.aspp\.1\.", "aspp.conv3x3."),
    (r"decoder\.aspp\.2\.", "aspp.conv3x3.2."),
    (r"decoder\.block1\.", "decoder.reduce.0."),
    (r"decoder\.block2\.0\.", "decoder.refine.0.0."),
    (r"decoder\.block2\.1\.", "decoder.refine.0.0.2."),
]
CLASSIFICATION = "classification_head."
"""Tensors of the head for whole images (`aux_params`), which segmentation does not need."""
ARCHITECTURES = {"DeepLabV3": 8, "DeepLabV3Plus": 16}
"""The networks, with the output strides that they have by default."""
EXPRESSED = {
    *("encoder_name", "encoder_output_stride", "decoder_channels", "decoder_atrous_rates", "decoder_aspp_separable"),
    *("decoder_aspp_dropout", "classes", "aux_params", "encoder_weights", "_model_class"),
}
"""Options of the config that any value may have; `encoder_weights` says where the encoder started."""
FIXED: dict[str, Any] = {"encoder_depth": 5, "in_channels": 3, "activation": None}
"""Options that are expressed with one value only."""


def from_smp(
    architecture: Literal["DeepLabV3", "DeepLabV3Plus"],
    encoder: str,
    state_dict: StateDict,
    output_stride: int | None = None,
    atrous_rates: Sequence[int] = (12, 24, 36),
) -> Imported[DeepLabV3] | Imported[DeepLabV3Plus]:
    """Convert a network of segmentation-models-pytorch whose other options have their defaults.

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
    config = {"_model_class": architecture, "encoder_name": encoder, "decoder_atrous_rates": atrous_rates}
    return from_smp_config(config | ({"encoder_output_stride": output_stride} if output_stride else {}), state_dict)


def from_smp_config(config: Mapping[str, Any], state_dict: StateDict) -> Imported[DeepLabV3] | Imported[DeepLabV3Plus]:
    """Convert a network with the options of its config.json, as `save_pretrained` writes them.

    Args:
        config: The options; those that are missing have the defaults of segmentation-models-pytorch.
        state_dict: The network's tensors.

    Raises:
        ValueError: The class or an option cannot be expressed here, or tensors are left over or missing.
    """
    architecture = config.get("_model_class")
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be 'DeepLabV3' or 'DeepLabV3Plus', got {architecture!r}")
    output_stride = config.get("encoder_output_stride", ARCHITECTURES[architecture])
    _refuse_others(config, (None, output_stride) if architecture == "DeepLabV3" else (4,))
    encoder = config.get("encoder_name", "resnet34")
    own = encoder in RESNETS
    settings: dict[str, Any] = {
        "num_classes": num_classes(state_dict, "segmentation_head.0.weight"),
        "backbone": encoder if own or encoder.startswith("tu-") else f"smp-{encoder}",
        "output_stride": output_stride,
        "atrous_rates": tuple(config.get("decoder_atrous_rates", (12, 24, 36))),
        "stride_unit": "first_dilated" if own else "first",
        "aspp_channels": state_dict["segmentation_head.0.weight"].shape[1],
        "dropout": config.get("decoder_aspp_dropout", 0.5),
        "aspp_conv3x3": True,
        "align_corners": True,
    }
    separable = bool(config.get("decoder_aspp_separable", architecture == "DeepLabV3Plus"))
    backbone: Rule = (r"encoder\.", "backbone." if own else "backbone.encoder.")
    kept = {name: tensor for name, tensor in state_dict.items() if not name.startswith(CLASSIFICATION)}
    ignored = state_dict.keys() - kept.keys()
    if architecture == "DeepLabV3":
        settings |= {"aspp_separable": separable, "aspp_depthwise_norm": not separable}
        rules = [backbone, *V3, *aspp_rules(r"decoder\.aspp\.", separable)]
        return fill(DeepLabV3, settings, rename(kept, rules), ignored)
    settings |= {"decoder_channels": settings["aspp_channels"], "decoder_convs": 1}
    settings |= {"separable": True, "depthwise_norm": False, "plain_aspp": not separable}
    rules = [backbone, *V3_PLUS, *aspp_rules(r"decoder\.aspp\.0\.", separable)]
    return fill(DeepLabV3Plus, settings, rename(kept, rules), ignored)


def _refuse_others(config: Mapping[str, Any], upsampling: Sequence[int | None]) -> None:
    """Refuse options that change the network in a way that has no counterpart here."""
    for name, value in config.items():
        if name == "upsampling":
            if value not in upsampling:
                raise ValueError(
                    f"upsampling {value} of the config cannot be expressed here: logits have the images' size"
                )
        elif name in FIXED:
            if value != FIXED[name]:
                raise ValueError(f"{name} {value!r} of the config cannot be expressed here, only {FIXED[name]!r}")
        elif name not in EXPRESSED:
            raise ValueError(f"option {name!r} of the config cannot be expressed here")
