"""The settings of the fully connected CRF, which its engines, layers, evaluation and search share.

This file does not import torch, so that worker processes with pydensecrf start fast.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Normalization = Literal["after", "symmetric"]

LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)
"""The value that replaces a probability of 0, whose logarithm is infinite; a softmax of logits up to 87 apart keeps its
values."""

COMPATIBILITIES = ("bilateral_compatibility", "gaussian_compatibility")

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


@dataclass(frozen=True)
class Pairwise:
    """Parts of the pairwise energy that depend on the image's channels or on the labels, in place of `CRFSettings`.

    All may be numpy arrays, tensors or sequences of numbers.

    Args:
        channel_ranges: Range of the appearance kernel in the image's own units, one number or one for each of its C
            channels, in place of `bilateral_rgb`. Any image but one of 8 bits needs it.
        bilateral_compatibility: Label compatibility of the appearance kernel, in place of `bilateral_weight`, which
            stands for Potts compatibility. A matrix (K, K) holds the energy of a label, by row, beside every label, by
            column. Numbers (K,) are weights of the labels, as in CRF as RNN (arXiv:1502.03240): with weight w_l, label
            l costs the sum of the other labels' weighted messages.
        gaussian_compatibility: The same for the smoothness kernel, in place of `gaussian_weight`.
    """

    channel_ranges: Any = None
    bilateral_compatibility: Any = None
    gaussian_compatibility: Any = None

    def of_labels(self, kept: NDArray[np.bool_]) -> "Pairwise":
        """Return the parts for the labels of a mask (K,), with compatibilities as numpy arrays."""
        given = {name: as_array(getattr(self, name)) for name in COMPATIBILITIES if getattr(self, name) is not None}
        return replace(self, **{name: every[np.ix_(*[kept] * every.ndim)] for name, every in given.items()})

    def check(self, num_channels: int, num_labels: int) -> None:
        """Refuse parts that do not fit an image of C channels and K labels.

        Raises:
            ValueError: A shape does not fit, or a range is not positive.
        """
        if self.channel_ranges is not None:
            shape = tuple(np.shape(self.channel_ranges))
            ranges = self.channel_ranges if shape else [self.channel_ranges]
            if shape not in ((), (num_channels,)) or not all(float(each) > 0 for each in ranges):
                raise ValueError(
                    f"channel_ranges must be a positive number or one for each of {num_channels} channels, "
                    f"got {self.channel_ranges}"
                )
        for name in COMPATIBILITIES:
            shape = tuple(np.shape(getattr(self, name)))
            if getattr(self, name) is not None and shape not in ((num_labels,), (num_labels, num_labels)):
                raise ValueError(
                    f"{name} must have the shape ({num_labels},) or ({num_labels}, {num_labels}) for {num_labels} "
                    f"labels, got {shape}"
                )


def as_array(values: Any) -> NDArray[np.float32]:
    """Return numbers, an array or a tensor of any device as an array."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, np.float32)
