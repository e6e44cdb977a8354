"""DeepLabv3+ on a ResNet-101 of jfzhang95/pytorch-deeplab-xception (`["state_dict"]` of its files)."""

from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.published.importing import Imported, fill
from deeplab_lightning.published.state_dicts import StateDict, num_classes, rename

RATES = (6, 12, 18)
RULES = [
    (r"backbone\.", "backbone."),
    *((rf"aspp\.aspp{branch + 1}\.atrous_conv\.", f"aspp.branches.{branch}.0.") for branch in range(4)),
    *((rf"aspp\.aspp{branch + 1}\.bn\.", f"aspp.branches.{branch}.1.") for branch in range(4)),
    (r"aspp\.global_avg_pool\.1\.", "aspp.branches.4.conv."),
    (r"aspp\.global_avg_pool\.2\.", "aspp.branches.4.bn."),
    (r"aspp\.conv1\.", "aspp.project.0."),
    (r"aspp\.bn1\.", "aspp.project.1."),
    (r"decoder\.conv1\.", "decoder.reduce.0.0."),
    (r"decoder\.bn1\.", "decoder.reduce.0.1."),
    (r"decoder\.last_conv\.([01])\.", r"decoder.refine.0.0.\1."),
    (r"decoder\.last_conv\.4\.", "decoder.refine.0.1.0."),
    (r"decoder\.last_conv\.5\.", "decoder.refine.0.1.1."),
    (r"decoder\.last_conv\.8\.", "classifier."),
]


def from_jfzhang95(state_dict: StateDict, output_stride: int = 16) -> Imported[DeepLabV3Plus]:
    """The network with that `state_dict`; its inputs have the "imagenet" normalisation.

    Dropout of .5 and .1 in its decoder, which only training has, is not here.

    Args:
        state_dict: The tensors by name.
        output_stride: 16 or 8, with rates of ASPP twice as large; the published score is at 16.

    Raises:
        ValueError: The tensors are of another network, or of one on a MobileNet, DRN or Xception.
    """
    if "backbone.layer3.22.conv1.weight" not in state_dict:
        raise ValueError("of jfzhang95's networks only those on a ResNet-101 can be expressed here")
    settings = {
        "num_classes": num_classes(state_dict, "decoder.last_conv.8.weight"),
        "backbone": "resnet101",
        "output_stride": output_stride,
        "atrous_rates": tuple(rate * 16 // output_stride for rate in RATES),
        "multi_grid": (1, 2, 4),
        "stride_unit": "first_dilated",
        "align_corners": True,
    }
    return fill(DeepLabV3Plus, settings, rename(state_dict, RULES))
