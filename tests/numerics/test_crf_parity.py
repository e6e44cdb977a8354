"""The torch engine against pydensecrf on real images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.crf import published
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.settings import Normalization


def from_labels(labels: NDArray[np.int64], num_classes: int, certainty: float) -> NDArray[np.float32]:
    """Probabilities as of a network: smoothed labels with noise of a grid of stride 8; 255 favours no label."""
    target = torch.from_numpy(labels)
    scores = F.one_hot(target.where(target < num_classes, num_classes), num_classes + 1)[..., :num_classes]
    scores = F.avg_pool2d(scores.permute(2, 0, 1)[None].float(), 17, 1, 8) * certainty
    grid = (len(labels) // 8 + 1, labels.shape[1] // 8 + 1)
    noise = F.interpolate(torch.randn(1, num_classes, *grid), labels.shape, mode="bilinear")
    return (scores + noise).softmax(1)[0].numpy()


def assert_equal_engines(crf: DenseCRF, image: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> None:
    theirs = replace(crf, engine="pydensecrf")(image, probabilities)
    ours = replace(crf, engine="torch")(image, probabilities)
    assert np.mean(ours.argmax(0) == theirs.argmax(0)) >= 0.9999
    assert np.abs(ours - theirs).max() <= 5e-3
    assert np.abs(ours - theirs).mean() <= 1e-6
    assert np.mean(ours.argmax(0) == probabilities.argmax(0)) < 0.999  # the CRF does something


@pytest.mark.parametrize(
    ("image_id", "crf", "normalization"),
    [
        ("2011_000003", published.DEEPLAB_V2_RESNET101, "after"),
        ("2011_000006", published.DEEPLAB_LARGEFOV, "symmetric"),
        ("2011_000025", published.DEEPLAB, "after"),
        ("2007_000129", replace(published.DEEPLAB_V2_VGG16, iterations=5), "symmetric"),
    ],
)
def test_voc_images(real_data: Path, image_id: str, crf: DenseCRF, normalization: Normalization) -> None:
    root = real_data / "voc_samples"
    image = np.array(Image.open(root / "JPEGImages" / f"{image_id}.jpg").convert("RGB"))
    labels = np.array(Image.open(root / "SegmentationClass" / f"{image_id}.png")).astype(np.int64)
    assert_equal_engines(replace(crf, normalization=normalization), image, from_labels(labels, 21, 5.0))


@pytest.mark.parametrize("normalization", ["after", "symmetric"])
@pytest.mark.parametrize(
    ("image_id", "annotation", "crf"),
    [
        ("im1", "anno1", published.DEEPLAB_MSC),
        ("im1", "anno1-b", DenseCRF(10, 80, 13, 3, 3, 5)),
        ("im2", "anno2", DenseCRF(10, 80, 13, 3, 3, 5)),
        ("im3", "anno3", DenseCRF(3, 60, 20, 3, 1)),
    ],
)
def test_rough_annotations(
    real_data: Path, image_id: str, annotation: str, crf: DenseCRF, normalization: Normalization
) -> None:
    """Each colour but black is a label; black is not annotated."""
    root = real_data / "crf_samples"
    image = np.array(Image.open(root / f"{image_id}.png").convert("RGB"))
    colours = np.array(Image.open(root / f"{annotation}.png").convert("RGB")).astype(np.int64) @ [1, 256, 65536]
    names = [colour for colour in np.unique(colours) if colour]
    labels = np.full(colours.shape, 255)
    for label, colour in enumerate(names):
        labels[colours == colour] = label
    assert_equal_engines(replace(crf, normalization=normalization), image, from_labels(labels, len(names), 2.0))
