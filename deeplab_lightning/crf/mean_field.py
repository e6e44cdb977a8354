"""Mean field inference in the fully connected CRF, on lattices (Kraehenbuehl and Koltun, NIPS 2011).

The letters are those of `lattice`. Values are stored in rows of K labels, one row for each of the P = B * H * W pixels.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from deeplab_lightning.crf.lattice import PermutohedralLattice, build_lattice
from deeplab_lightning.crf.settings import LEAST_PROBABILITY, CRFSettings, Normalization

Size = tuple[int, int, int]
"""The number of images, their height and their width."""


def place_features(size: Size, xy: float, device: torch.device) -> Tensor:
    """Return the positions (x, y) of all pixels of images (B, H, W), divided by the range `xy`: (B, H * W, 2)."""
    batch_size, height, width = size
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return (torch.stack([x, y], -1).flatten(0, 1).float() / xy).expand(batch_size, -1, -1)


def appearance_features(images: Tensor, xy: float, rgb: float) -> Tensor:
    """Return the positions and colours of pixels of images (B, H, W, 3) in 0..255, over their ranges: (B, H * W, 5)."""
    batch_size, height, width, _ = images.shape
    places = place_features((batch_size, height, width), xy, images.device)
    return torch.cat([places, images.flatten(1, 2).float() / rgb], -1)


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
    images: Tensor, xy: float, rgb: float, normalization: Normalization, weight: float = 1.0
) -> PermutohedralLattice:
    """Return the normalised kernel over the positions and colours of images (B, H, W, 3)."""
    return build_lattice(appearance_features(images, xy, rgb)).normalized(normalization, weight)


def mean_field(log_probabilities: Tensor, kernels: Sequence[PermutohedralLattice], iterations: int) -> Tensor:
    """Return the probabilities (P, K) after mean field updates of all pixels at once, with Potts compatibility.

    Args:
        log_probabilities: Negative unary energy (P, K); -inf for a label that is left out at a pixel.
        kernels: Kernels of the pairwise energy, with their weights.
        iterations: Number of updates.
    """
    current = softmax(log_probabilities)
    for _ in range(iterations):
        # With Potts compatibility, a label's energy is the message of all labels minus that of the label itself. The
        # message of all labels is the same for every label of a pixel, so that the softmax cancels it. What remains is
        # the label's own message, which is added to the negative energy.
        total = log_probabilities
        for kernel in kernels:
            total = kernel.sums(current).add_(total)
        current = softmax(total)
    return current


@torch.no_grad()
def refine(crf: CRFSettings, images: Tensor, probabilities: Tensor, min_probability: float = 0.0) -> Tensor:
    """Return refined probabilities (B, K, H, W), float32.

    Args:
        crf: The energy and the number of iterations.
        images: Images (B, H, W, 3) in 0..255, on the device of the probabilities.
        probabilities: Probabilities (B, K, H, W), which sum to 1 over K.
        min_probability: Labels below this probability in every pixel of an image get probability 0.

    Raises:
        ValueError: No label of an image reaches `min_probability`.
    """
    batch_size, _, height, width = probabilities.shape
    alive = probabilities.amax((2, 3)) >= min_probability
    if not alive.any(1).all():
        raise ValueError(f"no label of an image reaches min_probability {min_probability:g} in any pixel")
    # The images of a batch share one matrix. A label that any image keeps has a column, which is -inf in the rows of
    # images that leave the label out. exp(-inf) is exactly 0, so that a batch gives the results of its images one by
    # one.
    kept = alive.any(0).nonzero().squeeze(1)
    unary = probabilities.float().index_select(1, kept).clamp_(LEAST_PROBABILITY, 1).log_()
    unary.masked_fill_(~alive[:, kept, None, None], -torch.inf)
    size, normalization = (batch_size, height, width), crf.normalization
    kernels = []
    if weight := crf.gaussian_weight:
        kernels.append(smoothness_kernel(size, crf.gaussian_xy, probabilities.device, normalization, weight=weight))
    if weight := crf.bilateral_weight:
        xy, rgb = crf.bilateral_xy, crf.bilateral_rgb
        kernels.append(appearance_kernel(images, xy, rgb, normalization, weight=weight))
    refined = mean_field(rows(unary), kernels, crf.iterations)
    result = torch.zeros_like(probabilities, dtype=torch.float32)
    return result.index_copy_(1, kept, maps(refined, size))


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
