"""One model that was exported by the command, for all tests of exports."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import pytest

from deeplab_lightning import Segmenter, load
from deeplab_lightning.__main__ import main
from deeplab_lightning.palette import Palette
from tests.segmentation.models import NAMES, write_thin_v1
from tests.thin import an_eighth_of_the_channels


@dataclass(frozen=True)
class Exported:
    """A checkpoint, the ONNX file made from it, what the command printed, and the segmenter of the checkpoint."""

    checkpoint: Path
    onnx: Path
    printed: str
    segmenter: Segmenter


@pytest.fixture(scope="session")
def thin_segmenter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Segmenter]:
    """A thin DeepLabv1, and its checkpoint."""
    path = write_thin_v1(tmp_path_factory.mktemp("thin") / "best.ckpt", Palette.voc(NAMES))
    with an_eighth_of_the_channels():
        return path, load(path, device="cpu")


@pytest.fixture(scope="session")
def exported(thin_segmenter: tuple[Path, Segmenter]) -> Exported:
    """The model above as an ONNX file with the default inputs and outputs."""
    pytest.importorskip("onnxscript")
    checkpoint, segmenter = thin_segmenter
    path = checkpoint.with_name("model.onnx")
    with an_eighth_of_the_channels(), contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["export", str(checkpoint), "--out", str(path)]) == 0
    return Exported(checkpoint, path, printed.getvalue(), segmenter)
