"""Costs and receptive fields, compared with the papers and with networks that are run."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeplab_lightning.models.deeplab_v1 import DeepLabV1
from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3_cascade import DeepLabV3Cascade
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.models.profile import profile
from tests.thin import an_eighth_of_the_channels

Builder = Callable[[], SegmentationNetwork]


def v3(output_stride: int, *rates: int) -> SegmentationNetwork:
    settings: dict[str, Any] = {"multi_grid": (1, 2, 4), "stem": "three_conv3x3", "stride_unit": "last"}
    return DeepLabV3(21, "resnet101", output_stride, rates, **settings)


@pytest.mark.parametrize(
    ("build", "billions"),
    [
        (lambda: DeepLabV3Plus(21, "xception65", 16, separable=True), 54.17),
        (lambda: DeepLabV3Plus(21, "xception65", 8, (12, 24, 36), separable=True), 177.10),
        (lambda: DeepLabV3Plus(21, "xception65", 16), 89.76),
        (lambda: DeepLabV3Plus(21, "xception65", 8, (12, 24, 36)), 262.59),
        (lambda: v3(16, 6, 12, 18), 81.02),
        (lambda: v3(8, 12, 24, 36), 276.18),
        (lambda: v3(32, 3, 6, 9), 52.43),
        (lambda: DeepLabV3(21, "mobilenet_v2", atrous_rates=()), 2.75),
    ],
)
def test_multiply_adds_of_the_papers(build: Builder, billions: float) -> None:
    """v3+, Tables 3 and 5, and the MobileNetV2 paper's Table 7, at 513x513."""
    with torch.device("meta"):
        network = build()
    counted = profile(network, 513, 513).multiply_adds_published_convention
    assert counted / 1e9 == pytest.approx(billions, rel=0.01)


@pytest.mark.parametrize(("kernel_size", "rate", "view"), [(7, 4, 224), (4, 4, 128), (4, 8, 224), (3, 12, 224)])
def test_fields_of_view_of_v1(kernel_size: int, rate: int, view: int) -> None:
    """v1, Table 2."""
    assert DeepLabV1(2, kernel_size, rate, 32).field_of_view == view


def test_field_of_view_of_v2_is_that_of_its_widest_branch() -> None:
    assert DeepLabV2(2, "vgg16", (6, 12)).field_of_view == 224


def test_counts_of_one_convolution() -> None:
    with torch.device("meta"):
        network = DeepLabV1(21)
    counted = profile(network, 321, 321)
    fc6 = next(layer for layer in counted.layers if layer.name == "head.0")
    assert fc6.shape == (1024, 41, 41)
    assert fc6.rate == 12
    assert fc6.multiply_adds == 41 * 41 * 9 * 512 * 1024
    assert fc6.multiply_adds_padded == 48 * 48 * 9 * 512 * 1024
    assert sum(layer.multiply_adds for layer in counted.layers) == counted.multiply_adds
    assert sum(counted.parameters_by_part.values()) == counted.parameters == 20_505_429
    assert counted.feature_size == (41, 41)


def reach(network: SegmentationNetwork, side: int) -> int:
    """Side of what the middle logit depends on, found by gradients through positive weights."""
    network.eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
        if isinstance(layer, nn.MaxPool2d):  # the gradient of a maximum would follow one path only
            layer.forward = pool(layer)  # type: ignore[method-assign, assignment]
    images = torch.rand(1, 3, side, side, requires_grad=True)
    logits = network.forward_features(images)
    torch.autograd.backward(logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2])
    assert images.grad is not None
    rows = images.grad[0].sum(0).nonzero()[:, 0]
    return int(rows.max() - rows.min() + 1)


def pool(layer: nn.MaxPool2d) -> Callable[[Tensor], Tensor]:
    return nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode).forward


@pytest.mark.parametrize(
    ("build", "side"),
    [
        (lambda: DeepLabV1(2, 3, 1, 16), 289),
        (lambda: DeepLabV3Cascade(2, "resnet18", 4, 16), 513),
        (lambda: DeepLabV3Cascade(2, "resnet18", 4, 32), 513),
    ],
)
def test_receptive_field_is_what_gradients_reach(build: Builder, side: int) -> None:
    with an_eighth_of_the_channels():
        network = build()
        with torch.device("meta"):
            on_meta = build()
    assert profile(on_meta, side, side).receptive_field == reach(network, side)


def test_image_pooling_sees_the_whole_image() -> None:
    with torch.device("meta"):
        networks = [DeepLabV3(2, "resnet18"), DeepLabV3(2, "resnet18", image_pooling=False)]
    assert profile(networks[0], 65, 65).receptive_field is None
    assert profile(networks[1], 65, 65).receptive_field is not None


def test_smp_encoders_are_counted_too() -> None:
    with torch.device("meta"):
        own = DeepLabV3(2, "resnet18", stride_unit="first_dilated")
        smp = DeepLabV3(2, "smp-resnet18")
    assert profile(own, 64, 64).multiply_adds == profile(smp, 64, 64).multiply_adds > 0


def test_a_network_with_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="meta"):
        profile(DeepLabV3(2, "resnet18"), 65, 65)
