"""Mean field inference in the fully connected CRF, on lattices (Kraehenbuehl and Koltun, NIPS 2011).

The letters are those of `lattice`. Values are stored in rows of K labels, one row for each of the P = B * H * W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from deeplab_lightning.crf.lattice import PermutohedralLattice, build_lattice
from deeplab_lightning.crf.settings import LEAST_PROBABILITY, CRFSettings, Normalization, Pairwise

Size = tuple[int, int, int]
"""The number of images, their height and their width."""


def place_features(size: Size, xy: float, device: torch.device) -> Tensor:
    """Return the positions (x, y) of all pixels of images (B, H, W), divided by the range `xy`: (B, H * W, 2)."""
    batch_size, height, width = size
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return (torch.stack([x, y], -1).flatten(0, 1).float() / xy).expand(batch_size, -1, -1)


def appearance_features(images: Tensor, xy: float, ranges: float | Tensor) -> Tensor:
    """Return positions and channels of pixels, divided by their ranges: (B, H * W, 2 + C).

    Args:
        images: Images (B, H, W, C).
        xy: Range of the positions.
        ranges: Range of all channels, or those of each (C,).
    """
    batch_size, height, width, _ = images.shape
    places = place_features((batch_size, height, width), xy, images.device)
    return torch.cat([places, images.flatten(1, 2).float() / ranges], -1)


@lru_cache(maxsize=4)
def smoothness_kernel(
    size: Size, xy: float, device: torch.device, normalization: Normalization, weight: float = 1.0
) -> PermutohedralLattice:
    """Return the normalised kernel over the positions of images (B, H, W).

    All images of one size share it, so that the last few kernels are cached. The arguments are the key of the cache:
    they must be hashable, and the kernel must depend on all of them.
    """
    return build_lattice(place_features(size, xy, device)).normalized(normalization, weight)


def appearance_kernel(
    images: Tensor, xy: float, ranges: float | Tensor, normalization: Normalization, weight: float = 1.0
) -> PermutohedralLattice:
    """Return the normalised kernel over the positions and channels of images (B, H, W, C)."""
    return build_lattice(appearance_features(images, xy, ranges)).normalized(normalization, weight)


@dataclass(frozen=True)
class Kernel:
    """A kernel of the pairwise energy: a filter over all pixels, and what its message costs each label.

    Args:
        lattice: The normalised filter; for Potts compatibility with one weight, it holds the weight.
        compatibility: None for Potts compatibility; weights of the labels (K,) for Potts compatibility with one weight
            per label; or the energies (K, K) of a label, by row, beside each other label.
    """

    lattice: PermutohedralLattice
    compatibility: Tensor | None = None

    def votes(self, probabilities: Tensor) -> Tensor:
        """Return the negative energy (P, K) of each label, up to a number per pixel, which a softmax cancels."""
        message = self.lattice.filter(probabilities)
        # With Potts compatibility, a label's energy is the message of all labels minus that of the label itself. The
        # message of all labels is the same for every label of a pixel. What remains is the label's own message.
        if self.compatibility is None:
            return message
        if self.compatibility.ndim == 1:
            return message * self.compatibility
        return message @ -self.compatibility.T


def mean_field(unary: Tensor, kernels: Sequence[Kernel], iterations: int) -> Tensor:
    """Return the logits (P, K) after mean field updates of all pixels at once; their softmax is the refinement.

    Gradients reach the unary energy and the compatibilities.

    Args:
        unary: Negative unary energy (P, K), such as logits or the logarithm of probabilities; -inf for a label that is
            left out at a pixel.
        kernels: Kernels of the pairwise energy.
        iterations: Number of updates.
    """
    refined = unary
    for _ in range(iterations):
        current = softmax(refined)
        refined = unary
        for kernel in kernels:
            refined = kernel.votes(current).add_(refined)
    return refined


def refine_batch(
    crf: CRFSettings, images: Tensor, probabilities: Tensor, pairwise: Pairwise, *, min_probability: float
) -> Tensor:
    """Return refined probabilities (B, K, H, W), float32.

    Args:
        crf: The energy and the number of iterations.
        images: Images (B, H, W, C), on the device of the probabilities.
        probabilities: Probabilities (B, K, H, W), which sum to 1 over K.
        pairwise: Ranges and compatibilities in place of those of `crf`.
        min_probability: Labels below this probability in every pixel of an image get probability 0.

    Raises:
        ValueError: No label of an image reaches `min_probability`.
    """
    batch_size, _, height, width = probabilities.shape
    alive = probabilities.detach().amax((2, 3)) >= min_probability
    if not alive.any(1).all():
        raise ValueError(f"no label of an image reaches min_probability {min_probability:g} in any pixel")
    # The images of a batch share one matrix. A label that any image keeps has a column, which is -inf in the rows of
    # images that leave the label out. exp(-inf) is exactly 0, so that a batch gives the results of its images one by
    # one.
    kept = alive.any(0).nonzero().squeeze(1)
    unary = probabilities.float().index_select(1, kept).clamp_(LEAST_PROBABILITY, 1).log_()
    unary.masked_fill_(~alive[:, kept, None, None], -torch.inf)
    with torch.no_grad():
        gaussian, bilateral = _filters(crf, images, pairwise)
    costs = (pairwise.gaussian_compatibility, pairwise.bilateral_compatibility)
    kernels = [
        Kernel(lattice, _of_labels(cost, kept))
        for lattice, cost in zip((gaussian, bilateral), costs, strict=True)
        if lattice is not None
    ]
    with torch.autocast(images.device.type, enabled=False):  # compatibilities multiply in float32
        refined = softmax(mean_field(rows(unary), kernels, crf.iterations))
    result = torch.zeros_like(probabilities, dtype=torch.float32)
    return result.index_copy_(1, kept, maps(refined, (batch_size, height, width)))


def _filters(
    crf: CRFSettings, images: Tensor, pairwise: Pairwise
) -> tuple[PermutohedralLattice | None, PermutohedralLattice | None]:
    """Return the smoothness and the appearance kernel, each None if its weight is 0."""
    size, normalization = (images.shape[0], images.shape[1], images.shape[2]), crf.normalization
    gaussian, bilateral = None, None
    if weight := crf.gaussian_weight if pairwise.gaussian_compatibility is None else 1.0:
        gaussian = smoothness_kernel(size, crf.gaussian_xy, images.device, normalization, weight=weight)
    if weight := crf.bilateral_weight if pairwise.bilateral_compatibility is None else 1.0:
        ranges = pairwise.channel_ranges
        ranges = crf.bilateral_rgb if ranges is None else torch.as_tensor(ranges, device=images.device).float()
        bilateral = appearance_kernel(images, crf.bilateral_xy, ranges, normalization, weight=weight)
    return gaussian, bilateral


def _of_labels(compatibility: Any, kept: Tensor) -> Tensor | None:
    """Return the rows and columns of a compatibility for some of the labels, on their device."""
    if compatibility is None:
        return None
    every = torch.as_tensor(compatibility, device=kept.device).float()
    for axis in range(every.ndim):
        every = every.index_select(axis, kept)
    return every


def softmax(logits: Tensor) -> Tensor:
    """Return the softmax over the labels of rows (P, K); torch's is 3 to 6 times slower on the CPU below 16 labels."""
    if logits.is_cuda or logits.shape[1] >= 16:
        return logits.softmax(1)
    powers = (logits - logits.detach().amax(1, keepdim=True)).exp()
    return powers / powers.sum(1, keepdim=True)


def rows(maps: Tensor) -> Tensor:
    """Rearrange maps (B, K, H, W) as contiguous rows (B * H * W, K)."""
    return maps.flatten(2).transpose(1, 2).reshape(-1, maps.shape[1]).contiguous()


def maps(rows_of_labels: Tensor, size: Sequence[int]) -> Tensor:
    """Rearrange rows (B * H * W, K) as maps (B, K, H, W) for a size (B, H, W)."""
    return rows_of_labels.view(*size, -1).permute(0, 3, 1, 2).contiguous()
