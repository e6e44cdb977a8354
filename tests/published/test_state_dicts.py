"""Published layouts with random weights: the networks here give the source's logits."""

from collections import OrderedDict
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from torch import Tensor, nn

from deeplab_lightning.published.kazuto1011 import from_kazuto1011
from deeplab_lightning.published.smp import from_smp
from deeplab_lightning.published.torchvision import from_torchvision
from tests.models.test_resnet import settled


@pytest.mark.parametrize("name", ["deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"])
def test_torchvision(name: Any) -> None:
    source = getattr(torchvision.models.segmentation, name)(
        weights=None, weights_backbone=None, num_classes=21, aux_loss=True
    )
    settled(source.double())
    images = torch.randn(1, 3, 49, 65, dtype=torch.float64)
    with torch.no_grad():
        expected = source(images)["out"]
        logits = from_torchvision(name, source.state_dict()).network.double()(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "encoder", "output_stride"),
    [
        ("DeepLabV3", "resnet18", None),
        ("DeepLabV3", "mobilenet_v2", 16),
        ("DeepLabV3Plus", "resnet50", None),
        ("DeepLabV3Plus", "resnet18", 8),
        ("DeepLabV3Plus", "efficientnet-b0", None),
    ],
)
def test_smp(architecture: str, encoder: str, output_stride: int | None) -> None:
    settings = {} if output_stride is None else {"encoder_output_stride": output_stride}
    source = settled(getattr(smp, architecture)(encoder, encoder_weights=None, classes=7, **settings).double())
    images = torch.randn(1, 3, 32, 64, dtype=torch.float64)
    imported = from_smp(architecture, encoder, source.state_dict(), output_stride)  # type: ignore[arg-type]
    network = imported.network.double()
    with torch.no_grad():
        expected, logits = source(images), network(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


class ConvBN(nn.Sequential):
    """A convolution and a norm under the names of kazuto1011's layout."""

    def __init__(self, channels: tuple[int, int], kernel_size: int, stride: int = 1, rate: int = 1) -> None:
        conv = nn.Conv2d(*channels, kernel_size, stride, rate * (kernel_size // 2), rate, bias=False)
        super().__init__(OrderedDict(conv=conv, bn=nn.BatchNorm2d(channels[1])))


class CaffeUnit(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, rate: int, project: bool) -> None:
        super().__init__()
        self.reduce = ConvBN((channels, width), 1, stride)
        self.conv3x3 = ConvBN((width, width), 3, rate=rate)
        self.increase = ConvBN((width, 4 * width), 1)
        if project:
            self.shortcut = ConvBN((channels, 4 * width), 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        shortcut = self.shortcut(features) if hasattr(self, "shortcut") else features
        inner = self.conv3x3(self.reduce(features).relu()).relu()
        joined: Tensor = (self.increase(inner) + shortcut).relu()
        return joined


class CaffeDeepLabV2(nn.Module):
    """ResNet-101 v2 written out under the names of the published checkpoint."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(OrderedDict(conv1=ConvBN((3, 64), 7, 2)))
        channels = 64
        plan = [(3, 64, 1, 1), (4, 128, 2, 1), (23, 256, 1, 2), (3, 512, 1, 4)]
        for number, (units, width, stride, rate) in enumerate(plan, 2):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            for unit in range(units):
                layers[f"block{unit + 1}"] = CaffeUnit(channels, width, 1 if unit else stride, rate, unit == 0)
                channels = 4 * width
            self.add_module(f"layer{number}", nn.Sequential(layers))
        self.aspp = nn.ModuleDict(
            {f"c{index}": nn.Conv2d(2048, num_classes, 3, 1, rate, rate) for index, rate in enumerate((6, 12, 18, 24))}
        )

    def forward(self, images: Tensor) -> Tensor:
        features = nn.functional.max_pool2d(self.layer1(images).relu(), 3, 2, 1, ceil_mode=True)
        for number in range(2, 6):
            features = self.get_submodule(f"layer{number}")(features)
        return torch.stack([branch(features) for branch in self.aspp.values()]).sum(0)


def test_kazuto1011() -> None:
    source = settled(CaffeDeepLabV2(5).double())
    images = torch.randn(1, 3, 49, 33, dtype=torch.float64)
    network = from_kazuto1011("deeplabv2_resnet101", source.state_dict()).network.double()
    with torch.no_grad():
        expected, logits = source(images), network.forward_features(images)
        assert expected.std() > 1e-2
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
        scaled = [
            nn.functional.interpolate(
                source(nn.functional.interpolate(images, size, mode="bilinear")), expected.shape[2:], mode="bilinear"
            )
            for size in ((24, 16), (36, 24))
        ]
        multi_scale = {f"base.{key}": value for key, value in source.state_dict().items()}
        network = from_kazuto1011("deeplabv2_resnet101_msc", multi_scale).network.double()
        torch.testing.assert_close(
            network.forward_features(images), torch.stack([expected, *scaled]).amax(0), rtol=0, atol=1e-4
        )


def test_left_over_tensors_are_listed() -> None:
    state = smp.DeepLabV3("resnet18", encoder_weights=None, classes=3).state_dict()
    state["encoder.extra.weight"] = state.pop("decoder.conv.weight")
    with pytest.raises(ValueError, match="aspp.conv3x3.0.weight"):
        from_smp("DeepLabV3", "resnet18", state)


def test_names_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="torchvision.*'fcn_resnet50'"):
        from_torchvision("fcn_resnet50", {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kazuto1011.*'v3'"):
        from_kazuto1011("v3", {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="classifier.4.weight"):
        from_torchvision("deeplabv3_resnet50", {})
