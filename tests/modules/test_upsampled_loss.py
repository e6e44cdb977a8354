"""The loss of upsampled logits in bands equals that of all rows at once, in numbers and gradients, in little memory."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from deeplab_lightning.losses.cross_entropy import LossContext
from deeplab_lightning.losses.weighted_sum import WeightedSum
from deeplab_lightning.modules import upsampled_loss as banded
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.deeplab_v1 import DeepLabV1Module
from deeplab_lightning.modules.deeplab_v2 import DeepLabV2Module
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule
from deeplab_lightning.modules.upsampled_loss import upsampled_loss
from tests.thin import an_eighth_of_the_channels

CLASS_WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 1.5], dtype=torch.float64)
MIXED = WeightedSum({"cross_entropy": 0.5, "focal": {"weight": 2.0, "gamma": 1.5}})


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The number of values of the largest tensor that any operation returns."""

    values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation."""
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else [result]:
            self.values = max(self.values, each.numel() if isinstance(each, Tensor) else 0)
        return result


def batch(height: int, width: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Coarse logits of four classes and a target of 37x29 with void."""
    generator = torch.Generator().manual_seed(height)
    logits = 3 * torch.randn(2, 4, height, width, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 4, (2, 37, 29), generator=generator)
    target[:, 3:9] = 255
    return logits.to(dtype).requires_grad_(), target


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(5, 4), (10, 8), (1, 1), (37, 29), (50, 40)])
@pytest.mark.parametrize("rows", [1, 5, 36])
def test_loss_and_gradient_equal_those_of_all_rows(
    monkeypatch: pytest.MonkeyPatch, align_corners: bool, size: tuple[int, int], rows: int
) -> None:
    logits, target = batch(*size)
    context = LossContext(CLASS_WEIGHTS, lambda weight: weight * 1.25)
    whole = MIXED(
        F.interpolate(logits, target.shape[1:], mode="bilinear", align_corners=align_corners), target, context
    )
    monkeypatch.setattr(banded, "VALUES_AT_ONCE", rows * 2 * 4 * 29)
    found = upsampled_loss(MIXED, logits, target, align_corners=align_corners, context=context)
    torch.testing.assert_close(found, whole, rtol=1e-13, atol=0)
    gradients = [torch.autograd.grad(3 * loss, logits)[0] for loss in (found, whole)]
    torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-15)


def test_no_tensor_is_larger_than_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = batch(5, 4)
    monkeypatch.setattr(banded, "VALUES_AT_ONCE", 1000)
    for settings, expected in ((None, 1000), ({"dice": 1.0}, 2 * 4 * 37 * 29)):
        with Largest() as largest:  # type: ignore[no-untyped-call]
            loss = upsampled_loss(WeightedSum(settings), logits, target, align_corners=True, context=LossContext())
            torch.autograd.backward(loss)
        assert 4 * 37 * 29 // 10 < largest.values <= max(expected, target.numel())


@pytest.mark.parametrize("name", ["hardest_share", "below_threshold", "dice", "tversky", "lovasz_softmax"])
def test_a_loss_that_needs_all_pixels_gets_them(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    logits, target = batch(5, 4)
    loss = WeightedSum({"cross_entropy": 1.0, name: 1.0})
    whole = upsampled_loss(loss, logits, target, align_corners=False, context=LossContext())
    monkeypatch.setattr(banded, "VALUES_AT_ONCE", 1)
    assert torch.equal(upsampled_loss(loss, logits, target, align_corners=False, context=LossContext()), whole)


def test_half_precision_logits_are_upsampled_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = batch(5, 4, torch.bfloat16)
    monkeypatch.setattr(banded, "VALUES_AT_ONCE", 1)
    found = upsampled_loss(WeightedSum(), logits, target, align_corners=False, context=LossContext())
    upsampled = F.interpolate(logits.float(), target.shape[1:], mode="bilinear")
    torch.testing.assert_close(found, F.cross_entropy(upsampled, target, ignore_index=255))
    assert torch.autograd.grad(found, logits)[0].dtype == torch.bfloat16


def test_void_alone_has_no_loss_and_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = batch(5, 4)
    monkeypatch.setattr(banded, "VALUES_AT_ONCE", 1)
    void = torch.full_like(target, 255)
    loss = upsampled_loss(WeightedSum(), logits, void, align_corners=False, context=LossContext())
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, logits)[0].any()


BUILDERS: dict[str, tuple[type[SegmentationModule], dict[str, Any]]] = {
    "v1 MSc": (DeepLabV1Module, {"fc_channels": 256, "multi_scale": True}),
    "v2 MSC": (DeepLabV2Module, {"backbone": "vgg16", "input_scales": (1, 0.5)}),
    "v3": (DeepLabV3Module, {"backbone": "resnet18", "class_weights": [0.5, 1.0, 2.0, 1.5]}),
    "v3+": (DeepLabV3PlusModule, {"backbone": "resnet18", "align_corners": True}),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_a_training_step_has_the_same_gradients(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    kind, settings = BUILDERS[name]
    with an_eighth_of_the_channels():
        module = kind(4, **settings).double().eval()  # without dropout
    images, (_, target) = torch.randn(2, 3, 37, 29, dtype=torch.float64), batch(1, 1)
    whole = module.training_loss(images, target)
    parameters = list(module.parameters())
    expected = torch.autograd.grad(whole, parameters, allow_unused=True)
    monkeypatch.setattr(banded, "VALUES_AT_ONCE", 2000)
    loss = module.training_loss(images, target)
    torch.testing.assert_close(loss, whole)
    for found, gradient in zip(torch.autograd.grad(loss, parameters, allow_unused=True), expected, strict=True):
        torch.testing.assert_close(found, gradient)
