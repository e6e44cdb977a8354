from typing import Literal

import pytest
import torch
import torchvision
from torch import nn

from deeplab_lightning.models.mobilenet import MobileNet
from tests.models.test_resnet import assert_features_agree, settled

NAMES: dict[Literal[2, 3], str] = {2: "mobilenet_v2", 3: "mobilenet_v3_large"}


@pytest.mark.parametrize("version", NAMES)
def test_features_equal_torchvision(version: Literal[2, 3], monkeypatch: pytest.MonkeyPatch) -> None:
    """The loading of ImageNet weights with torchvision's layout in the place of the download."""
    reference = getattr(torchvision.models, NAMES[version])(weights=None)
    settled(reference)
    asked = []

    def download(name: str) -> dict[str, torch.Tensor]:
        asked.append(name)
        state: dict[str, torch.Tensor] = reference.state_dict()
        return state

    monkeypatch.setattr("deeplab_lightning.models.imagenet.torchvision_state_dict", download)
    network = MobileNet(version, 32, pretrained=True).eval()
    assert asked == [NAMES[version]]
    images = torch.randn(1, 3, 65, 49)
    expected = reference.features[:18](images) if version == 2 else reference.features(images)
    torch.testing.assert_close(network(images)[1], expected)


@pytest.mark.parametrize("version", NAMES)
def test_atrous_consistency(version: Literal[2, 3]) -> None:
    images = torch.randn(1, 3, 97, 65, dtype=torch.float64)
    networks: dict[int, nn.Module] = {stride: MobileNet(version, stride).double() for stride in (32, 16, 8)}
    for layer in networks[32].modules():  # a gate sees the mean of the map, which changes with its grid
        if layer.__class__.__name__ == "SqueezeExcitation":
            layer.fc2.weight.data.zero_()  # type: ignore[union-attr, operator]
    assert_features_agree(networks, images, {4: 144, 8: 192} if version == 2 else {4: 72, 8: 120})


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="version.*1"):
        MobileNet(1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="stride_unit.*last"):
        MobileNet(3, stride_unit="last")  # type: ignore[arg-type]
