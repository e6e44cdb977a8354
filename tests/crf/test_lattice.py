from itertools import pairwise

import pytest
import torch
from torch import Tensor

from deeplab_lightning.crf.lattice import LARGEST_DIM, build_lattice, gaussian_sums
from deeplab_lightning.crf.settings import Normalization

NORMALIZATIONS: list[Normalization] = ["after", "symmetric"]


def smooth_features(batch_size: int, side: int, dim: int, spread: float) -> Tensor:
    """Places on a grid, and colours that change slowly over it, over ranges of `spread`."""
    places = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"), -1).float()
    waves = torch.rand(batch_size, dim, 2) * 0.5
    features = (places[None, None] * waves[:, :, None, None]).sum(-1).sin() * 2
    features[:, :2] = places.permute(2, 0, 1)[: min(2, dim)]
    return (features / spread).flatten(2).transpose(1, 2)


def dense_matrix(features: Tensor) -> Tensor:
    """The filter of one image as a matrix (N, N)."""
    return build_lattice(features).filter(torch.eye(features.shape[1], dtype=torch.float64))


@pytest.mark.parametrize(("dim", "error"), [(1, 0.02), (2, 0.05), (3, 0.08), (5, 0.1)])
def test_normalised_sums_are_near_the_exact_ones(dim: int, error: float) -> None:
    """The lattice approximates the Gaussian; with weights that sum to 1 the mean error is a few percent."""
    features = smooth_features(2, 16, dim, 4.0)
    values = torch.rand(2 * 256, 3)
    ones = torch.ones(2 * 256, 1)
    exact = gaussian_sums(features, values) / gaussian_sums(features, ones)
    lattice = build_lattice(features)
    near = lattice.filter(values) / lattice.filter(ones)
    assert exact.std() > 0
    assert (near - exact).abs().mean() < error * values.std()


def test_exact_sums_are_their_definition() -> None:
    features, values = torch.randn(2, 5, 3), torch.randn(10, 2)
    expected = torch.zeros(10, 2)
    for image in range(2):
        for i in range(5):
            for j in range(5):
                weight = torch.exp(-(features[image, i] - features[image, j]).square().sum() / 2)
                expected[5 * image + i] += weight * values[5 * image + j]
    torch.testing.assert_close(gaussian_sums(features, values), expected)


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 8])
def test_values_of_points_far_apart_do_not_mix(dim: int) -> None:
    features = 25 * torch.arange(6.0)[None, :, None] + torch.randn(1, 6, dim)
    matrix = dense_matrix(features)
    assert (matrix.diagonal() > 0).all()
    torch.testing.assert_close(matrix, matrix.diagonal().diag())


@pytest.mark.parametrize("dim", [2, 5])
def test_equal_points_get_equal_sums(dim: int) -> None:
    features = torch.randn(1, 1, dim).expand(1, 7, dim)
    sums = build_lattice(features).filter(torch.rand(7, 2))
    torch.testing.assert_close(sums, sums[:1].expand(7, 2))


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_weights_are_barycentric_and_the_transposed_tables_agree(dim: int) -> None:
    lattice = build_lattice(torch.randn(2, 50, dim) * 3)
    scale = (1 + 2.0**-dim) ** -0.5
    torch.testing.assert_close(lattice.weights.sum(1), torch.full((100,), scale))
    assert (lattice.weights >= -1e-6).all()
    ends = lattice.starts.tolist()
    pairs = sorted(zip(lattice.vertices.flatten().tolist(), lattice.weights.flatten().tolist(), strict=True))
    transposed = []
    for vertex, (start, end) in enumerate(pairwise(ends)):
        assert end > start
        transposed += [(vertex, weight) for weight in lattice.point_weights[start:end].tolist()]
    assert sorted(transposed) == pairs


@pytest.mark.parametrize("dim", [2, 5])
def test_neighbours_are_mutual_and_in_every_axis(dim: int) -> None:
    lattice = build_lattice(torch.randn(1, 400, dim) * 2)
    none = len(lattice.starts) - 1
    for axis in lattice.neighbours.tolist():
        found = 0
        for vertex, (own, following, last) in enumerate(axis):
            assert own == vertex
            if vertex != none and following != none:
                assert axis[following][2] == vertex
                found += 1
            if vertex != none and last != none:
                assert axis[last][1] == vertex
        assert found > 0
        assert axis[none] == [none] * 3


@pytest.mark.parametrize("normalization", [None, *NORMALIZATIONS])
def test_transposed_is_the_transposed_map(normalization: Normalization | None) -> None:
    lattice = build_lattice(torch.randn(1, 40, 5))
    lattice = lattice if normalization is None else lattice.normalized(normalization)
    unit = torch.eye(40, dtype=torch.float64)
    torch.testing.assert_close(lattice.transposed.filter(unit), lattice.filter(unit).T)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradient_is_that_of_the_sums(normalization: Normalization) -> None:
    lattice = build_lattice(torch.randn(2, 6, 3)).normalized(normalization, 2.0)
    values = torch.rand(12, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lattice.filter, (values,))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_normalisation_is_that_of_the_dense_matrix(normalization: Normalization) -> None:
    features = torch.randn(1, 30, 2)
    plain = dense_matrix(features)
    sums = plain.sum(1)
    expected = {"after": plain / sums[:, None], "symmetric": plain / (sums[:, None] * sums).sqrt()}
    matrix = build_lattice(features).normalized(normalization, 3.0).filter(torch.eye(30, dtype=torch.float64))
    torch.testing.assert_close(matrix, 3 * expected[normalization], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_batch_equals_its_images_one_by_one(normalization: Normalization) -> None:
    features, values = torch.randn(3, 50, 5) * 2, torch.rand(3, 50, 4)
    together = build_lattice(features).normalized(normalization).filter(values.flatten(0, 1))
    for image in range(3):
        alone = build_lattice(features[image : image + 1]).normalized(normalization).filter(values[image])
        assert torch.equal(together[50 * image : 50 * image + 50], alone)


@pytest.mark.parametrize("dim", [2, 5, 8, LARGEST_DIM])
def test_hashed_lattice_points_are_the_numbered_ones(dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points too many to number have hashes, which here replace numbers that would do."""
    features, values = torch.rand(2, 300, dim), torch.rand(600, 3)
    numbered = build_lattice(features)
    monkeypatch.setattr("deeplab_lightning.crf.lattice.LARGEST_KEY", 0)
    hashed = build_lattice(features)
    assert not torch.equal(hashed.vertices, numbered.vertices)
    assert hashed.starts.shape == numbered.starts.shape
    assert torch.equal(hashed.filter(values), numbered.filter(values))


@pytest.mark.parametrize("wrong", [1e5, float("nan"), float("inf")])
def test_features_too_far_away_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="65536 ranges"):
        build_lattice(torch.tensor([[[0.0] * 5, [wrong] * 5]]))


def test_features_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match="20 features, got 21"):
        build_lattice(torch.zeros(1, 2, LARGEST_DIM + 1))
