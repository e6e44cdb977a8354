"""The exported file does what the checkpoint does; a file that does not is not kept."""

import json
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import deeplab_lightning.export.onnx as graphs
from deeplab_lightning import load
from deeplab_lightning.export.check import ExportError
from deeplab_lightning.export.graph import ExportedNetwork
from deeplab_lightning.export.onnx import open_graph, write_onnx, write_reduced
from deeplab_lightning.segmentation.graph_file import GraphFile, Interface
from deeplab_lightning.segmentation.onnx_network import Session
from tests.export.conftest import Exported

BLOCKS = np.kron(np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8), np.ones((7, 9, 1), np.uint8))


def test_the_command_prints_what_it_compared_and_wrote(exported: Exported) -> None:
    compared, wrote, *values = exported.printed.splitlines()
    assert compared.startswith("at 1x49x1000, 3x64x101, 1x225x193: largest difference ")
    assert "equal labels 100.000 % of 111817 pixels" in compared
    assert f"wrote {exported.onnx}: " in wrote
    assert values == [
        "  takes images: float (batch, 3, height, width)",
        "  gives logits: float (batch, 3, height, width)",
        "  gives coarse_logits: float (batch, 3, coarse_height, coarse_width)",
    ]


def test_the_file_describes_the_model(exported: Exported) -> None:
    onnx.checker.check_model(str(exported.onnx), full_check=True)
    texts = Session(exported.onnx).texts
    facts = GraphFile.of_texts(texts)
    assert facts.description == exported.segmenter.description
    assert (facts.interface, facts.output_stride, facts.precision) == (Interface(), 8, "float32")
    assert json.loads(texts["class_names"]) == ["background", "road", "car"]
    assert json.loads(texts["palette"])[1] == [128, 0, 0]
    assert json.loads(texts["normalization"])["mean"] == [0.5, 0.4, 0.3]


@pytest.mark.parametrize(
    "method", [{}, {"scales": [0.5, 1.5], "flip": True}, {"crf": "deeplab_largefov"}, {"tile": 256}]
)
def test_it_segments_like_the_checkpoint(exported: Exported, method: dict[str, Any]) -> None:
    model, image = load(exported.onnx), np.tile(BLOCKS, (1, 4, 1)) if "tile" in method else BLOCKS
    expected, found = exported.segmenter.segment(image, **method), model.segment(image, **method)
    assert len(np.unique(expected.mask)) > 1 or "crf" in method
    assert (found.mask == expected.mask).mean() > 0.999
    assert found.probabilities is not None
    assert expected.probabilities is not None
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=2e-3 if "tile" in method else 1e-4)
    assert found.remarks == expected.remarks
    assert model.class_names == exported.segmenter.class_names


class Program:
    """A program of the exporter that saves another graph."""

    def __init__(self, graph: onnx.ModelProto) -> None:
        self.model = self.graph = self
        self.proto = graph
        self.metadata_props: dict[str, str] = {}
        self.outputs: list[object] = []

    def save(self, path: str, external_data: bool) -> None:
        onnx.save(self.proto, path)


def test_a_graph_that_differs_is_not_kept(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, fixed = onnx.load(str(exported.onnx)), onnx.load(str(exported.onnx))
    largest = max(wrong.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(largest) * np.float32(1.02)
    largest.CopyFrom(onnx.numpy_helper.from_array(values, largest.name))
    fixed.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 129
    (tmp_path / "kept.onnx").write_text("an earlier file")
    for graph, named in ((wrong, "of the range"), (fixed, "height of 129")):
        program = Program(graph)
        monkeypatch.setattr(torch.onnx, "export", lambda *_, program=program, **__: program)
        with pytest.raises(ExportError, match=named):
            write_onnx(exported.segmenter, tmp_path / "kept.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.onnx"]
    assert (tmp_path / "kept.onnx").read_text() == "an earlier file"


def test_a_file_of_less_precision_is_made_from_one_that_agrees(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program(onnx.load(str(exported.onnx)))
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: program)
    agreement, reduced = write_reduced(exported.segmenter, tmp_path / "half.onnx", "half", Interface())
    assert agreement.relative < 1e-5
    assert 1e-5 < reduced.relative < 1e-2
    network = ExportedNetwork(exported.segmenter, Interface()).eval()
    logits = open_graph(tmp_path / "half.onnx", network)(network.example())
    torch.testing.assert_close(logits, network(network.example())[0], rtol=0, atol=1e-2 * agreement.value_range)
    assert [path.name for path in tmp_path.iterdir()] == ["half.onnx"]


def test_a_precision_that_is_too_coarse_names_the_way_out(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "write_onnx", lambda segmenter, path, interface: copy(exported.onnx, path))
    monkeypatch.setitem(graphs.ALLOWED, "half", (0.0, 1.0))
    with pytest.raises(ExportError, match="--precision float32"):
        write_reduced(exported.segmenter, tmp_path / "half.onnx", "half", Interface())
    assert list(tmp_path.iterdir()) == []
