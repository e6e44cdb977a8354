"""Every loss (hard pixels, regions) against a plain definition in float64, with void, on two processes, and summed."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from deeplab_lightning.losses.cross_entropy import LossContext
from deeplab_lightning.losses.weighted_sum import LOSSES, WeightedSum

CLASS_WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 1.5], dtype=torch.float64)


def batch(seed: int = 0, size: int = 4) -> tuple[Tensor, Tensor]:
    """Logits of four classes and a target with void and without class 3, of which the first image is almost void."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(size, 4, 6, 5, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 3, (size, 6, 5), generator=generator)
    target[:, 0] = 255
    target[0, 1:, 1:] = 255
    return logits.requires_grad_(), target


def pixels(logits: Tensor, target: Tensor) -> list[tuple[Tensor, int]]:
    """The probabilities (K,) and the class of every labelled pixel."""
    probabilities = logits.softmax(1).permute(0, 2, 3, 1)
    return [(probabilities[tuple(at)], int(target[tuple(at)])) for at in (target != 255).nonzero()]


def plain_cross_entropy(logits: Tensor, target: Tensor, gamma: float = 0) -> Tensor:
    terms = [(1 - p[c]) ** gamma * -p[c].log() for p, c in pixels(logits, target)]
    return torch.stack(terms).sum() / len(terms)


def plain_hardest_share(logits: Tensor, target: Tensor) -> Tensor:
    losses = sorted((-p[c].log() for p, c in pixels(logits, target)), key=Tensor.item, reverse=True)
    kept = losses[: int(0.25 * target.numel())]
    return torch.stack(kept).sum() / len(kept)


def plain_below_threshold(logits: Tensor, target: Tensor) -> Tensor:
    found = pixels(logits, target)
    limit = max(0.3, sorted(p[c].item() for p, c in found)[4 * len(target)])
    kept = [-p[c].log() for p, c in found if p[c] < limit]
    return torch.stack(kept).sum() / len(kept)


def plain_tversky(logits: Tensor, target: Tensor, alpha: float = 0.5, beta: float = 0.5) -> Tensor:
    found, total = pixels(logits, target), torch.zeros((), dtype=torch.float64)
    for index in {c for _, c in found}:
        true = sum(p[index] for p, c in found if c == index)
        false = sum(p[index] for p, c in found if c != index)
        missed = sum(1 - p[index] for p, c in found if c == index)
        total = total + 1 - true / (true + alpha * false + beta * missed)
    return total / 4


def plain_lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """The Lovasz extension by its definition: the Jaccard loss of growing sets of pixels, in descending order."""
    images = []
    for own, labels in zip(logits, target, strict=True):
        found, losses = pixels(own[None], labels[None]), []
        for index in {c for _, c in found}:
            errors = sorted(
                ((1 - p[index] if c == index else p[index], c == index) for p, c in found), key=lambda e: -e[0]
            )
            size, before, loss = sum(truth for _, truth in errors), 0.0, torch.zeros((), dtype=torch.float64)
            for count in range(1, len(errors) + 1):
                wrong = [truth for _, truth in errors[:count]]
                jaccard = 1 - (size - sum(wrong)) / (size + wrong.count(False))
                loss, before = loss + errors[count - 1][0] * (jaccard - before), jaccard
            losses.append(loss)
        images.append(torch.stack(losses).mean())
    return torch.stack(images).mean()


PLAIN: dict[str, tuple[dict[str, Any], Callable[[Tensor, Tensor], Tensor]]] = {
    "cross_entropy": ({}, plain_cross_entropy),
    "hardest_share": ({"share": 0.25}, plain_hardest_share),
    "below_threshold": ({"threshold": 0.3, "min_pixels": 4}, plain_below_threshold),
    "focal": ({"gamma": 1.5}, lambda logits, target: plain_cross_entropy(logits, target, 1.5)),
    "dice": ({}, plain_tversky),
    "tversky": ({"alpha": 0.3, "beta": 0.7}, lambda logits, target: plain_tversky(logits, target, 0.3, 0.7)),
    "lovasz_softmax": ({}, plain_lovasz),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_gradient_equal_the_plain_definition(name: str) -> None:
    settings, plain = PLAIN[name]
    logits, target = batch()
    found = WeightedSum({name: {"weight": 2.0, **settings}})(logits, target)
    expected = 2 * plain(logits, target)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients)
    assert not gradients[0].transpose(0, 1)[:, target == 255].any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_of_void_has_no_loss_and_no_gradient(name: str) -> None:
    logits, target = batch()
    loss = WeightedSum({name: 1})(logits, torch.full_like(target, 255), LossContext(CLASS_WEIGHTS))
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, logits)[0].any()


CHOOSING = {"hardest_share", "below_threshold"}
"""Losses whose processes choose among their own pixels."""


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_over_processes_is_the_loss_of_the_whole_batch(name: str) -> None:
    """Value and gradient; the processes' numbers of labelled pixels differ."""
    loss = WeightedSum({name: PLAIN[name][0] if name not in CHOOSING else {}})
    if name in CHOOSING:  # all pixels are chosen, so that only the normalisation is left
        loss = WeightedSum({name: {"share": 1.0} if name == "hardest_share" else {"threshold": 1.0}})
    logits, target = batch()
    weights = CLASS_WEIGHTS if name in ("cross_entropy", "focal", "below_threshold") else None
    whole = loss(logits, target, LossContext(weights))
    expected = torch.autograd.grad(whole, logits)[0]
    halves = [(logits[:2], target[:2]), (logits[2:], target[2:])]
    seen: list[list[Tensor]] = []

    def record(value: Tensor) -> Tensor:
        seen[-1].append(value)
        return value

    for half in halves:  # the first round collects what each process shares
        seen.append([])
        loss(*half, LossContext(weights, record))
    losses = []
    for half in halves:
        means = iter([torch.stack(pair).mean(0).detach() for pair in zip(*seen, strict=True)])
        losses.append(loss(*half, LossContext(weights, lambda _, means=means: next(means))))  # type: ignore[misc]
    mean = torch.stack(losses).mean()
    torch.testing.assert_close(mean, whole)
    torch.testing.assert_close(torch.autograd.grad(mean, logits)[0], expected)


def test_losses_with_weights_are_summed() -> None:
    logits, target = batch()
    parts = [WeightedSum({name: PLAIN[name][0]})(logits, target) for name in ("focal", "dice", "lovasz_softmax")]
    settings = {"focal": {"weight": 0.5, "gamma": 1.5}, "dice": 2, "lovasz_softmax": 0.25}
    found = WeightedSum(settings)(logits, target)  # type: ignore[arg-type]
    torch.testing.assert_close(found, 0.5 * parts[0] + 2 * parts[1] + 0.25 * parts[2])


def test_the_share_of_hard_pixels_falls_with_the_steps() -> None:
    """As in the release: p = r * share + (1 - r), where r grows from 0 to 1 in the given steps."""
    logits, target = batch()
    falling = WeightedSum({"hardest_share": {"share": 0.25, "steps": 100}})
    everything = WeightedSum({"cross_entropy": 1})(logits, target)
    torch.testing.assert_close(falling(logits, target, LossContext(step=0)), everything)
    half = WeightedSum({"hardest_share": {"share": 0.625}})(logits, target)
    torch.testing.assert_close(falling(logits, target, LossContext(step=50)), half)
    least = WeightedSum({"hardest_share": {"share": 0.25}})(logits, target)
    for step in (100, 1000):
        torch.testing.assert_close(falling(logits, target, LossContext(step=step)), least)


@pytest.mark.parametrize("name", ["dice", "lovasz_softmax"])
def test_regions_equal_segmentation_models_pytorch(name: str) -> None:
    import segmentation_models_pytorch as smp

    logits, target = batch()
    if name == "dice":
        reference = smp.losses.DiceLoss("multiclass", ignore_index=255)
    else:
        reference = smp.losses.LovaszLoss("multiclass", per_image=True, ignore_index=255)
    logits = logits.detach().float()  # its Lovasz loss takes float32 only
    torch.testing.assert_close(WeightedSum({name: 1})(logits, target), reference(logits, target))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dise": 1}, "'dise'.*dice"),
        ({"dice": 0}, "dice.*0"),
        ({"dice": math.nan}, "dice.*nan"),
        ({"focal": {"gama": 2}}, "focal.*'gama'.*gamma"),
        ({"focal": {"gamma": -1}}, "gamma.*-1"),
        ({"hardest_share": {"share": 1.5}}, "share.*1.5"),
        ({"below_threshold": {"threshold": 0}}, "threshold.*0"),
        ({"tversky": {"alpha": -1}}, "alpha.*-1"),
        ({"dice": {"gamma": 1}}, "dice.*'gamma'"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        WeightedSum(settings)


def test_class_weights_need_a_loss_of_pixels() -> None:
    with pytest.raises(ValueError, match="class_weights have no effect on dice"):
        WeightedSum({"dice": 1}, [1.0, 2.0])
    WeightedSum({"dice": 1, "focal": 1}, [1.0, 2.0])


def test_the_release_divides_weighted_losses_by_their_number() -> None:
    logits, target = batch()
    found = WeightedSum({"hardest_share": {"share": 1}})(logits, target, LossContext(CLASS_WEIGHTS))
    losses = [CLASS_WEIGHTS[c] * -p[c].log() for p, c in pixels(logits, target)]
    torch.testing.assert_close(found, torch.stack(losses).sum() / len(losses))
