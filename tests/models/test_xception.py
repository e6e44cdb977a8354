import pytest
import timm
import torch
from torch import nn

from deeplab_lightning.models.xception import Xception
from tests.models.test_resnet import assert_features_agree, settled
from tests.thin import an_eighth_of_the_channels


@pytest.mark.parametrize("depth", [41, 65, 71])
def test_features_equal_timm(depth: int) -> None:
    reference = timm.create_model(f"xception{depth}", pretrained=False)
    settled(reference)
    network = Xception(depth, 32)
    state = {key: value for key, value in reference.state_dict().items() if not key.startswith("head.")}
    network.load_state_dict(state)
    images = torch.randn(1, 3, 65, 49)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(images)[1], reference.forward_features(images))


@pytest.mark.parametrize("depth", [41, 71])
def test_atrous_consistency(depth: int) -> None:
    images = torch.randn(1, 3, 65, 97, dtype=torch.float64)
    with an_eighth_of_the_channels():
        networks: dict[int, nn.Module] = {stride: Xception(depth, stride).double() for stride in (32, 16, 8)}
    assert_features_agree(networks, images, {4: 256 // 8, 8: 728 // 8})


def rates(network: Xception) -> list[int]:
    return [int(block.get_submodule("stack.conv1.conv_dw").dilation[0]) for block in network.blocks]  # type: ignore[index]


def test_rates() -> None:
    """Output stride 16: only the last module is atrous. 8: the middle flow and exit1 at 2, exit2 at 4."""
    assert rates(Xception(41, 16)) == [1, 1, 1] + [1] * 8 + [1, 2]
    assert rates(Xception(41, 8)) == [1, 1, 1] + [2] * 8 + [2, 4]


def test_relu_after_depthwise_is_the_flag() -> None:
    def count(network: nn.Module) -> int:
        return sum(isinstance(layer, nn.ReLU) for name, layer in network.named_modules() if name.endswith("act_dw"))

    assert count(Xception(41)) == 3
    assert count(Xception(41, relu_after_depthwise=True)) == 3 * (3 + 8 + 2)


def test_the_low_level_features_are_those_before_relu_and_stride() -> None:
    network = Xception(41).eval()
    images = torch.randn(1, 3, 33, 33)
    features = network.blocks[0](network.stem(images))[1]
    stack = network.blocks[1].get_submodule("stack")
    for name in ("act1", "conv1", "act2", "conv2"):
        features = stack.get_submodule(name)(features)
    torch.testing.assert_close(network(images)[0][4], features)


def test_imagenet_weights_are_the_release_s(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    reference: nn.Module = timm.create_model("xception41", pretrained=False)

    def create(name: str, pretrained: bool) -> nn.Module:
        asked.append((name, pretrained))
        return reference

    monkeypatch.setattr(timm, "create_model", create)
    network = Xception(41, pretrained=True)
    assert asked == [("xception41.tf_in1k", True)]
    name = "stem.0.conv.weight"
    torch.testing.assert_close(network.get_parameter(name), reference.get_parameter(name))


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"depth.*\[41, 65, 71\].*42"):
        Xception(42)
