"""Mean field inference with label compatibilities and features other than the paper's; torch against exact sums."""

from itertools import product

import numpy as np
import pytest
import torch
from pydensecrf import densecrf
from pydensecrf.utils import create_pairwise_bilateral, create_pairwise_gaussian
from torch import Tensor

from deeplab_lightning.crf import CRFRNN, DenseCRF, Pairwise, refine
from deeplab_lightning.crf.lattice import build_lattice
from deeplab_lightning.crf.mean_field import Kernel, mean_field
from deeplab_lightning.crf.settings import Normalization
from tests.crf.scenes import exact_mean_field, random_input, two_halves

NORMALIZATIONS: list[Normalization] = ["after", "symmetric"]
CRF = DenseCRF(4, 20, 15, 3, 1, 5)
ASYMMETRIC = [[0.0, 2.0, 0.5], [1.0, 0.0, 3.0], [4.0, 0.3, 0.0]]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(
    ("pairwise", "other"),
    [
        (Pairwise(bilateral_compatibility=ASYMMETRIC), Pairwise(bilateral_compatibility=np.transpose(ASYMMETRIC))),
        (Pairwise(gaussian_compatibility=ASYMMETRIC), Pairwise(bilateral_compatibility=ASYMMETRIC)),
        (Pairwise(None, [2.0, 1.0, 0.5], [0.0, 2.0, 1.0]), Pairwise(None, [0.5, 1.0, 2.0], [1.0, 0.0, 2.0])),
        (Pairwise(None, [2.0, 1.0, 0.5]), Pairwise(None, [1.0, 1.0, 1.0])),
    ],
)
def test_compatibilities_approximate_the_exact_sum(
    pairwise: Pairwise, other: Pairwise, normalization: Normalization
) -> None:
    """And not the sum of another compatibility: of columns for rows, of the other kernel, of other weights."""
    image, probabilities = random_input(3, 20, 24)
    crf = DenseCRF(1, 20, 40, 1, 1, 5, normalization)
    logits = np.log(probabilities.astype(np.float64))
    refined = crf(image, probabilities, pairwise)
    error, wrong = (np.abs(refined - exact_mean_field(crf, image, logits, each)).mean() for each in (pairwise, other))
    assert error < 0.01
    assert wrong > 5 * error


@pytest.mark.parametrize("num_channels", [1, 4, 8])
def test_channels_of_any_number_approximate_the_exact_sum(num_channels: int) -> None:
    image, probabilities, _ = two_halves(noise=0.1)
    bands = np.stack([image[..., band % 3] / 255 * (band + 1) for band in range(num_channels)], -1)
    ranges = [(band + 1) / 5 for band in range(num_channels)]
    refined = refine(bands, probabilities, crf=CRF, channel_ranges=ranges)
    logits = np.log(probabilities.astype(np.float64))
    exact = exact_mean_field(CRF, bands, logits, Pairwise(ranges))
    assert np.abs(refined - exact).mean() < 0.005
    assert np.abs(refined - refine(bands, probabilities, crf=CRF, channel_ranges=9.0)).mean() > 0.005


def test_potts_in_three_spellings_is_the_same() -> None:
    image, probabilities = random_input(4, 20, 30)
    expected = DenseCRF(3, 20, 15, 2, 2)(image, probabilities)
    for spelled in (3 * (1 - np.eye(4)), -3 * np.eye(4), [3.0] * 4, torch.full((4,), 3.0)):
        crf = DenseCRF(99, 20, 15, 2, 2)
        refined = refine(image, probabilities, crf=crf, bilateral_compatibility=spelled)
        np.testing.assert_allclose(refined, expected, rtol=0, atol=1e-5)


def test_a_trained_layer_is_a_refinement_with_its_compatibilities() -> None:
    torch.manual_seed(0)
    image, probabilities = random_input(3, 12, 15)
    layer = CRFRNN(3, bilateral_xy=9, bilateral_rgb=20).eval()
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter, 0, 3)
    logits = torch.from_numpy(probabilities).log()[None]
    expected = layer(logits, torch.from_numpy(image)[None]).softmax(1)
    refined = refine(
        torch.from_numpy(image)[None],
        logits.exp(),
        crf=DenseCRF(bilateral_xy=9, bilateral_rgb=20),
        bilateral_compatibility=layer.compatibility * layer.bilateral_weights,
        gaussian_compatibility=layer.compatibility * layer.gaussian_weights,
    )
    torch.testing.assert_close(refined, expected, rtol=0, atol=1e-5)


def test_gradients_reach_probabilities_and_compatibilities() -> None:
    """They equal differences of the result; the sum over labels stays 1."""
    torch.manual_seed(0)
    image, probabilities = random_input(3, 5, 6)
    crf, weights = DenseCRF(2, 4, 60, 1, 2, 2), torch.rand(3, 5, 6)

    def loss(logits: Tensor, costs: Tensor) -> Tensor:
        refined = refine(torch.from_numpy(image), logits.softmax(0), crf=crf, bilateral_compatibility=costs)
        return (refined * weights).sum()

    logits, costs = torch.from_numpy(probabilities).log().requires_grad_(), torch.rand(3, 3).requires_grad_()
    loss(logits, costs).backward()  # type: ignore[no-untyped-call]
    for given, step in product((logits, costs), (torch.rand(3, 5, 6), torch.rand(3, 3))):
        if given.shape == step.shape:
            assert given.grad is not None
            ends = [loss(*(each + sign * 0.05 * step if each is given else each for each in (logits, costs)))
                    for sign in (1, -1)]  # fmt: skip
            slope = float((given.grad * step).sum())
            assert abs(slope) > 0.01
            assert slope == pytest.approx((ends[0] - ends[1]).item() / 0.1, rel=0.02)


def test_a_label_that_is_left_out_takes_its_row_and_column_along() -> None:
    image, probabilities = random_input(2, 20, 30)
    three = np.stack([probabilities[0], np.zeros_like(probabilities[0]), probabilities[1]])
    costs = np.array(ASYMMETRIC)
    crf = DenseCRF(3, 20, 15, 2, 2, min_probability=0.01)
    refined = refine(image, three, crf=crf, bilateral_compatibility=costs, gaussian_compatibility=[1.0, 9.0, 2.0])
    kept = costs[np.ix_([0, 2], [0, 2])]
    alone = refine(image, probabilities, crf=crf, bilateral_compatibility=kept, gaussian_compatibility=[1.0, 2.0])
    assert (refined[1] == 0).all()
    np.testing.assert_allclose(refined[[0, 2]], alone, rtol=0, atol=1e-6)


def test_a_volume_is_refined_like_by_pydensecrf() -> None:
    """Kernels over any features serve for pixels in three dimensions."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), (6, 7, 8)).astype(np.float32)
    volume = rng.normal(size=(6, 7, 8, 2))
    near = create_pairwise_gaussian((2, 3, 4), (6, 7, 8))
    alike = create_pairwise_bilateral((3, 3, 3), (0.5, 2.0), volume, 3)
    costs = (np.ones((4, 4)) - np.eye(4)).astype(np.float32) * np.float32(2)
    field = densecrf.DenseCRF(6 * 7 * 8, 4)
    field.setUnaryEnergy(np.ascontiguousarray(-np.log(probabilities.reshape(-1, 4).T)))
    field.addPairwiseEnergy(near, compat=3.0, normalization=densecrf.NORMALIZE_AFTER)
    field.addPairwiseEnergy(alike, compat=costs, normalization=densecrf.NORMALIZE_SYMMETRIC)
    kernels = [
        Kernel(build_lattice(torch.from_numpy(near.T)[None]).normalized("after", 3.0)),
        Kernel(build_lattice(torch.from_numpy(alike.T)[None]).normalized("symmetric"), torch.from_numpy(costs)),
    ]
    refined = mean_field(torch.from_numpy(probabilities.reshape(-1, 4)).log(), kernels, 5).softmax(1)
    np.testing.assert_allclose(refined.T.numpy(), np.array(field.inference(5)), rtol=0, atol=1e-5)


def test_mixed_precision_around_it_changes_nothing() -> None:
    image, probabilities = random_input(4, 20, 30)
    costs = np.random.default_rng(0).uniform(0, 5, (4, 4))
    expected = refine(image, probabilities, bilateral_compatibility=costs)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(refine(image, probabilities, bilateral_compatibility=costs), expected)
