"""Inference on whole images or in sliding windows, at several scales and mirrored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Network = Callable[[Tensor, tuple[int, int]], Tensor]
"""A function from images (B, C, h, w) and a size (H, W) to logits (B, K, H, W)."""


@dataclass(frozen=True)
class Inference:
    """The passes of an image through a network at evaluation.

    Args:
        scales: Scales of the image, over which probabilities are averaged.
        flip: Every scale also runs on the mirrored image.
        window: Size (H, W) of the windows that slide over the image; None for the whole image at once.
        window_stride: Distances (vertical, horizontal) of the windows, at most their sides.
        fit_to: Longer and shorter side of the frame that images are scaled into before any other scaling; None for
            images at their own size.

    Raises:
        ValueError: A setting is invalid or has no effect.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: tuple[int, int] | None = None
    window_stride: tuple[int, int] | None = None
    fit_to: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales must hold at least one scale, all above 0, got {self.scales}")
        if (self.window is None) != (self.window_stride is None):
            raise ValueError(
                "window and window_stride are set together or not at all, got "
                f"window {self.window} and window_stride {self.window_stride}"
            )
        if self.fit_to is not None and not self.fit_to[0] >= self.fit_to[1] >= 1:
            raise ValueError(f"fit_to must be a longer and a shorter side in pixels, got {self.fit_to}")
        for side, step in zip(self.window or (), self.window_stride or (), strict=True):
            if not 1 <= step <= side:
                raise ValueError(
                    f"window_stride must be 1 or more and at most the window {self.window}, got {self.window_stride}"
                )

    def logits(self, network: Network, images: Tensor, align_corners: bool) -> Tensor:
        """Return the logits (B, K, H, W) of images (B, 3, H, W); see `multi_scale_logits` and `SlidingWindow`."""
        if self.window and self.window_stride:
            network = SlidingWindow(network, self.window, self.window_stride, align_corners)
        size = (images.shape[-2], images.shape[-1])
        if (fitted := self._fitted(size)) != size:
            images = F.interpolate(images, fitted, mode="bilinear")
        logits = multi_scale_logits(network, images, self.scales, flip=self.flip, align_corners=align_corners)
        return F.interpolate(logits, size, mode="bilinear", align_corners=align_corners) if fitted != size else logits

    def _fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size (H, W) at which the network sees an image, rounded like mmcv's `rescale_size`."""
        if self.fit_to is None:
            return size
        scale = min(self.fit_to[0] / max(size), self.fit_to[1] / min(size))
        return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)

    def size_policy(self, policy: str) -> str:
        """Return the size policy of the data in the evaluation identity, with what the network saw of the images."""
        if self.fit_to is not None:
            policy = f"scaled to fit {self.fit_to[0]}x{self.fit_to[1]}, {policy}"
        if self.window is None or self.window_stride is None:
            return policy
        (height, width), (down, right) = self.window, self.window_stride
        return f"sliding windows of {width}x{height} every {right}x{down}, {policy.replace('whole image, ', '')}"


class SlidingWindow:
    """A network that sees an image in overlapping windows and averages their logits where they overlap.

    The windows are those of mmsegmentation's `slide_inference`: they start at multiples of the stride, and the last
    ones are moved back to end at the border. An image smaller than the window is seen whole.

    Args:
        network: Network that returns the logits of windows at their own size.
        window: Size (H, W) of a window.
        stride: Distances (vertical, horizontal) of the windows.
        align_corners: Grid on which the averaged logits are resized, if another size is asked for.
    """

    def __init__(self, network: Network, window: tuple[int, int], stride: tuple[int, int], align_corners: bool) -> None:
        self.network, self.window, self.stride, self.align_corners = network, window, stride, align_corners

    def __call__(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Map images (B, 3, h, w) to logits (B, K, *size), float32."""
        height, width = images.shape[-2:]
        total, count = torch.zeros(()), images.new_zeros(1, 1, height, width, dtype=torch.float32)
        for top in window_starts(height, self.window[0], self.stride[0]):
            for left in window_starts(width, self.window[1], self.stride[1]):
                inside = (..., slice(top, top + self.window[0]), slice(left, left + self.window[1]))
                crop = images[inside]
                logits = self.network(crop, (crop.shape[-2], crop.shape[-1])).float()
                if not total.ndim:
                    total = logits.new_zeros(*logits.shape[:2], height, width)
                total[inside] += logits
                count[inside] += 1
        mean = total.div_(count)
        if size == (height, width):
            return mean
        return F.interpolate(mean, size, mode="bilinear", align_corners=self.align_corners)


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """Return the first pixels of the windows along one side of an image; the last window ends at the border."""
    count = max(0, -(-(side - window) // stride)) + 1
    return [max(0, min(index * stride, side - window)) for index in range(count)]


def scaled_size(size: Sequence[int], scale: float, align_corners: bool) -> tuple[int, int]:
    """Return a size (H, W) at a scale; with align_corners a side becomes (side - 1) * scale + 1."""
    height, width = ((side - 1) * scale + 1 if align_corners else side * scale for side in size)
    return max(1, round(height)), max(1, round(width))


def multi_scale_logits(
    network: Network, images: Tensor, scales: Sequence[float] = (1.0,), flip: bool = False, align_corners: bool = False
) -> Tensor:
    """Return the logits of whole images from inputs at several scales, mirrored as well on request (v3, section 4.2).

    The network's logits are upsampled directly from the feature grid to the images' size, and the probabilities of all
    passes are averaged. The result is the logarithm of this average, so that a softmax recovers the average. A single
    pass returns the network's own logits.

    Args:
        network: Network that returns the logits of images at a given size.
        images: Normalised images (B, C, H, W).
        scales: Scales of the input; 1 is the images' own size.
        flip: Every scale also runs on the mirrored images.
        align_corners: Grid on which the images are scaled.

    Returns:
        Logits (B, K, H, W), float32.

    Raises:
        ValueError: There is no scale, or a scale is not above 0.
    """
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales must hold at least one scale, all above 0, got {tuple(scales)}")
    size = (images.shape[-2], images.shape[-1])
    total = torch.zeros(())
    for scale in scales:
        target = scaled_size(size, scale, align_corners)
        scaled = images
        if target != size:
            scaled = F.interpolate(images, target, mode="bilinear", align_corners=align_corners)
        for mirrored in (False, True) if flip else (False,):
            logits = network(scaled.flip(-1) if mirrored else scaled, size).float()
            if len(scales) == 1 and not flip:
                return logits
            total = total + (logits.flip(-1) if mirrored else logits).softmax(1)
    return (total / (len(scales) * (1 + flip))).clamp(min=torch.finfo(torch.float32).tiny).log()
