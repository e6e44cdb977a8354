"""Numbers of parameters at 21 classes, exactly, and the sizes of features."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (lambda: DeepLabV3(21), 58_040_661),
        (lambda: DeepLabV3(21, stem="three_conv3x3"), 58_164_437),  # 58.16M in the MobileNetV2 paper's table
        (lambda: DeepLabV3Plus(21), 59_344_309),
        (lambda: DeepLabV3Plus(21, stem="three_conv3x3"), 59_468_085),
    ],
)
def test_resnet101(build: Callable[[], nn.Module], parameters: int) -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build().parameters()) == parameters


@pytest.mark.parametrize(("output_stride", "side"), [(32, 17), (16, 33), (8, 65)])
def test_feature_side_of_a_513_crop(output_stride: int, side: int) -> None:
    network = DeepLabV3(21, "resnet18", output_stride).eval()
    with torch.no_grad():
        assert network.forward_features(torch.zeros(1, 3, 513, 513)).shape == (1, 21, side, side)
