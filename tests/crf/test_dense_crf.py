import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.worker import refine, start_worker


def exact_mean_field(
    crf: DenseCRF, image: NDArray[np.uint8], probabilities: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The same mean field with every pair of pixels summed, O(N^2); kernels normalised as Kraehenbuehl's code does."""
    classes, height, width = probabilities.shape
    place = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2).astype(float)
    colour = image.reshape(-1, 3).astype(float)

    def kernel(features: NDArray[np.float64]) -> NDArray[np.float64]:
        distance = np.square(features[:, None] - features[None]).sum(-1)
        weights = np.exp(-distance / 2)
        norm = 1 / np.sqrt(weights.sum(1))
        scaled: NDArray[np.float64] = norm[:, None] * weights * norm[None]
        return scaled

    smoothness = kernel(place / crf.gaussian_xy)
    appearance = kernel(np.concatenate([place / crf.bilateral_xy, colour / crf.bilateral_rgb], 1))
    unary = -np.log(np.clip(probabilities.reshape(classes, -1).astype(float), 1e-5, 1))
    current = np.exp(-unary) / np.exp(-unary).sum(0)
    for _ in range(crf.iterations):
        message = crf.gaussian_weight * current @ smoothness + crf.bilateral_weight * current @ appearance
        current = np.exp(message - unary)
        current /= current.sum(0)
    result: NDArray[np.float64] = current.reshape(classes, height, width)
    return result


def two_halves(noise: float) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    """A dark and a bright half, and noisy probabilities that favour the right class."""
    rng = np.random.default_rng(0)
    target = np.zeros((20, 24), np.int64)
    target[:, 11:] = 1
    image = np.where(target[..., None] == 1, 200, 50) + rng.integers(-5, 6, (20, 24, 3))
    score = np.where(target == 1, 0.6, 0.4) + rng.normal(0, noise, target.shape)
    second = score.clip(0.05, 0.95)
    return image.astype(np.uint8), np.stack([1 - second, second]).astype(np.float32), target


def test_it_cleans_up_noise_along_the_edges_of_the_image() -> None:
    image, probabilities, target = two_halves(noise=0.2)
    refined = DenseCRF(5, 20, 20, 1, 1)(image, probabilities)
    assert np.mean(probabilities.argmax(0) == target) < 0.85
    assert np.mean(refined.argmax(0) == target) == 1
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("crf", [DenseCRF(4, 20, 15, 3, 1), DenseCRF(3, 8, 30, 0, 1, 5), DenseCRF(0, 8, 30, 2, 3)])
def test_it_approximates_the_exact_sum(crf: DenseCRF) -> None:
    """The permutohedral lattice is an approximation; the settings must mean what the energy says."""
    image, probabilities, _ = two_halves(noise=0.1)
    refined, exact = crf(image, probabilities), exact_mean_field(crf, image, probabilities)
    assert np.mean(refined.argmax(0) == exact.argmax(0)) > 0.97
    assert np.abs(refined - exact).mean() < 0.05


def test_without_kernels_it_returns_what_it_got() -> None:
    image, probabilities, _ = two_halves(noise=0.1)
    refined = DenseCRF(0, 20, 20, 0, 1)(image, probabilities)
    np.testing.assert_allclose(refined, probabilities, atol=1e-5)


def test_inputs_that_do_not_fit() -> None:
    image, probabilities, _ = two_halves(noise=0.1)
    wrongs: list[Any] = [image.astype(np.float32), image[:-1], image[..., 0]]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="the CRF needs a uint8 image"):
            DenseCRF()(wrong, probabilities)


def test_settings_that_cannot_work() -> None:
    for arguments in ({"bilateral_xy": 0.0}, {"gaussian_weight": -1.0}, {"iterations": 0}):
        with pytest.raises(ValueError, match="a CRF needs positive ranges"):
            DenseCRF(**arguments)


def test_a_machine_without_pydensecrf_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    image, probabilities, _ = two_halves(noise=0.1)
    with pytest.raises(ModuleNotFoundError, match="pip install pydensecrf2"):
        DenseCRF()(image, probabilities)


def test_worker_processes_load_neither_torch_nor_lightning() -> None:
    with ProcessPoolExecutor(1, get_context("spawn"), start_worker) as pool:
        image, probabilities, _ = two_halves(noise=0.1)
        assert pool.submit(refine, DenseCRF(), image, probabilities).result()[0].shape == (20, 24)
        loaded = pool.submit(eval, "{'torch', 'lightning'} & set(__import__('sys').modules)").result()
    assert loaded == set()
