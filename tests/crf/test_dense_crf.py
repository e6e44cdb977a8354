import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydensecrf.densecrf import NORMALIZE_AFTER, DenseCRF2D

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.settings import Normalization
from tests.crf.scenes import exact_mean_field, random_input, two_halves

ENGINES: list[Any] = ["torch", "pydensecrf"]
NORMALIZATIONS: list[Normalization] = ["after", "symmetric"]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("engine", ENGINES)
def test_it_cleans_up_noise_along_the_edges_of_the_image(engine: Any, normalization: Normalization) -> None:
    image, probabilities, target = two_halves(noise=0.2)
    refined = DenseCRF(5, 20, 20, 1, 1, normalization=normalization, engine=engine)(image, probabilities)
    assert np.mean(probabilities.argmax(0) == target) < 0.85
    assert np.mean(refined.argmax(0) == target) == 1
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("crf", [DenseCRF(4, 20, 15, 3, 1), DenseCRF(3, 8, 30, 0, 1, 5), DenseCRF(0, 8, 30, 2, 3)])
def test_it_approximates_the_exact_sum(crf: DenseCRF, normalization: Normalization, engine: Any) -> None:
    """The permutohedral lattice is an approximation; the settings must mean what the energy says."""
    image, probabilities, _ = two_halves(noise=0.1)
    refined = replace(crf, normalization=normalization, engine=engine)(image, probabilities)
    exact = {
        each: exact_mean_field(replace(crf, normalization=each), image, np.log(probabilities.astype(np.float64)))
        for each in NORMALIZATIONS
    }
    errors = {each: np.abs(refined - expected).mean() for each, expected in exact.items()}
    assert np.mean(refined.argmax(0) == exact[normalization].argmax(0)) > 0.99
    assert errors[normalization] < 0.003
    assert errors[normalization] == min(errors.values())


@pytest.mark.parametrize("engine", ENGINES)
def test_logits_count_as_they_are(engine: Any) -> None:
    """The releases' unary energy is minus the logits: what a softmax makes small is not clipped."""
    image, probabilities = random_input(7, 40, 30)
    logits = 6 * np.log(probabilities)
    powers = np.exp(logits - logits.max(0))
    unlikely = powers / powers.sum(0)
    assert np.mean(unlikely < 1e-8) > 0.1
    field = DenseCRF2D(30, 40, 7)
    field.setUnaryEnergy(-logits.reshape(7, -1))
    field.addPairwiseGaussian(sxy=3, compat=3, normalization=NORMALIZE_AFTER)
    field.addPairwiseBilateral(sxy=20, srgb=13, rgbim=image, compat=10, normalization=NORMALIZE_AFTER)
    released = np.array(field.inference(10)).reshape(logits.shape)
    refined = DenseCRF(10, 20, 13, 3, 3, engine=engine)(image, unlikely)
    assert released.min() > 1e-36
    np.testing.assert_allclose(np.log(refined), np.log(released), rtol=1e-3, atol=1e-3)


def assert_equal_engines(crf: DenseCRF, image: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> None:
    ours = replace(crf, engine="torch")(image, probabilities)
    theirs = replace(crf, engine="pydensecrf")(image, probabilities)
    assert ours.dtype == theirs.dtype == np.float32
    assert np.mean(ours.argmax(0) == theirs.argmax(0)) >= 0.9999
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-3)
    assert np.abs(ours - theirs).mean() <= 1e-6


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("num_classes", [1, 2, 7, 21])
@pytest.mark.parametrize(
    "crf", [DenseCRF(), DenseCRF(5, 50, 10, 3, 3, 5), DenseCRF(4, 65, 3, 2, 2), DenseCRF(1, 9, 80)]
)
def test_the_engines_give_the_same(crf: DenseCRF, num_classes: int, normalization: Normalization) -> None:
    assert_equal_engines(replace(crf, normalization=normalization), *random_input(num_classes, 90, 70))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2)])
def test_the_engines_give_the_same_at_the_smallest_sizes(size: tuple[int, int], normalization: Normalization) -> None:
    assert_equal_engines(DenseCRF(normalization=normalization), *random_input(3, *size))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_engines_give_the_same_on_one_colour(normalization: Normalization) -> None:
    image, probabilities = random_input(4, 30, 50)
    assert_equal_engines(DenseCRF(normalization=normalization), np.full_like(image, 77), probabilities)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_certain_label_stays(engine: Any) -> None:
    """A label map with a single class, probability 1 everywhere."""
    image, _ = random_input(3, 20, 30)
    probabilities = np.zeros((3, 20, 30), np.float32)
    probabilities[1] = 1
    refined = DenseCRF(engine=engine)(image, probabilities)
    assert (refined.argmax(0) == 1).all()
    assert refined[1].min() > 0.999


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("min_probability", [0.0, 0.3])
def test_a_batch_equals_its_images_one_by_one(engine: Any, min_probability: float) -> None:
    pairs = [random_input(num_classes, 24, 31) for num_classes in (5, 6)]
    images = np.stack([image for image, _ in pairs])
    probabilities = np.stack([np.pad(own, ((0, 6 - len(own)), (0, 0), (0, 0))) for _, own in pairs])
    crf = DenseCRF(engine=engine, min_probability=min_probability)
    together = crf(images, probabilities)
    for image, own, refined in zip(images, probabilities, together, strict=True):
        np.testing.assert_allclose(crf(image, own), refined, rtol=0, atol=1e-6)
    assert (together[0, 5] == 0).all() == bool(min_probability)


@pytest.mark.parametrize("engine", ENGINES)
def test_kind_and_shape_come_back(engine: Any) -> None:
    image, probabilities = random_input(3, 12, 13)
    crf = DenseCRF(engine=engine)
    as_array = crf(image, probabilities)
    as_tensor = crf(torch.from_numpy(image), torch.from_numpy(probabilities))
    assert isinstance(as_tensor, torch.Tensor)
    assert isinstance(as_array, np.ndarray)
    assert as_tensor.shape == as_array.shape == probabilities.shape
    assert np.array_equal(as_tensor.numpy(), as_array)
    halves = crf(image, torch.from_numpy(probabilities).bfloat16())
    assert halves.dtype == torch.float32


@pytest.mark.parametrize("engine", ENGINES)
def test_how_an_array_lies_in_memory_does_not_matter(engine: Any) -> None:
    """Mirrored arrays have negative strides; those of Pillow and of files in memory are read-only."""
    image, probabilities = random_input(3, 12, 13)
    crf = DenseCRF(engine=engine)
    mirrored = image[::-1, ::-1], probabilities[:, ::-1, ::-1]
    read_only = image.copy(), probabilities.copy()
    for array in read_only:
        array.flags.writeable = False
    turned = image[..., ::-1][..., ::-1], np.asfortranarray(probabilities)
    for lying in (mirrored, read_only, turned):
        expected = crf(lying[0].copy(), lying[1].copy())
        assert np.array_equal(crf(*lying), expected)
        assert np.array_equal(crf(lying[0], torch.from_numpy(lying[1].copy())).numpy(), expected)
        assert np.array_equal(crf(np.stack([lying[0]])[::-1], np.stack([lying[1]])[::-1])[0], expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_pruning_leaves_out_labels_that_are_nowhere_likely(engine: Any) -> None:
    image, probabilities = random_input(3, 40, 50)
    unlikely = np.full((18, 40, 50), 1e-4, np.float32)
    probabilities = np.concatenate([unlikely, probabilities * (1 - unlikely.sum(0))])
    plain = DenseCRF(engine=engine)(image, probabilities)
    pruned = DenseCRF(engine=engine, min_probability=0.01)(image, probabilities)
    assert (pruned[:18] == 0).all()
    assert np.mean(pruned.argmax(0) == plain.argmax(0)) >= 0.999
    assert np.abs(pruned - plain).mean() < 1e-3
    with pytest.raises(ValueError, match=r"reaches min_probability 0\.999"):
        DenseCRF(engine=engine, min_probability=0.999)(image, probabilities)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_kernels_it_returns_what_it_got(engine: Any) -> None:
    image, probabilities, _ = two_halves(noise=0.1)
    refined = DenseCRF(0, 20, 20, 0, 1, engine=engine)(image, probabilities)
    np.testing.assert_allclose(refined, probabilities, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_inputs_that_do_not_fit(engine: Any) -> None:
    image, probabilities, _ = two_halves(noise=0.1)
    holed = probabilities.copy()
    holed[0, 3, 4] = np.nan
    wrongs: list[tuple[Any, Any, str]] = [
        (image.astype(np.float32), probabilities, "needs a uint8 image .* got float32"),
        (image[:-1], probabilities, r"of one size, .* got \(19, 24, 3\) and \(2, 20, 24\)"),
        (image[..., 0], probabilities, "of one size"),
        (image[None], probabilities, "of one size"),
        (image[:0], probabilities[:, :0], "of one size"),
        (image, probabilities[:0], "at least one label"),
        (image, probabilities * 2, "summing to 1 .* misses 1 by 1"),
        (image, np.log(probabilities), "summing to 1"),
        (image, holed, "misses 1 by nan"),
    ]
    for wrong_image, wrong_probabilities, sentence in wrongs:
        with pytest.raises(ValueError, match=sentence):
            DenseCRF(engine=engine)(wrong_image, wrong_probabilities)


def test_invalid_settings_of_its_own_are_refused() -> None:
    with pytest.raises(ValueError, match="engine.*'cuda'"):
        DenseCRF(engine="cuda")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="min_probability.*1"):
        DenseCRF(min_probability=1)


def test_without_pydensecrf_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    image, probabilities, _ = two_halves(noise=0.1)
    with pytest.raises(ModuleNotFoundError, match=r"deeplab_lightning\[crf\]"):
        DenseCRF(engine="pydensecrf")(image, probabilities)
    assert DenseCRF()(image, probabilities).shape == probabilities.shape


def test_it_says_what_it_does() -> None:
    assert str(DenseCRF()).endswith("10 iterations, normalised after filtering, torch")
    other = DenseCRF(normalization="symmetric", engine="pydensecrf", min_probability=0.01)
    assert str(other).endswith("labels that reach 0.01, normalised symmetrically, pydensecrf")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same() -> None:
    image, probabilities = random_input(7, 90, 70)
    expected = DenseCRF(engine="pydensecrf")(image, probabilities)
    refined = DenseCRF()(torch.from_numpy(image).cuda(), torch.from_numpy(probabilities).cuda())
    assert refined.is_cuda
    assert np.mean(refined.cpu().numpy().argmax(0) == expected.argmax(0)) >= 0.9999
    np.testing.assert_allclose(refined.cpu().numpy(), expected, rtol=0, atol=5e-3)


def test_the_crf_is_light_to_import() -> None:
    """Worker processes of pydensecrf need no torch, and nobody needs Lightning."""
    program = """if True:
        import sys, numpy as np
        from deeplab_lightning.crf import CRFSettings, DenseCRF, Pairwise, refine
        assert "torch" not in sys.modules
        assert refine(np.zeros((2, 3, 3), np.uint8), np.full((2, 2, 3), 0.5)).shape == (2, 2, 3)
        from deeplab_lightning.crf import CRFRNN
        assert CRFRNN(2)
        assert not {"lightning", "pytorch_lightning", "pydensecrf", "torchvision", "scipy"} & set(sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
