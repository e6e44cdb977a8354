"""The settings of the fully connected CRF, which its engines, layers, evaluation and search share.

This file does not import torch, so that worker processes with pydensecrf start fast.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Normalization = Literal["after", "symmetric"]

LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)
"""The value that replaces a probability of 0, whose logarithm is infinite; a softmax of logits up to 87 apart keeps its
values."""

NORMALIZATION_WORDS: dict[Normalization, str] = {
    "after": "normalised after filtering",
    "symmetric": "normalised symmetrically",
}


@dataclass(frozen=True)
class CRFSettings:
    """The energy of the CRF (v1, 4.2; v2, 3.3; Kraehenbuehl and Koltun, NIPS 2011) and its mean field inference.

    The pairwise energy of two pixels with different labels is
    `bilateral_weight exp(-|dp|^2 / 2 bilateral_xy^2 - |dI|^2 / 2 bilateral_rgb^2)
    + gaussian_weight exp(-|dp|^2 / 2 gaussian_xy^2)`, where p are positions and I colours.

    Args:
        bilateral_weight: Weight of the appearance kernel (w1 in the paper).
        bilateral_xy: Range of the appearance kernel in pixels (sigma alpha).
        bilateral_rgb: Range of the appearance kernel in 8-bit colour values (sigma beta).
        gaussian_weight: Weight of the smoothness kernel (w2).
        gaussian_xy: Range of the smoothness kernel in pixels (sigma gamma).
        iterations: Number of mean field updates.
        normalization: Normalisation of a kernel's message. "after" divides the filtered message by the kernel's sum K 1
            at each pixel, like the DenseCRF code of both DeepLab releases, for which their settings were chosen.
            "symmetric", pydensecrf's default, divides by the square root of K 1 before the filter and after it.
    """

    bilateral_weight: float = 4.0
    bilateral_xy: float = 67.0
    bilateral_rgb: float = 3.0
    gaussian_weight: float = 3.0
    gaussian_xy: float = 1.0
    iterations: int = 10
    normalization: Normalization = "after"

    def __post_init__(self) -> None:
        ranges = {name: getattr(self, name) for name in ("bilateral_xy", "bilateral_rgb", "gaussian_xy")}
        weights = {name: getattr(self, name) for name in ("bilateral_weight", "gaussian_weight")}
        if min(ranges.values()) <= 0 or min(weights.values()) < 0 or self.iterations < 1:
            settings = f"{ranges}, {weights}, iterations {self.iterations}"
            raise ValueError(f"a CRF needs positive ranges, weights of at least 0 and an iteration, got {settings}")
        if self.normalization not in get_args(Normalization):
            raise ValueError(f"normalization must be 'after' or 'symmetric', got {self.normalization!r}")
