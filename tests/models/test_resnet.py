"""ResNets, and the ImageNet weights of all backbones (imagenet)."""

import math

import pytest
import torch
import torchvision
from torch import Tensor, nn

from deeplab_lightning.models.resnet import ResNet, Stem, StrideUnit, Unit
from tests.thin import an_eighth_of_the_channels


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


def assert_features_agree(networks: dict[int, nn.Module], images: Tensor, low_level_channels: dict[int, int]) -> None:
    """Networks of output strides 8, 16 and 32 give the same features at the positions that they share."""
    height, width = ((side - 1) // 4 + 1 for side in images.shape[2:])
    state = settled(networks[32]).state_dict()
    features = {}
    for stride, network in networks.items():
        network.load_state_dict(state)
        with torch.no_grad():
            low_level, features[stride] = network.eval()(images)
        assert low_level[4].shape == (1, low_level_channels[4], height, width)
        assert low_level[8].shape == (1, low_level_channels[8], (height + 1) // 2, (width + 1) // 2)
    assert features[8].shape[2:] == low_level[8].shape[2:]
    assert features[32].abs().max() > 1e-3
    torch.testing.assert_close(features[8][..., ::2, ::2], features[16])
    torch.testing.assert_close(features[16][..., ::2, ::2], features[32])


@pytest.mark.parametrize(
    ("depth", "stride_unit"), [(18, "first"), (18, "last"), (50, "first"), (50, "last"), (50, "first_1x1")]
)
@pytest.mark.parametrize("stem", ["conv7x7", "three_conv3x3"])
def test_atrous_consistency(depth: int, stride_unit: StrideUnit, stem: Stem) -> None:
    """Dense features, subsampled, equal the strided ones with the same weights (v3, section 3.1)."""
    images = torch.randn(1, 3, 97, 65, dtype=torch.float64)
    multi_grid = (1, 2, 4) if depth == 50 else (1, 2)
    with an_eighth_of_the_channels():
        networks: dict[int, nn.Module] = {
            stride: ResNet(depth, stride, multi_grid, stem=stem, stride_unit=stride_unit).double()
            for stride in (8, 16, 32)
        }
    assert_features_agree(networks, images, {4: 32, 8: 64} if depth == 50 else {4: 8, 8: 16})


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
    torch.testing.assert_close(own_low_level[4], low_level)
    torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("stride_unit", ["first", "last"])
def test_cascade_at_every_output_stride(stride_unit: StrideUnit) -> None:
    """Table 1: strides kept until the requested one; below it, features agree with the same weights."""
    images = torch.randn(1, 3, 65, 65, dtype=torch.float64)
    features, state = {}, None
    for stride in (256, 128, 64, 32, 16, 8):
        with an_eighth_of_the_channels():
            network = ResNet(18, stride, stride_unit=stride_unit, num_blocks=7).double()
        state = state or settled(network).state_dict()
        network.load_state_dict(state)
        with torch.no_grad():
            features[stride] = network.eval()(images)[1]
        assert features[stride].shape[2] == math.ceil(65 / stride)
    for stride in (8, 16, 32, 64, 128):
        torch.testing.assert_close(features[stride][..., ::2, ::2], features[2 * stride])


def test_cascade_rates_grow_by_block() -> None:
    """Figure 3 b: block4 to block7 at rates 2, 4, 8, 16 at output stride 16."""
    network = ResNet(50, 16, stride_unit="last", num_blocks=7)
    assert [dilations(network, block) for block in (4, 5, 6, 7)] == [[2] * 3, [4] * 3, [8] * 3, [16] * 3]


def test_caffe_strides_on_the_first_1x1() -> None:
    network = ResNet(50, 8, stride_unit="first_1x1")
    first = network.get_submodule("layer2.0")
    assert isinstance(first, Unit)
    assert (first.conv1.stride, first.conv2.stride) == ((2, 2), (1, 1))
    assert [dilations(network, block) for block in (3, 4)] == [[2] * 6, [4] * 3]
    assert network.maxpool.ceil_mode


@pytest.mark.parametrize("stride_unit", ["first_1x1", "last"])
def test_imagenet_weights_are_refused_where_they_stride_elsewhere(stride_unit: StrideUnit) -> None:
    with pytest.raises(ValueError, match=f"pretrained.*stride_unit '{stride_unit}'"):
        ResNet(50, 8, stride_unit=stride_unit, pretrained=True)


@pytest.mark.parametrize("stride_unit", ["first", "last"])
def test_low_level_features_of_the_release_come_before_the_shortcut(stride_unit: StrideUnit) -> None:
    """block1/unit_2/bottleneck_v1/conv3 at stride 4 and block2/unit_3 at stride 8 (feature_extractor.py)."""
    images = torch.randn(1, 3, 65, 65, dtype=torch.float64)
    plain, network = (
        ResNet(50, 16, stride_unit=stride_unit, low_level_features=kind).double() for kind in ("block", "conv3")
    )
    network.load_state_dict(settled(plain).state_dict())
    seen = {}
    for stride, name in ((4, "layer1.1.bn3"), (8, "layer2.2.bn3")):
        network.get_submodule(name).register_forward_hook(
            lambda *args, stride=stride: seen.update({stride: args[2].clone()})
        )
    with torch.no_grad():
        (low_level, features), expected = network.eval()(images), plain(images)
    for stride in (4, 8):
        assert torch.equal(low_level[stride], seen[stride])
        assert low_level[stride].shape == expected[0][stride].shape
        assert low_level[stride].min() < 0  # no ReLU has seen it
    torch.testing.assert_close(features, expected[1])


def dilations(network: ResNet, block: int = 4) -> list[int]:
    units = [unit for unit in network.get_submodule(f"layer{block}").children() if isinstance(unit, Unit)]
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
        ({"depth": 20}, "depth.*20"),
        ({"output_stride": 12}, r"output_stride.*\[8, 16, 32\].*12"),
        ({"output_stride": 64}, "output_stride.*64"),
        ({"num_blocks": 3}, "num_blocks.*3"),
        ({"stride_unit": "first_1x1"}, "first_1x1.*ResNet-18"),
        ({"multi_grid": (0, 1, 1)}, r"multi_grid.*\(0, 1, 1\)"),
        ({"multi_grid": ()}, r"multi_grid.*\(\)"),
        ({"multi_grid": (1, 2, 4)}, r"2 units.*multi_grid \(1, 2, 4\)"),
        ({"stem": "conv5x5"}, "stem.*conv5x5"),
        ({"stride_unit": "middle"}, "stride_unit.*middle"),
        ({"low_level_features": "conv3"}, "low_level_features.*'conv3' for ResNet-18"),
        ({"depth": 50, "low_level_features": "conv2"}, "low_level_features.*'conv2'"),
    ],
)
def test_invalid_settings_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResNet(**{"depth": 18, **arguments})  # type: ignore[arg-type]


def test_weights_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", _refuse)
    with pytest.raises(ConnectionError, match="resnet18.*pretrained to false"):
        ResNet(18, pretrained=True)


def test_weights_of_a_published_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loading path with a state dictionary of torchvision's layout in the place of the download."""
    reference = torchvision.models.resnet18(weights=None)
    monkeypatch.setattr("deeplab_lightning.models.imagenet.torchvision_state_dict", lambda name: reference.state_dict())
    network = ResNet(18, pretrained=True)
    torch.testing.assert_close(network.conv1.weight, reference.conv1.weight)
    five = ResNet(18, pretrained=True, in_channels=5)
    expected = reference.conv1.weight[:, [0, 1, 2, 0, 1]] / torch.tensor([2, 2, 1, 2, 2])[:, None, None]
    torch.testing.assert_close(five.conv1.weight, expected)
    torch.testing.assert_close(five.layer4[1].conv2.weight, reference.layer4[1].conv2.weight)  # type: ignore[union-attr, index]


def _refuse(*_: object, **__: object) -> None:
    raise OSError("no network")
