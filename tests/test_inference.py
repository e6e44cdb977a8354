import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_lightning.inference import multi_scale_logits, scaled_size


class Recorder:
    """A network that returns a fixed function of the image, and records the input sizes."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        self.sizes.append((images.shape[2], images.shape[3]))
        ramp = torch.linspace(0, 1, images.shape[3]).expand_as(images[:, :1])  # not equal under mirroring
        return F.interpolate(torch.cat([images, ramp], 1), size, mode="bilinear", align_corners=True)


def test_a_single_pass_gives_the_logits_of_the_network() -> None:
    images = torch.randn(2, 3, 9, 13)
    network = Recorder()
    torch.testing.assert_close(multi_scale_logits(network, images), network(images, (9, 13)))


def test_probabilities_are_averaged() -> None:
    images = torch.randn(1, 3, 9, 13)
    network = Recorder()
    logits = multi_scale_logits(network, images, (0.5, 1.0), True, align_corners=True)
    assert network.sizes == [(5, 7), (5, 7), (9, 13), (9, 13)]
    small = F.interpolate(images, (5, 7), mode="bilinear", align_corners=True)
    expected = torch.zeros(1, 4, 9, 13)
    for scaled in (small, images):
        expected += network(scaled, (9, 13)).softmax(1) / 4
        expected += network(scaled.flip(3), (9, 13)).flip(3).softmax(1) / 4
    torch.testing.assert_close(logits.softmax(1), expected)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(1, 9, 13))


def test_sizes_keep_corners_on_their_grid() -> None:
    assert scaled_size((513, 513), 0.5, True) == (257, 257)
    assert scaled_size((360, 480), 0.5, False) == (180, 240)
    assert scaled_size((3, 3), 0.01, False) == (1, 1)


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, -1.0)])
def test_invalid_scales(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(str(scales))):
        multi_scale_logits(Recorder(), torch.zeros(1, 3, 4, 4), scales)
