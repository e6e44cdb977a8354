import pytest
import torch
from torch import nn

from deeplab_lightning.models.footprint import footprint, receptive_field, valid_weights


@pytest.mark.parametrize(
    ("rates", "kernel_size", "side"), [((1,), 3, 3), ((2, 2, 2), 3, 13), ((4, 8, 16), 3, 57), ((4,), 7, 25)]
)
def test_the_formula_is_the_side_of_the_footprint(rates: tuple[int, ...], kernel_size: int, side: int) -> None:
    assert receptive_field(rates, kernel_size) == side
    assert footprint(rates, kernel_size).shape == (side, side)


def test_paths_are_what_gradients_find() -> None:
    rates, side = (1, 2, 3), 17
    layers = [nn.Conv2d(1, 1, 3, padding=rate, dilation=rate, bias=False) for rate in rates]
    for layer in layers:
        nn.init.ones_(layer.weight)
    image = torch.zeros(1, 1, side, side, requires_grad=True)
    torch.autograd.backward(nn.Sequential(*layers)(image)[0, 0, side // 2, side // 2])
    assert image.grad is not None
    assert torch.equal(image.grad[0, 0, 2:-2, 2:-2].double(), footprint(rates))


def test_equal_rates_leave_holes_and_growing_ones_do_not() -> None:
    grid = footprint((2, 2, 2))
    assert torch.equal(grid > 0, (torch.arange(13) % 2 == 0)[:, None] & (torch.arange(13) % 2 == 0))
    assert (footprint((1, 2, 4)) > 0).all()
    assert int(grid.sum()) == int(footprint((1, 2, 4)).sum()) == 9**3


def test_weights_beyond_the_border() -> None:
    near = valid_weights(1, 5)
    assert near[2, 2] == 9
    assert near[0, 2] == 6
    assert near[0, 0] == 4
    assert torch.equal(valid_weights(5, 5), torch.ones(5, 5, dtype=torch.int64))
