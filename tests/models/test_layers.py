"""The blocks that the networks share: layers, ASPP and batch norm."""

import math

import pytest
import torch
from torch import nn

from deeplab_lightning.models.aspp import ASPP, ImagePooling
from deeplab_lightning.models.batch_norm import RescuedBatchNorm2d
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.layers import classifier, separable_conv_bn_relu, upsample


def test_rescued_batch_norm_uses_running_statistics_for_one_value() -> None:
    norm = RescuedBatchNorm2d(3).train()
    norm.running_mean = torch.tensor([1.0, 2.0, 3.0])
    values = torch.randn(1, 3, 1, 1)
    torch.testing.assert_close(norm(values), norm.eval()(values))
    assert norm.num_batches_tracked == 0


def test_rescued_batch_norm_is_batch_norm_otherwise() -> None:
    values = torch.randn(2, 3, 1, 1)
    torch.testing.assert_close(RescuedBatchNorm2d(3).train()(values), nn.BatchNorm2d(3).train()(values))


def test_image_pooling_is_the_same_everywhere() -> None:
    pooled = ImagePooling(4, 6).train()(torch.randn(2, 4, 5, 7))
    assert pooled.shape == (2, 6, 5, 7)
    assert torch.equal(pooled, pooled[..., :1, :1].expand_as(pooled))


def test_separable_convolution_normalises_after_depthwise_and_pointwise() -> None:
    kinds = [type(layer) for layer in separable_conv_bn_relu(4, 8, 3, dilation=2)]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 2


def test_separable_convolution_starts_as_in_the_release() -> None:
    depthwise, *_, pointwise, _, _ = separable_conv_bn_relu(512, 256, 3)
    assert isinstance(depthwise, nn.Conv2d)
    assert isinstance(pointwise, nn.Conv2d)
    for layer, std in ((depthwise, 0.33), (pointwise, 0.06)):
        assert layer.weight.abs().max() <= 2 * std
        assert layer.weight.std().item() == pytest.approx(0.88 * std, rel=0.05)


def test_classifier_starts_as_in_the_release() -> None:
    layer = classifier(256, 21)
    assert layer.weight.abs().max() <= 0.02
    assert layer.weight.std().item() == pytest.approx(0.0088, rel=0.05)


def test_plain_convolutions_start_from_xavier() -> None:
    """Slim's default, in ASPP, image pooling, projection and decoder: uniform to sqrt(6 / (fan in + fan out))."""
    network = DeepLabV3Plus(4, backbone="resnet18")
    parts = [*network.aspp.modules(), *network.decoder.modules()]
    convs = [layer for layer in parts if isinstance(layer, nn.Conv2d)]
    assert len(convs) == 9
    for conv in convs:
        positions = conv.kernel_size[0] * conv.kernel_size[1]
        limit = math.sqrt(6 / (positions * (conv.in_channels + conv.out_channels)))
        assert 0.99 * limit < conv.weight.abs().max().item() <= limit
        assert conv.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)


def test_aspp_uses_the_rates_as_given() -> None:
    aspp = ASPP(8, (3, 6, 9), 4)
    rates = [
        layer.dilation[0] for layer in aspp.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    ]
    assert rates == [3, 6, 9]


def test_upsample_keeps_corners_when_asked() -> None:
    features = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    kept = upsample(features, (5, 5), True)
    assert kept[0, 0, 0, 2] == 0.5
    assert upsample(features, (5, 5), False)[0, 0, 0, 1] != kept[0, 0, 0, 1]
    assert upsample(features, (2, 2), False) is features
