"""Inputs of the CRF, and its exact result for small ones."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_lightning.crf.dense_crf import BY_SETTINGS, DenseCRF
from deeplab_lightning.crf.lattice import gaussian_sums
from deeplab_lightning.crf.mean_field import appearance_features, place_features
from deeplab_lightning.crf.settings import Pairwise


def exact_mean_field(
    crf: DenseCRF, image: NDArray[Any], logits: NDArray[np.float64], pairwise: Pairwise = BY_SETTINGS
) -> NDArray[np.float64]:
    """The same mean field from logits as they are, in float64 with every pair of pixels and of labels summed."""
    classes, height, width = logits.shape
    ranges = crf.bilateral_rgb if pairwise.channel_ranges is None else torch.tensor(pairwise.channel_ranges)
    places = place_features((1, height, width), crf.gaussian_xy, torch.device("cpu"))
    colours = appearance_features(torch.from_numpy(image)[None], crf.bilateral_xy, ranges)

    def matrix(features: Tensor) -> Tensor:
        weights = gaussian_sums(features.double(), torch.eye(height * width, dtype=torch.float64))
        sums = weights.sum(1, keepdim=True)
        return weights / (sums if crf.normalization == "after" else (sums * sums.T).sqrt())

    def costs(compatibility: Any, weight: float) -> Tensor:
        """The energy of a label (row) beside a label (column)."""
        given = torch.tensor(weight if compatibility is None else compatibility, dtype=torch.float64)
        potts = 1 - torch.eye(classes, dtype=torch.float64)
        return given if given.ndim == 2 else potts * given

    pairs = [
        (matrix(places), costs(pairwise.gaussian_compatibility, crf.gaussian_weight)),
        (matrix(colours), costs(pairwise.bilateral_compatibility, crf.bilateral_weight)),
    ]
    unary = torch.from_numpy(logits).flatten(1).T
    current = unary.softmax(1)
    for _ in range(crf.iterations):
        current = (unary - sum(kernel @ current @ cost.T for kernel, cost in pairs)).softmax(1)
    exact: NDArray[np.float64] = current.T.reshape(classes, height, width).numpy()
    return exact


def two_halves(noise: float) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    """A dark and a bright half, and noisy probabilities that favour the right class."""
    rng = np.random.default_rng(0)
    target = np.zeros((20, 24), np.int64)
    target[:, 11:] = 1
    image = np.where(target[..., None] == 1, 200, 50) + rng.integers(-5, 6, (20, 24, 3))
    score = np.where(target == 1, 0.6, 0.4) + rng.normal(0, noise, target.shape)
    second = score.clip(0.05, 0.95)
    return image.astype(np.uint8), np.stack([1 - second, second]).astype(np.float32), target


def random_input(num_classes: int, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Smooth colours with noise, and unrelated smooth probabilities."""
    rng = np.random.default_rng(num_classes)
    y, x = np.mgrid[:height, :width]
    image = np.stack([128 + 100 * np.sin(x / 9 + y / (5 + channel)) for channel in range(3)], -1)
    image = (image + rng.integers(0, 20, image.shape)).astype(np.uint8)
    scores = np.stack([2 * np.cos(x / (4 + k) + k * y / 30) for k in range(num_classes)])
    powers = np.exp(scores + rng.normal(0, 0.5, scores.shape))
    return image, (powers / powers.sum(0)).astype(np.float32)
