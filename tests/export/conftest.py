"""One model that was exported by the command, for all tests of exports."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from deeplab_lightning import Segmenter, load
from deeplab_lightning.__main__ import main
from deeplab_lightning.description import DESCRIPTION, ModelDescription
from deeplab_lightning.models.build import build_network
from deeplab_lightning.palette import Palette
from tests.segmentation.models import NAMES, PIXELS
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
    """A thin DeepLabv1, the network that is exported the fastest, and its checkpoint."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("thin") / "best.ckpt"
    description = ModelDescription("DeepLabV1", {"num_classes": 3}, Palette.voc(NAMES), PIXELS)
    with an_eighth_of_the_channels():
        network = build_network("DeepLabV1", description.arguments)
        for name, weight in network.named_parameters():
            if name.endswith("weight"):
                torch.nn.init.kaiming_normal_(weight)
        tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
        torch.save({"state_dict": tensors, DESCRIPTION: description.as_dict()}, path)
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
