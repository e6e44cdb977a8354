"""Numbers of parameters at 21 classes, exactly, and the sizes of features."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from deeplab_lightning.models.deeplab_v1 import DeepLabV1
from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.layers import SegmentationNetwork


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (lambda: DeepLabV1(21, 7, 4, 4096), 134_346_581),
        (lambda: DeepLabV1(21, 4, 4, 4096), 65_140_565),
        (lambda: DeepLabV1(21, 4, 8, 4096), 65_140_565),
        (lambda: DeepLabV1(21, 3, 12, 1024), 20_505_429),
        (lambda: DeepLabV1(21, 3, 12, 1024, multi_scale=True), 21_711_550),
        (lambda: DeepLabV2(21, "vgg16"), 37_877_652),
        (lambda: DeepLabV2(21, "resnet101"), 44_048_532),
        (lambda: DeepLabV3(21), 58_040_661),
        (lambda: DeepLabV3(21, stem="three_conv3x3"), 58_164_437),  # 58.16M in the MobileNetV2 paper's table
        (lambda: DeepLabV3(21, "mobilenet_v2", atrous_rates=()), 2_113_557),
        (lambda: DeepLabV3Plus(21), 59_344_309),
        (lambda: DeepLabV3Plus(21, stem="three_conv3x3"), 59_468_085),
        (lambda: DeepLabV3Plus(21, "xception65", separable=True), 41_055_413),
        (lambda: DeepLabV3Plus(21, "xception71", separable=True), 43_477_837),
    ],
)
def test_parameters(build: Callable[[], nn.Module], parameters: int) -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build().parameters()) == parameters


def test_backbones() -> None:
    with torch.device("meta"):
        for depth, parameters in ((41, 24_920_560), (65, 37_867_312), (71, 40_289_736)):
            backbone = DeepLabV3(21, f"xception{depth}").backbone
            assert sum(parameter.numel() for parameter in backbone.parameters()) == parameters


@pytest.mark.parametrize(
    ("build", "crop", "side"),
    [
        (lambda: DeepLabV1(21, fc_channels=64), 321, 41),
        (lambda: DeepLabV2(21, "resnet50"), 321, 41),
        (lambda: DeepLabV3(21, "resnet18", 32), 513, 17),
        (lambda: DeepLabV3(21, "resnet18", 16), 513, 33),
        (lambda: DeepLabV3(21, "resnet18", 8), 513, 65),
        (lambda: DeepLabV3(21, "xception41", 16), 513, 33),
        (lambda: DeepLabV3(21, "mobilenet_v2", 8), 513, 65),
        (lambda: DeepLabV3Plus(21, "resnet18", 16), 513, 129),
    ],
)
def test_side_of_the_logits(build: Callable[[], SegmentationNetwork], crop: int, side: int) -> None:
    with torch.device("meta"):
        logits = build().eval().forward_features(torch.zeros(1, 3, crop, crop))
    assert logits.shape == (1, 21, side, side)
