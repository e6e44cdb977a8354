import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_lightning.inference import Inference, SlidingWindow, multi_scale_logits, scaled_size, window_starts


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


class Counter:
    """A network whose logits are the number of its call, in the only class."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        assert size == (images.shape[2], images.shape[3])
        self.sizes.append(size)
        return torch.full((len(images), 1, *size), float(len(self.sizes)))


@pytest.mark.parametrize(
    ("side", "window", "stride", "starts"),
    [
        (1024, 769, 513, [0, 255]), (2048, 769, 513, [0, 513, 1026, 1279]), (8, 4, 4, [0, 4]), (9, 4, 4, [0, 4, 5]),
        (4, 4, 1, [0]), (3, 4, 2, [0]), (10, 4, 3, [0, 3, 6]),
    ],
)  # fmt: skip
def test_windows_cover_a_side_and_end_at_its_border(side: int, window: int, stride: int, starts: list[int]) -> None:
    """The first two are the windows of mmsegmentation's `slide_inference` with its settings for Cityscapes."""
    assert window_starts(side, window, stride) == starts


def test_logits_are_averaged_where_windows_overlap() -> None:
    network = Counter()
    sliding = SlidingWindow(network, (4, 4), (4, 3), align_corners=False)
    logits = sliding(torch.zeros(1, 3, 4, 9), (4, 9))
    assert network.sizes == [(4, 4)] * 3  # windows at 0, 3 and 5
    assert logits[0, 0, 2].tolist() == [1, 1, 1, 1.5, 2, 2.5, 2.5, 3, 3]


def test_a_network_without_context_gives_the_same_in_windows() -> None:
    images = torch.randn(2, 3, 11, 17)

    def network(crop: Tensor, size: tuple[int, int]) -> Tensor:
        return torch.stack([crop.sum(1), crop.prod(1)], 1)

    sliding = SlidingWindow(network, (5, 6), (3, 5), align_corners=True)
    torch.testing.assert_close(sliding(images, (11, 17)), network(images, (11, 17)))


def test_windows_slide_over_the_scaled_image() -> None:
    network = Counter()
    inference = Inference((0.5, 1.0), True, window=(8, 8), window_stride=(8, 8))
    logits = inference.logits(network, torch.zeros(1, 3, 16, 16), align_corners=False)
    assert network.sizes == [(8, 8)] * 10  # one window at half the size, four at the whole, each mirrored as well
    assert logits.shape == (1, 1, 16, 16)


@pytest.mark.parametrize(
    ("window", "stride"), [((4, 4), None), (None, (4, 4)), ((4, 4), (4, 5)), ((4, 4), (0, 4)), ((0, 0), (0, 0))]
)
def test_invalid_windows(window: tuple[int, int] | None, stride: tuple[int, int] | None) -> None:
    with pytest.raises(ValueError, match=re.escape(str(stride))):
        Inference(window=window, window_stride=stride)


@pytest.mark.parametrize(
    ("size", "fitted"),  # mmcv's rescale_size with (2048, 512), the shorter side first
    [((375, 500), (512, 683)), ((500, 375), (683, 512)), ((100, 500), (410, 2048)), ((512, 512), (512, 512))],
)
def test_images_are_scaled_into_a_frame_and_logits_back(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    network = Counter()
    logits = Inference(fit_to=(2048, 512)).logits(network, torch.zeros(1, 3, *size), align_corners=False)
    assert network.sizes == [fitted]
    assert logits.shape[-2:] == size


def test_windows_and_scales_come_after_the_frame() -> None:
    network = Counter()
    inference = Inference((0.5, 1.0), window=(8, 8), window_stride=(8, 8), fit_to=(16, 16))
    inference.logits(network, torch.zeros(1, 3, 32, 32), align_corners=False)
    assert network.sizes == [(8, 8)] * 5


@pytest.mark.parametrize("fit_to", [(512, 2048), (512, 0)])
def test_invalid_frames(fit_to: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=str(fit_to[1])):
        Inference(fit_to=fit_to)


def test_the_size_policy_names_the_windows() -> None:
    whole, sliding = Inference(), Inference(window=(512, 1024), window_stride=(256, 768))
    policy = "whole image, scored at its original size"
    assert whole.size_policy(policy) == policy
    assert sliding.size_policy(policy) == "sliding windows of 1024x512 every 768x256, scored at its original size"
    both = Inference(window=(480, 480), window_stride=(320, 320), fit_to=(520, 520)).size_policy(policy)
    assert both == "sliding windows of 480x480 every 320x320, scaled to fit 520x520, scored at its original size"
    padded = sliding.size_policy("padded with the mean to 513x513, scored at its original size")
    assert padded.endswith("256, padded with the mean to 513x513, scored at its original size")
