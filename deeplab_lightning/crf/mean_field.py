"""Mean field inference in the fully connected CRF, on lattices (Kraehenbuehl and Koltun, NIPS 2011).

Letters as in `lattice`; values lie in rows of K labels, one row for each of the P = B * H * W pixels.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from deeplab_lightning.crf.dense_crf import LEAST_PROBABILITY, DenseCRF, Normalization
from deeplab_lightning.crf.lattice import PermutohedralLattice, build_lattice


def place_features(batch_size: int, height: int, width: int, xy: float, device: torch.device) -> Tensor:
    """Places (x, y) of all pixels, over their range `xy`: (B, H * W, 2)."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return (torch.stack([x, y], -1).flatten(0, 1).float() / xy).expand(batch_size, -1, -1)


def appearance_features(images: Tensor, xy: float, rgb: float) -> Tensor:
    """Places and colours of the pixels of images (B, H, W, 3) of 0..255, over their ranges: (B, H * W, 5)."""
    batch_size, height, width, _ = images.shape
    places = place_features(batch_size, height, width, xy, images.device)
    return torch.cat([places, images.flatten(1, 2).float() / rgb], -1)


@lru_cache(maxsize=4)
def smoothness_kernel(
    normalization: Normalization,
    batch_size: int,
    height: int,
    width: int,
    weight: float,
    xy: float,
    device: torch.device,
) -> PermutohedralLattice:
    """The normalised kernel over places. It is the same for all images of a size, so the last few are kept."""
    return build_lattice(place_features(batch_size, height, width, xy, device)).normalized(normalization, weight)


def appearance_kernel(
    normalization: Normalization, images: Tensor, weight: float, xy: float, rgb: float
) -> PermutohedralLattice:
    """The normalised kernel over places and colours of images (B, H, W, 3)."""
    return build_lattice(appearance_features(images, xy, rgb)).normalized(normalization, weight)


def mean_field(log_probabilities: Tensor, kernels: Sequence[PermutohedralLattice], iterations: int) -> Tensor:
    """Probabilities (P, K) after mean field with Potts compatibility; all pixels are updated at once.

    Args:
        log_probabilities: (P, K), the negative unary energy; -inf for a label that is left out at a pixel.
        kernels: of the pairwise energy, with their weights.
        iterations: how many updates.
    """
    current = softmax(log_probabilities)
    for _ in range(iterations):
        total = log_probabilities
        for kernel in kernels:
            total = kernel.sums(current).add_(total)
        current = softmax(total)
    return current


@torch.no_grad()
def refine(crf: DenseCRF, images: Tensor, probabilities: Tensor) -> Tensor:
    """What `DenseCRF` does with checked images (B, H, W, 3) and probabilities (B, K, H, W) of one device."""
    batch_size, _, height, width = probabilities.shape
    alive = probabilities.amax((2, 3)) >= crf.min_probability
    if not alive.any(1).all():
        raise ValueError(f"no label of an image reaches min_probability {crf.min_probability:g} in any pixel")
    kept = alive.any(0).nonzero().squeeze(1)
    unary = probabilities.float().index_select(1, kept).clamp_(LEAST_PROBABILITY, 1).log_()
    unary.masked_fill_(~alive[:, kept, None, None], -torch.inf)
    kernels = []
    if crf.gaussian_weight:
        gaussian = (batch_size, height, width, crf.gaussian_weight, crf.gaussian_xy, probabilities.device)
        kernels.append(smoothness_kernel(crf.normalization, *gaussian))
    if crf.bilateral_weight:
        bilateral = (images, crf.bilateral_weight, crf.bilateral_xy, crf.bilateral_rgb)
        kernels.append(appearance_kernel(crf.normalization, *bilateral))
    refined = mean_field(rows(unary), kernels, crf.iterations)
    result = torch.zeros_like(probabilities, dtype=torch.float32)
    return result.index_copy_(1, kept, maps(refined, (batch_size, height, width)))


def softmax(logits: Tensor) -> Tensor:
    """Softmax over the labels of rows (P, K); torch's own takes 3 to 6 times as long on the CPU below 16 labels."""
    if logits.is_cuda or logits.shape[1] >= 16:
        return logits.softmax(1)
    powers = (logits - logits.detach().amax(1, keepdim=True)).exp()
    return powers / powers.sum(1, keepdim=True)


def rows(maps: Tensor) -> Tensor:
    """Maps (B, K, H, W) as contiguous rows (B * H * W, K)."""
    return maps.flatten(2).transpose(1, 2).reshape(-1, maps.shape[1]).contiguous()


def maps(rows_of_labels: Tensor, size: Sequence[int]) -> Tensor:
    """Rows (B * H * W, K) as maps (B, K, H, W) of a size (B, H, W)."""
    return rows_of_labels.view(*size, -1).permute(0, 3, 1, 2).contiguous()
