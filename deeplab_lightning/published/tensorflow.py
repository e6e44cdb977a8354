"""Networks of the TensorFlow release (tensorflow/models, research/deeplab), built from the variables of a checkpoint.

The names of the variables give the architecture. A convolution is a scope with `weights` (H, W, I, O) or
`depthwise_weights` (H, W, C, 1), and with `BatchNorm/...` or `biases` in it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.models.lraspp import LRASPP
from deeplab_lightning.models.mobilenet_blocks import STEM_CHANNELS
from deeplab_lightning.models.xception import FLOWS
from deeplab_lightning.published.importing import Imported, StartPoint, fill
from deeplab_lightning.published.tensorflow_names import (
    Place,
    aspp_places,
    cell_places,
    decoder_places,
    lraspp_places,
    mobilenet_places,
    resnet_places,
    xception_places,
)

Variables = Mapping[str, NDArray[Any]]
Tensors = dict[str, tuple[str, Tensor]]
Trunk = tuple[dict[str, Any], dict[str, Place]]
"""The settings of a backbone, and the places of its scopes."""

TRAINING_ONLY = re.compile(r"global_step|.*/(Momentum|RMSProp(_1)?|ExponentialMovingAverage)")
AVERAGE = "/ExponentialMovingAverage"
NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
KINDS = {"weights": "weight", "depthwise_weights": "weight", "biases": "bias"}
QUANTISED = re.compile(r".*/(act|weights)_quant/.*")
ROOTS = ("xception", "resnet", "MobilenetV")
RATES = (6, 12, 18)
"""The rates of ASPP at output stride 16; they double as it halves (v3, section 4.2)."""
MOBILENET: dict[str, Any] = {"batch_norm_eps": 1e-3, "strided_padding": "same"}
"""The settings in which slim's MobileNets (nets/mobilenet/mobilenet.py) differ from torchvision's."""


def from_tensorflow(
    variables: Variables, output_stride: int | None = None, multi_grid: Sequence[int] = (1, 2, 4)
) -> Imported[SegmentationNetwork]:
    """Build the segmentation network with these variables; one checkpoint serves every output stride.

    If a variable has an exponential moving average, the average is taken.

    Args:
        variables: Variables of a checkpoint or a frozen graph, by name.
        output_stride: Output stride of the network: 8, 16 or 32; if not given, 32 for MobileNetV3 and 16 for others.
        multi_grid: Unit rates of a ResNet's block4; the release recommends (1, 2, 4) for its ResNets (common.py).

    Raises:
        ValueError: The variables belong to another network or one that is not supported; the message says which.
    """
    kept = _needed(variables)
    kind, settings, places = _network(kept, output_stride, multi_grid)
    tensors, unknown = _tensors(kept, places)
    if unknown:
        raise ValueError(f"the network does not need {unknown[0]}, which the checkpoint has")
    if "image_pooling/BatchNorm/gamma" in kept:
        _rotate_projection(tensors)
    return fill(kind, settings, tensors, [name for name in variables if _is_ignored(name)])


def start_from_tensorflow(variables: Variables) -> StartPoint:
    """Return the backbone of a checkpoint, such as the ImageNet ones, as a start of training.

    Slim's ImageNet MobileNetV2 has exponential moving averages, which are taken instead of the variables.

    Args:
        variables: Variables of a checkpoint, by name.

    Raises:
        ValueError: The variables have no backbone that is supported.
    """
    kept = _needed(variables)
    settings, places = _trunk(kept)
    tensors, unknown = _tensors(kept, places)
    return StartPoint(settings, tensors, (*unknown, *(name for name in variables if _is_ignored(name))))


def _needed(variables: Variables) -> Variables:
    if any(QUANTISED.match(name) for name in variables):
        raise ValueError("the network is quantised to 8 bits; take the checkpoint in floating point")
    return {name: variables.get(name + AVERAGE, array) for name, array in variables.items() if not _is_ignored(name)}


def _is_ignored(name: str) -> bool:
    return TRAINING_ONLY.fullmatch(name) is not None


def _tensors(variables: Variables, places: Mapping[str, Place]) -> tuple[Tensors, list[str]]:
    """Return the tensors by their names here, and the names of those that have no place."""
    tensors: Tensors = {}
    unknown = []
    for name, array in variables.items():
        scope, _, kind = name.rpartition("/")
        is_norm = scope.endswith("/BatchNorm")
        scope = scope.removesuffix("/BatchNorm")
        if scope not in places:
            unknown.append(name)
            continue
        conv, norm = places[scope]
        kinds = NORM if is_norm else KINDS
        tensors[f"{norm if is_norm else conv}.{kinds.get(kind, kind)}"] = (name, _tensor(kind, array))
    return tensors, unknown


def _tensor(kind: str, array: NDArray[Any]) -> Tensor:
    """Return a variable in torch's order of axes."""
    axes = {"weights": (3, 2, 0, 1), "depthwise_weights": (2, 3, 0, 1)}.get(kind)
    return torch.from_numpy(np.array(array.transpose(axes) if axes and array.ndim == 4 else array))


def _rotate_projection(tensors: Tensors) -> None:
    """Reorder the input channels of the projection: image pooling is the release's first branch, and here the last."""
    name = "aspp.project.0.weight"
    if name in tensors:
        source, weight = tensors[name]
        width = weight.shape[0]  # every branch is as wide as the projection
        tensors[name] = (source, torch.cat([weight[:, width:], weight[:, :width]], 1))


def _network(
    variables: Variables, output_stride: int | None, multi_grid: Sequence[int]
) -> tuple[type[SegmentationNetwork], dict[str, Any], dict[str, Place]]:
    """Return the class and the arguments of the network that the names describe, and the places of its scopes."""
    settings, places = _trunk(variables)
    if settings["backbone"].startswith("resnet"):
        settings |= {"multi_grid": tuple(multi_grid)}
    if "v3" in settings["backbone"]:
        score = _classifier(variables, "decoder/decoder_conv0/weights")
        settings |= {"num_classes": score.shape[-1], "output_stride": output_stride or 32}
        return LRASPP, settings, places | dict(lraspp_places())
    output_stride = output_stride or 16
    separable = "aspp1_pointwise/weights" in variables
    has_rates = separable or "aspp1/weights" in variables
    settings |= {
        "num_classes": _classifier(variables, "logits/semantic/weights").shape[-1],
        "output_stride": output_stride,
        "align_corners": True,
        "atrous_rates": tuple(rate * 16 // output_stride for rate in RATES) if has_rates else (),
    }
    if any(name.startswith("meta_architecture/") for name in variables):
        settings |= {"dense_prediction_cell": True, "image_pooling": False}
        places |= dict(cell_places())
    else:
        places |= dict(aspp_places(len(settings["atrous_rates"]), separable))
    places["logits/semantic"] = ("classifier", "")
    if "decoder/feature_projection0/weights" not in variables:
        return DeepLabV3, settings | {"aspp_separable": separable}, places
    if settings["backbone"].startswith("resnet"):
        settings |= {"low_level_features": "conv3"}
    settings |= {"separable": True, "plain_aspp": has_rates and not separable}
    return DeepLabV3Plus, settings, places | dict(decoder_places())


def _classifier(variables: Variables, name: str) -> NDArray[Any]:
    if name not in variables:
        raise ValueError(
            f"not a segmentation network of the release: it has no {name}; "
            f"its first scopes are {', '.join(_scopes(variables))}"
        )
    return variables[name]


def _scopes(variables: Variables) -> list[str]:
    return sorted({name.partition("/")[0] for name in variables})[:8]


def _trunk(variables: Variables) -> Trunk:
    """Return the settings of the backbone that the names describe, and the places of its scopes."""
    root = next((name.partition("/")[0] for name in variables if name.startswith(ROOTS)), "")
    if match := re.fullmatch(r"xception_(\d+)", root):
        depth = int(match[1])
        if depth not in FLOWS:
            raise ValueError(f"an Xception of depth {depth} is not supported; the depths are {sorted(FLOWS)}")
        return {"backbone": f"xception{depth}"}, dict(xception_places(depth))
    if (match := re.fullmatch(r"resnet_v1_(\d+)", root)) and f"{root}/conv1_1/weights" in variables:
        settings: dict[str, Any] = {"backbone": f"resnet{match[1]}", "stem": "three_conv3x3", "stride_unit": "last"}
        return settings, dict(resnet_places(int(match[1])))
    if root == "MobilenetV2" and f"{root}/Conv/weights" in variables:
        width = variables[f"{root}/Conv/weights"].shape[-1] / STEM_CHANNELS[2]
        settings = {"backbone": "mobilenet_v2", "width_multiplier": width, **MOBILENET}
        return settings, dict(mobilenet_places("mobilenet_v2"))
    if root == "MobilenetV3":
        size = "large" if f"{root}/expanded_conv_14/project/weights" in variables else "small"
        name = f"mobilenet_v3_{size}_seg"
        return {"backbone": name, **MOBILENET}, dict(mobilenet_places(name))
    if root:
        raise ValueError(f"{root} is not supported: of the release's ResNets, only beta ones (stem of three 3x3) are")
    raise ValueError(f"not a known network of the release; its first scopes are {', '.join(_scopes(variables))}")
