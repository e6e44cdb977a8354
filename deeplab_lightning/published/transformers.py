"""DeepLabv3 on MobileNetV2 of Hugging Face's transformers, such as google/deeplabv3_mobilenet_v2_1.0_513."""

import re
from collections.abc import Mapping
from typing import Any

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.published.importing import Imported, fill
from deeplab_lightning.published.state_dicts import Rule, StateDict, num_classes, rename, swap_inputs

ARCHITECTURE = "MobileNetV2ForSemanticSegmentation"
UNUSED = "mobilenet_v2.conv_1x1."
"""The 1x1 convolution of the ImageNet classifier, which the segmentation head does not read."""
PARTS = {"convolution": 0, "normalization": 1}
EXPRESSED = {"hidden_act": "relu6", "expand_ratio": 6.0, "first_layer_is_expansion": True, "depth_multiplier": 1.0}
"""Options of the config that are expressed here only with these values, which are those of transformers."""
WIDTH = 256


def _layer(match: re.Match[str]) -> str:
    index, conv, part = match.groups()
    own = f"backbone.features.{int(index) + 2}.conv"
    if conv == "reduce_1x1":
        return f"{own}.{2 + PARTS[part]}."
    return f"{own}.{0 if conv == 'expand_1x1' else 1}.{PARTS[part]}."


def _named(scope: str, own: str) -> list[Rule]:
    return [(rf"{scope}\.convolution\.", f"{own}.0."), (rf"{scope}\.normalization\.", f"{own}.1.")]


STEM = r"mobilenet_v2\.conv_stem\."
RULES: list[Rule] = [
    *_named(rf"{STEM}first_conv", "backbone.features.0"),
    *_named(rf"{STEM}conv_3x3", "backbone.features.1.conv.0"),
    (rf"{STEM}reduce_1x1\.convolution\.", "backbone.features.1.conv.1."),
    (rf"{STEM}reduce_1x1\.normalization\.", "backbone.features.1.conv.2."),
    (r"mobilenet_v2\.layer\.(\d+)\.(expand_1x1|conv_3x3|reduce_1x1)\.(convolution|normalization)\.", _layer),
    *_named(r"segmentation_head\.conv_aspp", "aspp.branches.0"),
    (r"segmentation_head\.conv_pool\.convolution\.", "aspp.branches.1.conv."),
    (r"segmentation_head\.conv_pool\.normalization\.", "aspp.branches.1.bn."),
    *_named(r"segmentation_head\.conv_projection", "aspp.project"),
    (r"segmentation_head\.classifier\.convolution\.", "classifier."),
]


def from_transformers(config: Mapping[str, Any], state_dict: StateDict) -> Imported[DeepLabV3]:
    """Convert a `MobileNetV2ForSemanticSegmentation`; its inputs have the "inception" normalisation.

    The networks on MobileViT (apple/deeplabv3-mobilevit-small and kin) cannot be expressed: their backbone has
    transformer layers, and neither this package nor timm has one with these names whose strides become atrous rates.

    Args:
        config: Content of config.json.
        state_dict: Tensors of the network.

    Raises:
        ValueError: The network or an option cannot be expressed here, or tensors are left over or missing.
    """
    if "mobilevit" in str(config.get("model_type")):
        raise ValueError("the MobileViT of transformers has transformer layers; it cannot be expressed here")
    architectures = config.get("architectures") or [ARCHITECTURE]
    if config.get("model_type") != "mobilenet_v2" or architectures != [ARCHITECTURE]:
        raise ValueError(
            f"of transformers' networks only {ARCHITECTURE} is supported, not {', '.join(architectures)} "
            f"of type {config.get('model_type')}"
        )
    if differing := {name for name, value in EXPRESSED.items() if config.get(name, value) != value}:
        name = min(differing)
        raise ValueError(f"{name} {config[name]!r} of the config cannot be expressed here, only {EXPRESSED[name]!r}")
    kept = {name: tensor for name, tensor in state_dict.items() if not name.startswith(UNUSED)}
    tensors = rename(kept, RULES)
    if "aspp.project.0.weight" in tensors:
        swap_inputs(tensors, "aspp.project.0.weight", WIDTH)  # image pooling is the first branch there
    settings = {
        "num_classes": num_classes(kept, "segmentation_head.classifier.convolution.weight"),
        "backbone": "mobilenet_v2",
        "output_stride": config.get("output_stride", 32),
        "atrous_rates": (),
        "align_corners": True,
        "batch_norm_eps": config.get("layer_norm_eps", 1e-3),
        "strided_padding": "same" if config.get("tf_padding", True) else "symmetric",
    }
    return fill(DeepLabV3, settings, tensors, state_dict.keys() - kept.keys())
