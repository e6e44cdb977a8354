"""Write the samples where mmsegmentation, mmcv or mmcv-lite, and transformers are: python -m tests.published.samples.

The sample of the TensorFlow release was written by its own code (tensorflow/models, research/deeplab, of December 2019)
under TensorFlow 2.15 with tf_slim; of maps larger than 16 it has the positions that are multiples of a step.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from tests.published.samples import Sample, drawn, images


class StandIn(ModuleType):
    """Compiled operators of mmcv, which DeepLab does not use and mmcv-lite lacks."""

    __path__: list[str] = []  # noqa: RUF012 (a package has one)

    def __getattr__(self, name: str) -> type[nn.Module]:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (nn.Module,), {})


def mmsegmentation(backbone: str, head: str, depth: int, output_stride: int, channels: int) -> nn.Module:
    """A network of mmsegmentation without its data pre-processor."""
    for name in ("mmcv._ext", "mmcv.ops", "mmcv.ops.point_sample"):
        sys.modules.setdefault(name, StandIn(name))
    models = import_module("mmseg.models")
    strides: dict[str, Any] = {"strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4), "contract_dilation": True}
    if output_stride == 16:
        strides = {"strides": (1, 2, 2, 1), "dilations": (1, 1, 1, 2), "multi_grid": (1, 2, 4)}
    settings: dict[str, Any] = {
        "in_channels": 2048,
        "in_index": 3,
        "channels": channels,
        "dilations": (1, *(rate * 16 // output_stride for rate in (6, 12, 18))),
        "num_classes": 7,
        "norm_cfg": {"type": "BN"},
        "align_corners": output_stride == 16,
        "loss_decode": {"type": "CrossEntropyLoss"},
    }
    if head == "DepthwiseSeparableASPPHead":
        settings |= {"c1_in_channels": 256, "c1_channels": 48}
    network = nn.Sequential()
    trunk = getattr(models.backbones, backbone)(depth=depth, num_stages=4, norm_cfg={"type": "BN"}, **strides)
    network.add_module("backbone", trunk)
    network.add_module("decode_head", getattr(models.decode_heads, head)(**settings))
    return network


def transformers() -> nn.Module:
    """The network of google/deeplabv3_mobilenet_v2_1.0_513."""
    library = import_module("transformers")
    config = library.MobileNetV2Config(output_stride=8, num_labels=21)
    network: nn.Module = library.MobileNetV2ForSemanticSegmentation(config)
    return network


def write(name: str, network: nn.Module, height: int, width: int) -> None:
    """Give a network the weights of its names and store its logits."""
    tensors = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    network.load_state_dict({key: drawn(key, shape) for key, shape in shapes.items()}, strict=False)
    pixels = images(height, width)
    with torch.no_grad():
        out = network.eval()(pixels)
    logits: Tensor = out if isinstance(out, Tensor) else out.logits
    Sample(shapes, pixels, logits).write(name)


if __name__ == "__main__":
    separable = "DepthwiseSeparableASPPHead"
    write("mmsegmentation_v3plus_r50_d8", mmsegmentation("ResNetV1c", separable, 50, 8, 16), 64, 81)
    write("mmsegmentation_v3_r50_d8", mmsegmentation("ResNetV1c", "ASPPHead", 50, 8, 16), 65, 96)
    write("mmsegmentation_v3plus_r101b_d16_mg124", mmsegmentation("ResNet", separable, 101, 16, 32), 65, 96)
    write("transformers_mobilenet_v2", transformers(), 64, 97)
