import copy

import pytest
import torch
from torch import Tensor, nn

from deeplab_lightning.models.dropout import SampleDropout

ONES = torch.ones(2, 40, 50, 5)


def seeded(probability: float = 0.3) -> SampleDropout:
    layer = SampleDropout(probability)
    layer.seed((1, 2), [4, 7])
    return layer


def test_a_share_of_the_values_is_dropped_and_the_mean_stays() -> None:
    output = seeded()(ONES)
    assert output.eq(0).double().mean() == pytest.approx(0.3, abs=0.02)
    assert output.mean() == pytest.approx(1, abs=0.03)
    assert set(output.unique().tolist()) == {0.0, float(torch.tensor(1) / 0.7)}


def test_every_call_draws_anew_and_the_seed_repeats_them() -> None:
    layer = seeded()
    first, second = layer(ONES), layer(ONES)
    assert not torch.equal(first, second)
    again = copy.deepcopy(layer)
    again.seed((1, 2), [4, 7])
    assert torch.equal(again(ONES), first)
    assert torch.equal(again(ONES), second)


def test_gradients_reach_what_is_kept() -> None:
    images = torch.ones(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    output = seeded()(images)
    torch.autograd.backward(output.sum())
    assert images.grad is not None
    assert torch.equal(images.grad, output.detach())


def as_torch(layer: SampleDropout, images: Tensor) -> bool:
    torch.manual_seed(0)
    output = layer(images)
    torch.manual_seed(0)
    return torch.equal(output, nn.functional.dropout(images, layer.p, layer.training))


def test_without_seeds_of_the_batch_it_is_torchs_dropout() -> None:
    assert as_torch(SampleDropout(0.3), ONES)
    assert as_torch(seeded(), ONES[:1])
    assert as_torch(seeded().eval(), ONES)
    assert as_torch(seeded(0), ONES)
    assert not as_torch(seeded(), ONES)
