from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from deeplab_lightning.models.mobilenet import MobileNet, SameConv2d
from tests.models.test_resnet import assert_features_agree, settled

LOW_LEVEL_CHANNELS = {
    "mobilenet_v2": {4: 144, 8: 192},
    "mobilenet_v3_large": {4: 72, 8: 120},
    "mobilenet_v3_large_seg": {4: 72, 8: 120},
    "mobilenet_v3_small_seg": {4: 16, 8: 88},
}


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large"])
def test_features_equal_torchvision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loading of ImageNet weights with torchvision's layout in the place of the download."""
    reference = getattr(torchvision.models, name)(weights=None)
    settled(reference)
    asked = []

    def download(asked_name: str) -> dict[str, torch.Tensor]:
        asked.append(asked_name)
        state: dict[str, torch.Tensor] = reference.state_dict()
        return state

    monkeypatch.setattr("deeplab_lightning.models.imagenet.torchvision_state_dict", download)
    network = MobileNet(name, 32, pretrained=True).eval()
    assert asked == [name]
    images = torch.randn(1, 3, 65, 49)
    expected = reference.features[:18](images) if name == "mobilenet_v2" else reference.features(images)
    torch.testing.assert_close(network(images)[1], expected)


@pytest.mark.parametrize("name", LOW_LEVEL_CHANNELS)
def test_atrous_consistency(name: str) -> None:
    images = torch.randn(1, 3, 97, 65, dtype=torch.float64)
    networks: dict[int, nn.Module] = {stride: MobileNet(name, stride).double() for stride in (32, 16, 8)}
    for layer in networks[32].modules():  # a gate sees the mean of the map, which changes with its grid
        if layer.__class__.__name__ == "SqueezeExcitation":
            layer.fc2.weight.data.zero_()  # type: ignore[union-attr, operator]
    assert_features_agree(networks, images, LOW_LEVEL_CHANNELS[name])


@pytest.mark.parametrize("side", [32, 33, 34, 35])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_same_padding_is_tensorflows(side: int, kernel_size: int) -> None:
    """Its "SAME" adds what the last position lacks, the odd part of it at the end (tf.nn, "Notes on padding")."""
    conv = SameConv2d(1, 1, kernel_size, 2, bias=False)
    images = torch.randn(1, 1, side, side + 1)
    out = conv(images)
    assert out.shape[2:] == ((side + 1) // 2, (side + 2) // 2)
    first = [(kernel_size - 1 - (length % 2 == 0)) // 2 for length in (side, side + 1)]  # positions before the start
    window = torch.zeros(kernel_size, kernel_size)
    window[first[0] :, first[1] :] = images[0, 0, : kernel_size - first[0], : kernel_size - first[1]]
    torch.testing.assert_close(out[0, 0, 0, 0], (window * conv.weight[0, 0]).sum())


def test_same_and_symmetric_padding_agree_on_odd_sides_only() -> None:
    networks = [MobileNet("mobilenet_v2", 16, strided_padding=each) for each in ("same", "symmetric")]
    networks[1].load_state_dict(networks[0].state_dict())
    odd, even = torch.randn(1, 3, 33, 65), torch.randn(1, 3, 32, 64)
    for network in networks:
        network.eval()
    assert torch.equal(networks[0](odd)[1], networks[1](odd)[1])
    assert networks[0](even)[1].shape == networks[1](even)[1].shape
    assert not torch.allclose(networks[0](even)[1], networks[1](even)[1], atol=0)


def test_half_widths_are_not_rounded() -> None:
    """Those of the release's dm05: 16, 8, 12, 16, 32, 48, 80, 160."""
    network = MobileNet("mobilenet_v2", 32, width_multiplier=0.5, batch_norm_eps=1e-3)
    widths = [layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.groups == 1]
    assert {8, 12, 48, 80, 160} <= set(widths)
    assert network.out_channels == 160
    assert {layer.eps for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)} == {1e-3}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "mobilenet_v4"}, "mobilenet_v4"),
        ({"name": "mobilenet_v2", "stride_unit": "first_dilated"}, "first_dilated.*mobilenet_v2"),
        ({"name": "mobilenet_v3_large", "stride_unit": "last"}, "last.*mobilenet_v3_large"),
        ({"name": "mobilenet_v3_large", "width_multiplier": 0.5}, "width_multiplier.*mobilenet_v3_large"),
        ({"name": "mobilenet_v2", "width_multiplier": 0.3}, "0.3"),
        ({"name": "mobilenet_v2", "width_multiplier": 0.5, "pretrained": True}, "0.5"),
        ({"name": "mobilenet_v2", "strided_padding": "valid"}, "valid"),
        ({"name": "mobilenet_v2", "output_stride": 64}, "64"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MobileNet(**settings)
