"""A small model and a picture that the tests of the page share."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deeplab_lightning import Segmenter, load
from deeplab_lightning.serving.answers import ServedModel
from tests.segmentation.models import describe_small, write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a small network."""
    return write_checkpoint(tmp_path_factory.mktemp("served") / "best.ckpt", describe_small())


@pytest.fixture(scope="session")
def segmenter(checkpoint: Path) -> Segmenter:
    """The segmenter of this checkpoint."""
    return load(checkpoint, device="cpu")


@pytest.fixture
def model(segmenter: Segmenter) -> ServedModel:
    """This model, which has answered nothing yet."""
    return ServedModel("small", segmenter)


@pytest.fixture(scope="session")
def image() -> NDArray[np.uint8]:
    """An image (40, 56, 3)."""
    return np.random.default_rng(3).integers(0, 256, (40, 56, 3), np.uint8)
