from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_lightning.losses.cross_entropy import cross_entropy


def test_void_does_not_count() -> None:
    logits, target = torch.randn(2, 4, 6, 5), torch.randint(0, 4, (2, 6, 5))
    target[:, :2] = 255
    expected = F.cross_entropy(logits[:, :, 2:], target[:, 2:])
    torch.testing.assert_close(cross_entropy(logits, target), expected)


def test_class_weights_act_like_torch_s() -> None:
    logits, target, weights = torch.randn(2, 3, 6, 5), torch.randint(0, 3, (2, 6, 5)), torch.tensor([0.5, 1.0, 4.0])
    target[0, 0] = 255
    expected = F.cross_entropy(logits, target, weights, ignore_index=255)
    torch.testing.assert_close(cross_entropy(logits, target, weights), expected)


def test_all_void_gives_zero_and_no_gradient() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    for weights in (None, torch.ones(3)):
        loss = cross_entropy(logits, torch.full((1, 4, 4), 255), weights)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.item() == 0
        assert not gradient.any()


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits, target = torch.randn(1, 3, 300, 300), torch.randint(0, 3, (1, 300, 300))
    expected = F.cross_entropy(logits.bfloat16().float(), target)
    torch.testing.assert_close(cross_entropy(logits.bfloat16(), target), expected)


def test_deterministic_algorithms_need_no_sum_that_torch_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """On GPUs, torch's kernel adds up the pixels in no fixed order, and refuses to if the algorithms are to be."""
    logits, target = torch.randn(2, 4, 6, 5), torch.randint(0, 4, (2, 6, 5))
    expected, original = cross_entropy(logits, target), F.cross_entropy
    reductions = []

    def recorded(*arguments: Any, **keywords: Any) -> Tensor:
        reductions.append(keywords["reduction"])
        return original(*arguments, **keywords)

    monkeypatch.setattr(F, "cross_entropy", recorded)
    torch.use_deterministic_algorithms(True)
    try:
        torch.testing.assert_close(cross_entropy(logits, target), expected)
    finally:
        torch.use_deterministic_algorithms(False)
    assert reductions == ["none"]
