"""A small model that the tests of segmentation share."""

from pathlib import Path

import pytest

from deeplab_lightning import Segmenter, load
from tests.segmentation.models import describe_small, write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a small network."""
    return write_checkpoint(tmp_path_factory.mktemp("model") / "best.ckpt", describe_small())


@pytest.fixture(scope="session")
def segmenter(checkpoint: Path) -> Segmenter:
    """The segmenter of this checkpoint, on the CPU."""
    return load(checkpoint, device="cpu")
