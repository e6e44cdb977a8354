import pytest
import torch
import torchvision
from torch import nn

from deeplab_lightning.models.resnet import ResNet, Stem, StrideUnit, Unit


def settled(network: nn.Module) -> nn.Module:
    """Give batch norms statistics that differ from their start, so that none is an identity by chance."""
    generator = torch.Generator().manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean = layer.running_mean + torch.randn(layer.num_features, generator=generator) * 0.1
            layer.running_var = layer.running_var * (torch.rand(layer.num_features, generator=generator) + 0.5)
    return network.eval()


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("stride_unit", ["first", "last"])
@pytest.mark.parametrize("stem", ["conv7x7", "three_conv3x3"])
def test_atrous_consistency(depth: int, stride_unit: StrideUnit, stem: Stem) -> None:
    """Dense features, subsampled, equal the strided ones with the same weights (v3, section 3.1)."""
    images = torch.randn(1, 3, 97, 65, dtype=torch.float64)
    multi_grid = (1, 2, 4) if depth == 50 else (1, 2)
    networks = {stride: ResNet(depth, stride, multi_grid, stem, stride_unit).double() for stride in (8, 16, 32)}
    settled(networks[32])
    features = {}
    for stride, network in networks.items():
        network.load_state_dict(networks[32].state_dict())
        low_level, features[stride] = network.eval()(images)
        assert low_level.shape == (1, network.low_level_channels, 25, 17)
    assert features[8].shape[2:] == (13, 9)
    assert features[32].abs().mean() > 0.1
    torch.testing.assert_close(features[8][..., ::2, ::2], features[16])
    torch.testing.assert_close(features[16][..., ::2, ::2], features[32])


@pytest.mark.parametrize(
    ("output_stride", "dilate"), [(32, (False, False, False)), (16, (False, False, True)), (8, (False, True, True))]
)
def test_features_equal_torchvision(output_stride: int, dilate: tuple[bool, bool, bool]) -> None:
    reference = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=dilate)
    settled(reference)
    state = {key: value for key, value in reference.state_dict().items() if not key.startswith("fc.")}
    network = ResNet(50, output_stride)
    network.load_state_dict(state)
    images = torch.randn(1, 3, 65, 97)
    features = reference.maxpool(reference.relu(reference.bn1(reference.conv1(images))))
    low_level = reference.layer1(features)
    expected = reference.layer4(reference.layer3(reference.layer2(low_level)))
    own_low_level, own = network.eval()(images)
    torch.testing.assert_close(own_low_level, low_level)
    torch.testing.assert_close(own, expected)


def dilations(network: ResNet) -> list[int]:
    units = [unit for unit in network.layer4 if isinstance(unit, Unit)]
    return [int(unit.conv2.dilation[0]) for unit in units]


def test_rates_of_the_paper() -> None:
    """Multi-grid (1, 2, 4) at output stride 16 gives rates 2, 4, 8 (v3, section 3.2.1)."""
    assert dilations(ResNet(50, 16, (1, 2, 4), stride_unit="last")) == [2, 4, 8]
    assert dilations(ResNet(50, 8, (1, 2, 4), stride_unit="last")) == [4, 8, 16]


def test_rates_where_imagenet_weights_have_their_strides() -> None:
    assert dilations(ResNet(50, 16, (1, 2, 4))) == [1, 4, 8]
    assert dilations(ResNet(50, 8)) == [2, 4, 4]


def test_three_conv_stem_has_the_names_of_timm() -> None:
    import timm

    reference = timm.create_model("resnet50s", pretrained=False)
    state = {key: value for key, value in reference.state_dict().items() if not key.startswith("fc.")}
    ResNet(50, 32, stem="three_conv3x3").load_state_dict(state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 20}, "depth must be one of"),
        ({"output_stride": 12}, "output_stride must be 8, 16 or 32, got 12"),
        ({"multi_grid": (0, 1, 1)}, "multi_grid must hold rates of at least 1"),
        ({"multi_grid": ()}, "multi_grid must hold rates"),
        ({"multi_grid": (1, 2, 4)}, "has 2 units, too few for multi_grid"),
        ({"stem": "conv5x5"}, "stem must be"),
        ({"stride_unit": "middle"}, "stride_unit must be"),
    ],
)
def test_settings_that_cannot_work(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResNet(**{"depth": 18, **arguments})  # type: ignore[arg-type]


def test_weights_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", _refuse)
    with pytest.raises(ConnectionError, match="weights of resnet18 cannot be downloaded .*pretrained to false"):
        ResNet(18, pretrained=True)


def test_weights_of_a_published_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loading path with a state dictionary of torchvision's layout in the place of the download."""
    reference = torchvision.models.resnet18(weights=None)
    monkeypatch.setattr("deeplab_lightning.models.weights._torchvision", lambda name: reference.state_dict())
    network = ResNet(18, pretrained=True)
    torch.testing.assert_close(network.conv1.weight, reference.conv1.weight)


def _refuse(*_: object, **__: object) -> None:
    raise OSError("no network")
