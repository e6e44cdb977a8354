import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.segmentation.pictures import Picture
from deeplab_lightning.segmentation.segmenter import Method
from deeplab_lightning.serving import answers
from deeplab_lightning.serving.answers import ServedModel, enlarged
from deeplab_lightning.serving.limits import Deadline

CRF = DenseCRF(iterations=2, bilateral_xy=8)


def passes(model: ServedModel) -> list[int]:
    """A list that grows with every finished pass through the network."""
    seen: list[int] = []
    model.segmenter.network.register_forward_hook(lambda *_: seen.append(1))
    return seen


def test_answers_are_those_of_the_segmenter(model: ServedModel, image: NDArray[np.uint8]) -> None:
    for how in (Method(), Method((0.5, 1.0), flip=True, crf=CRF)):
        expected = model.segmenter.segment(image, scales=how.scales, flip=how.flip, crf=how.crf)
        answer = model.answer(Picture(image, "a"), how, Deadline(60))
        np.testing.assert_array_equal(answer.mask, expected.mask)
        np.testing.assert_array_equal(answer.result.confidence, expected.confidence)
        assert answer.result.probabilities is not None
        assert expected.probabilities is not None
        np.testing.assert_allclose(answer.result.probabilities, expected.probabilities, atol=1e-6)
        assert answer.result.remarks == ()


def test_another_crf_needs_no_network_and_another_picture_does(model: ServedModel, image: NDArray[np.uint8]) -> None:
    seen = passes(model)
    refined = [model.answer(Picture(image, "a"), Method(crf=crf), Deadline(60)) for crf in (None, CRF, None)]
    assert len(seen) == 1
    np.testing.assert_array_equal(refined[0].mask, refined[2].mask)
    assert (refined[0].mask != refined[1].mask).any()
    model.answer(Picture(image[::-1].copy(), "a"), Method(), Deadline(60))
    model.answer(Picture(image[::-1].copy(), "a"), Method((0.5,)), Deadline(60))
    assert len(seen) == 3


def test_large_pictures_are_segmented_smaller_and_their_masks_enlarged(
    model: ServedModel, image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "LARGEST", 600)
    answer = model.answer(Picture(image, "a"), Method(), Deadline(60))
    height, width = answer.result.mask.shape
    assert (height, width) == (20, 28)
    assert answer.mask.shape == image.shape[:2]
    assert "20" in answer.result.remarks[-1]
    assert answer.result.probabilities is not None
    shares = torch.from_numpy(answer.result.probabilities)[None]
    expected = F.interpolate(shares, answer.mask.shape, mode="bilinear", align_corners=False)[0].argmax(0)
    present = np.isin(expected, np.unique(answer.result.mask))
    np.testing.assert_array_equal(answer.mask[present], expected.numpy()[present])
    assert enlarged(answer.result, (20, 28)) is answer.result.mask


def test_deep_pictures_are_reduced_in_their_own_units(model: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LARGEST_SCORES", 3 * 64)
    values = np.full((32, 32, 3), 3000.5, np.float32)
    small = model.reduced(Picture(values, "a")).pixels
    assert small.shape == (8, 8, 3)
    np.testing.assert_allclose(small, 3000.5)


def test_an_answer_ends_at_its_deadline(model: ServedModel, image: NDArray[np.uint8]) -> None:
    seen = passes(model)
    with pytest.raises(TimeoutError):
        model.answer(Picture(image, "a"), Method(), Deadline(0))
    model.answer(Picture(image, "a"), Method(), Deadline(60))
    with pytest.raises(TimeoutError):
        model.answer(Picture(image, "a"), Method(crf=CRF), Deadline(0))
    assert len(seen) == 1
