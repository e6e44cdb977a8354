"""Label compatibilities and channels of any number, against pydensecrf as its users call it."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydensecrf.densecrf import NORMALIZE_AFTER, NORMALIZE_SYMMETRIC, DenseCRF2D
from pydensecrf.utils import create_pairwise_bilateral

from deeplab_lightning.crf import DenseCRF, refine
from deeplab_lightning.crf.settings import Normalization
from tests.crf.scenes import random_input

ENGINES: list[Any] = ["torch", "pydensecrf"]
NORMALIZATIONS: dict[Normalization, Any] = {"after": NORMALIZE_AFTER, "symmetric": NORMALIZE_SYMMETRIC}
HEIGHT, WIDTH = 40, 31


def field_of(probabilities: NDArray[np.float32]) -> Any:
    field = DenseCRF2D(WIDTH, HEIGHT, len(probabilities))
    field.setUnaryEnergy(np.ascontiguousarray(-np.log(probabilities.reshape(len(probabilities), -1))))
    return field


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_compatibilities_mean_what_they_do_in_pydensecrf(engine: Any, normalization: Normalization) -> None:
    """Its compat may be a matrix of energies, or a diagonal of them, which holds our weights with the other sign."""
    image, probabilities = random_input(5, HEIGHT, WIDTH)
    draws = np.random.default_rng(0).uniform(0, 4, (5, 5)).astype(np.float32)
    costs, weights = (draws + draws.T) / 2, draws[0]
    field = field_of(probabilities)
    field.addPairwiseGaussian(sxy=2, compat=-weights, normalization=NORMALIZATIONS[normalization])
    field.addPairwiseBilateral(sxy=9, srgb=20, rgbim=image, compat=costs, normalization=NORMALIZATIONS[normalization])
    expected = np.array(field.inference(5)).reshape(probabilities.shape)
    crf = DenseCRF(bilateral_xy=9, bilateral_rgb=20, gaussian_xy=2, iterations=5, normalization=normalization)
    for given in (costs, torch.from_numpy(costs).requires_grad_()):
        refined = refine(
            image,
            probabilities,
            crf=DenseCRF(**vars(crf) | {"engine": engine}),
            bilateral_compatibility=given,
            gaussian_compatibility=weights.tolist(),
        )
        np.testing.assert_allclose(refined, expected, rtol=0, atol=1e-4)
        assert np.mean(refined.argmax(0) == expected.argmax(0)) >= 0.999


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("num_channels", [1, 4, 10, 18])
def test_channels_of_any_number_mean_what_they_do_in_pydensecrf(engine: Any, num_channels: int) -> None:
    image, probabilities = random_input(4, HEIGHT, WIDTH)
    bands = np.stack([image[..., band % 3] * (1.0 + band) - 300 for band in range(num_channels)], -1)
    ranges = [10.0 * (1 + band) for band in range(num_channels)]
    field = field_of(probabilities)
    field.addPairwiseGaussian(sxy=2, compat=3.0, normalization=NORMALIZE_AFTER)
    # pydensecrf's own function puts y before x, and the lattice is not the same in every order of its axes.
    energy = create_pairwise_bilateral((9, 9), ranges, bands, 2)[[1, 0, *range(2, 2 + num_channels)]]
    field.addPairwiseEnergy(np.ascontiguousarray(energy), compat=4.0, normalization=NORMALIZE_AFTER)
    expected = np.array(field.inference(5)).reshape(probabilities.shape)
    crf = DenseCRF(4, 9, gaussian_xy=2, iterations=5, engine=engine)
    refined = refine(bands, probabilities, crf=crf, channel_ranges=ranges)
    assert np.abs(refined - expected).mean() < 1e-5
    assert np.mean(refined.argmax(0) == expected.argmax(0)) >= 0.999
    eight_bits = refine(image[..., :1], probabilities, crf=crf)
    assert np.abs(eight_bits - refine(image[..., :1], probabilities, crf=crf, channel_ranges=3.0)).max() == 0


def test_pydensecrf_takes_symmetric_matrices_only() -> None:
    image, probabilities = random_input(2, 8, 9)
    with pytest.raises(ValueError, match=r"gaussian_compatibility.*symmetric"):
        refine(image, probabilities, crf=DenseCRF(engine="pydensecrf"), gaussian_compatibility=[[0, 1], [2, 0]])


def test_pydensecrf_has_no_gradients() -> None:
    image, probabilities = random_input(2, 8, 9)
    given = torch.from_numpy(probabilities).requires_grad_()
    assert refine(torch.from_numpy(image), given).requires_grad
    assert not refine(torch.from_numpy(image), given, crf=DenseCRF(engine="pydensecrf")).requires_grad
