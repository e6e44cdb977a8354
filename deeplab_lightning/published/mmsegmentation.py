"""DeepLabv3 and v3+ on ResNets of open-mmlab/mmsegmentation (`["state_dict"]` of its files)."""

from typing import Any, Literal

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.published.importing import Imported, fill
from deeplab_lightning.published.state_dicts import (
    Rule,
    StateDict,
    num_classes,
    rename,
    resnet_depth,
    swap_inputs,
)

RATES = (6, 12, 18)
AUXILIARY = "auxiliary_head."
HEAD = r"decode_head\."


def _separable(source: str, own: str) -> list[Rule]:
    return [
        (rf"{source}\.depthwise_conv\.conv\.", rf"{own}.0."),
        (rf"{source}\.depthwise_conv\.bn\.", rf"{own}.1."),
        (rf"{source}\.pointwise_conv\.conv\.", rf"{own}.3."),
        (rf"{source}\.pointwise_conv\.bn\.", rf"{own}.4."),
    ]


def _conv_bn(source: str, own: str) -> list[Rule]:
    return [(rf"{source}\.conv\.", rf"{own}.0."), (rf"{source}\.bn\.", rf"{own}.1.")]


RULES: list[Rule] = [
    (r"backbone\.stem\.6\.", "backbone.conv1.6."),
    (r"backbone\.stem\.7\.", "backbone.bn1."),
    (r"backbone\.stem\.", "backbone.conv1."),
    (r"backbone\.", "backbone."),
    (rf"{HEAD}image_pool\.1\.", "aspp.branches.4."),
    *_conv_bn(rf"{HEAD}aspp_modules\.(\d)", r"aspp.branches.\1"),
    *_separable(rf"{HEAD}aspp_modules\.(\d)", r"aspp.branches.\1"),
    *_conv_bn(rf"{HEAD}bottleneck", "aspp.project"),
    *_conv_bn(rf"{HEAD}c1_bottleneck", "decoder.reduce.0"),
    *_separable(rf"{HEAD}sep_bottleneck\.(\d)", r"decoder.refine.0.\1"),
    (rf"{HEAD}conv_seg\.", "classifier."),
]


def from_mmsegmentation(
    state_dict: StateDict, output_stride: Literal[8, 16] = 8, align_corners: bool = False
) -> Imported[DeepLabV3] | Imported[DeepLabV3Plus]:
    """Convert a network whose tensors are those of a `state_dict`; its inputs have the "imagenet" normalisation.

    The names of the tensors do not tell the output stride and the grid of resizing; the name of the file does. The
    auxiliary head, which only training uses, is left out.

    Args:
        state_dict: The tensors by name.
        output_stride: 8 for files with "d8" in their names, 16 for "d16-mg124".
        align_corners: True for files with "769x769" in their names.

    Raises:
        ValueError: The tensors are of another network, or of one on a ResNet-18 or a MobileNet.
    """
    if "backbone.layer1.0.conv2.weight" in state_dict and "backbone.layer1.0.conv3.weight" not in state_dict:
        raise ValueError(
            "mmsegmentation never dilates the second 3x3 of a ResNet-18's units; the network cannot be expressed here"
        )
    if "backbone.layer1.0.conv.0.conv.weight" in state_dict:
        raise ValueError(
            "mmsegmentation dilates only the first block of each stage of its MobileNetV2; the network cannot be "
            "expressed here"
        )
    kept = {name: tensor for name, tensor in state_dict.items() if not name.startswith(AUXILIARY)}
    tensors, settings = rename(kept, RULES), _settings(kept, output_stride, align_corners)
    channels = settings["aspp_channels"]
    if "aspp.project.0.weight" in tensors:
        swap_inputs(tensors, "aspp.project.0.weight", channels)  # image pooling is the first branch there
    ignored = state_dict.keys() - kept.keys()
    if "decode_head.c1_bottleneck.conv.weight" not in kept:
        return fill(DeepLabV3, settings, tensors, ignored)
    settings |= {"separable": True, "decoder_channels": channels}
    return fill(DeepLabV3Plus, settings, tensors, ignored)


def _settings(state_dict: StateDict, output_stride: int, align_corners: bool) -> dict[str, Any]:
    """Return the arguments of the network.

    The first unit of a dilated stage has half its rate ("contract_dilation"), like `stride_unit` "first". The rates
    (1, 2, 4) of "mg124" are those of the units themselves, the first of which has half the rate here, too.
    """
    if output_stride not in (8, 16):
        raise ValueError(f"mmsegmentation's networks have output_stride 8 or 16, not {output_stride}")
    classes = num_classes(state_dict, "decode_head.conv_seg.weight")
    settings = {
        "num_classes": classes,
        "backbone": f"resnet{resnet_depth(state_dict)}",
        "output_stride": output_stride,
        "atrous_rates": tuple(rate * 16 // output_stride for rate in RATES),
        "aspp_channels": state_dict["decode_head.conv_seg.weight"].shape[1],
        "aspp_conv3x3": "projection",
        "align_corners": align_corners,
    }
    if "backbone.stem.0.weight" in state_dict:
        settings["stem"] = "three_conv3x3_narrow"
    if output_stride == 16:
        settings["multi_grid"] = (1, 1, 2)
    return settings
