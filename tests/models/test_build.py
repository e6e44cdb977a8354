from typing import Any

import pytest
import torch

from deeplab_lightning.models.build import NETWORKS, build_network, restore_network

SMALL: dict[str, dict[str, Any]] = {
    "DeepLabV1": {"fc_channels": 8},
    "DeepLabV2": {"backbone": "resnet50", "atrous_rates": [6]},
    "DeepLabV3": {"backbone": "mobilenet_v2", "aspp_channels": 8},
    "DeepLabV3Cascade": {"backbone": "resnet18", "num_blocks": 4},
    "DeepLabV3Plus": {"backbone": "mobilenet_v2", "aspp_channels": 8, "decoder_channels": 8},
    "LRASPP": {"backbone": "mobilenet_v3_small_seg"},
    "SMPNetwork": {"backbone": "resnet18"},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_restored_network_gives_the_same_logits(name: str) -> None:
    arguments = {"num_classes": 3, **SMALL[name]}
    network = build_network(name, arguments).eval()
    again = restore_network(name, arguments | {"pretrained": True}, network.state_dict())
    images = torch.randn(1, 3, 33, 41)
    with torch.no_grad():
        assert torch.equal(again(images), network(images))
    assert not any(each.is_meta for each in (*again.parameters(), *again.buffers()))


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("Sequential", {}, "'Sequential'"),
        ("DeepLabV3", {}, "num_classes"),
        ("DeepLabV3", {"num_classes": "x"}, "'str'"),
        ("DeepLabV3", {"num_classes": 3, "unknown": 1}, "unknown"),
        ("DeepLabV3", {"num_classes": 3, "output_stride": 7}, "7"),
    ],
)
def test_networks_and_arguments_that_do_not_exist_are_refused(name: str, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        build_network(name, arguments)


def test_weights_of_another_network_are_refused() -> None:
    arguments: dict[str, Any] = {"num_classes": 3, **SMALL["DeepLabV3"]}
    tensors = dict(build_network("DeepLabV3", arguments).state_dict())
    with pytest.raises(ValueError, match=r"classifier.bias is float32 \[3\] there, but float32 \[5\]"):
        restore_network("DeepLabV3", arguments | {"num_classes": 5}, tensors)
    with pytest.raises(ValueError, match=r"extra is float32 \[1\] there, but missing"):
        restore_network("DeepLabV3", arguments, tensors | {"extra": torch.zeros(1)})
    bias = tensors.pop("classifier.bias")
    with pytest.raises(ValueError, match="classifier.bias is missing there"):
        restore_network("DeepLabV3", arguments, tensors)
    with pytest.raises(ValueError, match=r"classifier.bias is float64 \[3\] there"):
        restore_network("DeepLabV3", arguments, tensors | {"classifier.bias": bias.double()})


def test_a_network_whose_size_overflows_is_refused() -> None:
    with pytest.raises(ValueError, match="DeepLabV3 cannot be built"):
        restore_network("DeepLabV3", {**SMALL["DeepLabV3"], "num_classes": 3, "aspp_channels": 2**60}, {})
