"""Mean field inference in the fully connected CRF, on lattices (Kraehenbuehl and Koltun, NIPS 2011).

Letters as in `lattice`; values lie in rows of K labels, one row for each of the P = B * H * W pixels.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from deeplab_lightning.crf.lattice import PermutohedralLattice, build_lattice
from deeplab_lightning.crf.settings import LEAST_PROBABILITY, CRFSettings, Normalization

Size = tuple[int, int, int]
"""Images, their height and their width."""


def place_features(size: Size, xy: float, device: torch.device) -> Tensor:
    """Places (x, y) of all pixels of images of a size (B, H, W), over their range `xy`: (B, H * W, 2)."""
    batch_size, height, width = size
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return (torch.stack([x, y], -1).flatten(0, 1).float() / xy).expand(batch_size, -1, -1)


def appearance_features(images: Tensor, xy: float, rgb: float) -> Tensor:
    """Places and colours of the pixels of images (B, H, W, 3) of 0..255, over their ranges: (B, H * W, 5)."""
    batch_size, height, width, _ = images.shape
    places = place_features((batch_size, height, width), xy, images.device)
    return torch.cat([places, images.flatten(1, 2).float() / rgb], -1)


@lru_cache(maxsize=4)
def smoothness_kernel(
    size: Size, xy: float, device: torch.device, normalization: Normalization, weight: float = 1.0
) -> PermutohedralLattice:
    """The normalised kernel over places of images of a size (B, H, W).

    It is the same for all images of a size, so the last few are kept; hence its arguments are those that it depends on
    and no others.
    """
    return build_lattice(place_features(size, xy, device)).normalized(normalization, weight)


def appearance_kernel(
    images: Tensor, xy: float, rgb: float, normalization: Normalization, weight: float = 1.0
) -> PermutohedralLattice:
    """The normalised kernel over places and colours of images (B, H, W, 3)."""
    return build_lattice(appearance_features(images, xy, rgb)).normalized(normalization, weight)


def mean_field(log_probabilities: Tensor, kernels: Sequence[PermutohedralLattice], iterations: int) -> Tensor:
    """Probabilities (P, K) after mean field with Potts compatibility; all pixels are updated at once.

    Args:
        log_probabilities: (P, K), the negative unary energy; -inf for a label that is left out at a pixel.
        kernels: The kernels of the pairwise energy, with their weights.
        iterations: Number of updates.
    """
    current = softmax(log_probabilities)
    for _ in range(iterations):
        # With Potts' compatibility a label's energy is the message of all labels less that of its own. The former is
        # the same for each label of a pixel, so it falls out of the softmax: the own message is added instead.
        total = log_probabilities
        for kernel in kernels:
            total = kernel.sums(current).add_(total)
        current = softmax(total)
    return current


@torch.no_grad()
def refine(crf: CRFSettings, images: Tensor, probabilities: Tensor, min_probability: float = 0.0) -> Tensor:
    """Refined probabilities (B, K, H, W), float32.

    Args:
        crf: The energy and the number of iterations.
        images: (B, H, W, 3), of 0..255, on the device of the probabilities.
        probabilities: (B, K, H, W), summing to 1 over K.
        min_probability: Labels that reach it nowhere in an image get probability 0.

    Raises:
        ValueError: No label of an image reaches `min_probability`.
    """
    batch_size, _, height, width = probabilities.shape
    alive = probabilities.amax((2, 3)) >= min_probability
    if not alive.any(1).all():
        raise ValueError(f"no label of an image reaches min_probability {min_probability:g} in any pixel")
    # The images of a batch share one matrix of labels: a label that any of them keeps has a column, which is -inf in
    # the rows of the others. exp(-inf) is exactly 0, so that the images of a batch are refined as they are one by one.
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
