"""Inference on whole images, at several scales and mirrored."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Network = Callable[[Tensor, tuple[int, int]], Tensor]
"""A function from images (B, 3, h, w) and a size (H, W) to logits (B, K, H, W)."""


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
        images: Normalised images (B, 3, H, W).
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
