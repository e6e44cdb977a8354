"""pydensecrf, the C++ reference for the CRF; a file of its own, as only its engine needs it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.crf.settings import LEAST_PROBABILITY, CRFSettings, Pairwise, as_array
from deeplab_lightning.extras import require


def refine_by_pydensecrf(
    crf: CRFSettings, image: NDArray[Any], probabilities: NDArray[Any], pairwise: Pairwise
) -> NDArray[np.float32]:
    """Return the refined probabilities (K, H, W) of one image.

    Args:
        crf: The energy and the number of iterations.
        image: Image (H, W, C).
        probabilities: Probabilities (K, H, W).
        pairwise: Ranges and compatibilities in place of those of `crf`.

    Raises:
        ModuleNotFoundError: pydensecrf is not installed.
        ValueError: A compatibility is a matrix that is not symmetric.
    """
    require("crf", "engine 'pydensecrf', unlike 'torch',")
    from pydensecrf.densecrf import NORMALIZE_AFTER, NORMALIZE_SYMMETRIC, DenseCRF

    num_labels, height, width = probabilities.shape
    field = DenseCRF(height * width, num_labels)
    kept = probabilities.astype(np.float32).reshape(num_labels, -1)
    field.setUnaryEnergy(-np.log(np.maximum(kept, np.float32(LEAST_PROBABILITY))))
    normalization = NORMALIZE_AFTER if crf.normalization == "after" else NORMALIZE_SYMMETRIC
    smoothness = _cost("gaussian_compatibility", pairwise.gaussian_compatibility, crf.gaussian_weight)
    appearance = _cost("bilateral_compatibility", pairwise.bilateral_compatibility, crf.bilateral_weight)
    ranges = crf.bilateral_rgb if pairwise.channel_ranges is None else as_array(pairwise.channel_ranges)
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height))).reshape(2, -1).astype(np.float32)
    channels = image.reshape(height * width, -1).astype(np.float32) / ranges
    features = np.concatenate([places / crf.bilateral_xy, channels.T]).astype(np.float32)
    field.addPairwiseEnergy(places / np.float32(crf.gaussian_xy), compat=smoothness, normalization=normalization)
    field.addPairwiseEnergy(np.ascontiguousarray(features), compat=appearance, normalization=normalization)
    return np.array(field.inference(crf.iterations)).reshape(probabilities.shape)


def _cost(name: str, compatibility: Any, weight: float) -> Any:
    """Return a compatibility as pydensecrf takes it: a weight, a diagonal of energies, or a symmetric matrix of them.

    pydensecrf would take the mean of an asymmetric matrix and its transpose.
    """
    if compatibility is None:
        return weight
    costs = as_array(compatibility)
    if costs.ndim == 1:
        return -costs  # weights lower the energy of the own label, whereas pydensecrf adds the diagonal
    if not np.array_equal(costs, costs.T):
        raise ValueError(f"{name} is not symmetric, which engine 'pydensecrf' needs; choose engine 'torch'")
    return costs
