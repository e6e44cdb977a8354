"""Blocks that recompute their activations or are compiled: the same numbers and names of tensors."""

import copy
import shutil
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeplab_lightning.models.blocks import blocks, compile_blocks, recompute_activations
from deeplab_lightning.models.build import build_network
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from tests.thin import an_eighth_of_the_channels

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "v1 MSc": ("DeepLabV1", {"fc_channels": 256, "multi_scale": True}),
    "v3": ("DeepLabV3", {"backbone": "resnet18", "stem": "three_conv3x3"}),
    "v3+ mobilenet_v2": ("DeepLabV3Plus", {"backbone": "mobilenet_v2"}),
}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "v2 vgg16": ("DeepLabV2", {"backbone": "vgg16", "input_scales": (1, 0.5)}),
    "v2 resnet50": ("DeepLabV2", {"backbone": "resnet50"}),
    "v3 cascade": ("DeepLabV3Cascade", {"backbone": "resnet18", "stride_unit": "last"}),
    "v3+ conv3": ("DeepLabV3Plus", {"backbone": "resnet50", "low_level_features": "conv3"}),
    "v3+ xception41": ("DeepLabV3Plus", {"backbone": "xception41"}),
    "LR-ASPP": ("LRASPP", {}),
    "smp's encoder": ("DeepLabV3Plus", {"backbone": "smp-resnet18"}),
    "smp's network": ("SMPNetwork", {}),
}


def step(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
    """The gradients of a training step, the tensors after it, and the values that were saved for the backward pass."""
    saved = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += tensor.numel()
        return tensor

    torch.manual_seed(0)
    images = torch.randn(2, 3, 65, 65, dtype=torch.float64)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = network(images).square().mean()
    torch.autograd.backward(loss)
    gradients = {name: each.grad for name, each in network.named_parameters() if each.grad is not None}
    return gradients, network.state_dict(), saved


def check_recomputing(name: str, settings: dict[str, Any]) -> None:
    """Compare a step of a network with that of its copy that recomputes."""
    with an_eighth_of_the_channels():
        network = build_network(name, {"num_classes": 4, **settings}).double().train()
    other = copy.deepcopy(network)
    recompute_activations(other.get_submodule("backbone"))
    gradients, tensors, saved = step(network)
    found, after, less = step(copy.deepcopy(other))  # averaged weights are copies: their blocks must be their own
    assert gradients.keys() == found.keys()
    assert tensors.keys() == after.keys()
    for key in gradients:
        torch.testing.assert_close(found[key], gradients[key])
    for key in tensors:
        torch.testing.assert_close(after[key], tensors[key])
    assert all(each.grad is None for each in other.parameters())
    assert less < 0.75 * saved


@pytest.mark.parametrize("name", NETWORKS)
def test_recomputing_changes_no_gradient_and_no_statistic(name: str) -> None:
    check_recomputing(*NETWORKS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_recomputing_in_the_other_networks(name: str) -> None:
    check_recomputing(*OTHERS[name])


def test_a_module_recomputes_on_request() -> None:
    with an_eighth_of_the_channels():
        modules = [DeepLabV3Module(4, backbone="resnet18", recompute_backbone=asked) for asked in (False, True)]
    saved = [step(module.double())[2] for module in modules]
    assert saved[1] < 0.75 * saved[0]


def test_recomputed_blocks_are_not_compiled() -> None:
    with pytest.raises(ValueError, match="recompute_backbone and compile"):
        DeepLabV3Module(4, backbone="resnet18", recompute_backbone=True, compile=True)


def test_every_block_is_compiled_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda block, **_: compiled.append(block))
    with an_eighth_of_the_channels():
        DeepLabV3Module(4, backbone="resnet18")
        assert not compiled
        module = DeepLabV3Module(4, backbone="resnet18", compile=True)
    assert compiled == blocks(module.network.get_submodule("backbone"))
    assert len(compiled) == 8


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch reads it while it traces
@pytest.mark.parametrize(
    ("name", "settings"),
    [("DeepLabV3", {"backbone": "resnet18"}), ("DeepLabV3Plus", {"backbone": "mobilenet_v2"}), ("DeepLabV1", {})],
)
def test_compiled_blocks_have_the_same_numbers_and_are_not_compiled_for_every_size(
    name: str, settings: dict[str, Any]
) -> None:
    with an_eighth_of_the_channels():
        plain = build_network(name, {"num_classes": 4, **settings}).double()
    other = copy.deepcopy(plain)
    compile_blocks(other.get_submodule("backbone"))
    assert list(other.state_dict()) == list(plain.state_dict())
    images = torch.randn(2, 3, 65, 65, dtype=torch.float64)
    for network in (plain.train(), other.train()):
        torch.manual_seed(0)  # of the dropout, which is behind the backbone
        torch.autograd.backward(network(images).square().mean())
    for own, theirs in zip(other.parameters(), plain.parameters(), strict=True):
        assert own.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(own.grad, theirs.grad, rtol=1e-6, atol=1e-12)
    plain.eval(), other.eval()
    with torch.no_grad():
        for side in (65, 81):
            other(torch.randn(1, 3, side, side + 16, dtype=torch.float64))
        with torch.compiler.set_stance("fail_on_recompile"):
            for side in (97, 129, 113):
                images = torch.randn(1, 3, side, side + 16, dtype=torch.float64)
                torch.testing.assert_close(other(images), plain(images))
