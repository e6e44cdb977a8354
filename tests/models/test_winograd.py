from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deeplab_lightning.models import build_network
from deeplab_lightning.models.winograd import (
    TILES_AT_ONCE,
    WinogradConv2d,
    convolve,
    transformed_filters,
    use_winograd,
    without_winograd,
)


@pytest.mark.parametrize(
    ("batch", "height", "width", "rate"),
    [(1, 23, 30, 2), (2, 9, 8, 1), (1, 7, 50, 3), (2, 6, 6, 6), (1, 1, 1, 1), (1, 12, 2 * TILES_AT_ONCE + 6, 1)],
)
def test_it_is_the_convolution_for_any_size_and_rate(batch: int, height: int, width: int, rate: int) -> None:
    images = torch.randn(batch, 5, height, width, dtype=torch.float64)
    weight = torch.randn(7, 5, 3, 3, dtype=torch.float64)
    output = convolve(images, transformed_filters(weight), rate)
    torch.testing.assert_close(output, F.conv2d(images, weight, padding=rate, dilation=rate), rtol=0, atol=1e-12)
    assert output.is_contiguous(memory_format=torch.channels_last)


def wide(rate: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(256, 256, 3, padding=rate, dilation=rate, bias=bias)


@pytest.mark.parametrize("bias", [False, True])
def test_float32_is_as_near_to_the_exact_result_as_the_direct_convolution(bias: bool) -> None:
    conv = wide(2, bias)
    images = torch.randn(1, 256, 11, 14).relu()
    with torch.inference_mode():
        direct, fast = conv(images), WinogradConv2d(conv)(images)
        exact = conv.double()(images.double())
    assert not torch.equal(direct, fast)
    assert (fast - exact).abs().max() < 2 * max(float((direct - exact).abs().max()), 1e-6)


def with_gradients(conv: nn.Module, images: torch.Tensor) -> torch.Tensor:
    conv.zero_grad()
    output: torch.Tensor = conv(images)
    torch.autograd.backward(output.sum())
    gradient = next(conv.parameters()).grad
    assert gradient is not None
    return gradient


def in_bfloat16(conv: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        output: torch.Tensor = conv(images.bfloat16())
    return output


def in_inference(conv: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        output: torch.Tensor = conv(images)
    return output


@pytest.mark.parametrize(
    ("run", "rate", "size"),
    [(with_gradients, 1, 12), (in_bfloat16, 1, 12), (in_inference, 12, 13)],
    ids=["gradients", "bfloat16", "tiles beyond the border"],
)
def test_elsewhere_it_is_the_direct_convolution(
    run: Callable[[nn.Module, torch.Tensor], torch.Tensor], rate: int, size: int
) -> None:
    conv = wide(rate)
    images = torch.randn(1, 256, size, size)
    assert torch.equal(run(WinogradConv2d(conv), images), run(conv, images))


def test_exported_programs_hold_convolutions() -> None:
    with torch.inference_mode():
        program = torch.export.export(WinogradConv2d(wide()).eval(), (torch.randn(1, 256, 8, 8),))
    assert [node.target for node in program.graph.nodes if node.op == "call_function"] == [
        torch.ops.aten.conv2d.default
    ]


def test_a_network_keeps_its_tensors_and_its_logits() -> None:
    network = build_network("DeepLabV3Plus", {"backbone": "resnet18", "num_classes": 4}).eval()
    images = torch.randn(1, 3, 65, 97)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    logits = in_inference(network, images)
    use_winograd(network)
    assert sum(isinstance(layer, WinogradConv2d) for layer in network.modules()) > 5
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    torch.testing.assert_close(in_inference(network, images), logits, rtol=0, atol=1e-5 * float(logits.abs().max()))
    direct = without_winograd(network)
    assert not any(isinstance(layer, WinogradConv2d) for layer in direct.modules())
    assert any(isinstance(layer, WinogradConv2d) for layer in network.modules())
    assert all(tensor is own for tensor, own in zip(direct.parameters(), network.parameters(), strict=True))
    torch.testing.assert_close(in_inference(direct, images), logits, rtol=0, atol=0)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(256, 256, 3, stride=2, padding=1),
        nn.Conv2d(256, 256, 3),
        nn.Conv2d(256, 256, 3, padding=1, dilation=2),
        nn.Conv2d(256, 256, 3, padding=(1, 2), dilation=(1, 2)),
        nn.Conv2d(256, 256, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(256, 256, 1),
        nn.Conv2d(512, 512, 3, padding=1, groups=4),
        nn.Conv2d(128, 256, 3, padding=1),
    ],
)
def test_other_convolutions_are_left_alone(conv: nn.Conv2d) -> None:
    layers = nn.Sequential(conv)
    use_winograd(layers)
    assert layers[0] is conv
