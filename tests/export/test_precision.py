"""Smaller files: what they keep, how they compute, and what they leave behind."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from deeplab_lightning.export.check import compare
from deeplab_lightning.export.graph import ExportedNetwork
from deeplab_lightning.export.onnx import open_graph
from deeplab_lightning.export.precision import halve_weights, kept_in_float, quantize
from deeplab_lightning.segmentation.graph_file import GraphFile, Interface
from deeplab_lightning.segmentation.onnx_network import Session
from tests.export.conftest import Exported


def test_half_precision_halves_the_weights_alone(exported: Exported, tmp_path: Path) -> None:
    halve_weights(exported.onnx, tmp_path / "half.onnx")
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor)
               for tensor in onnx.load(str(tmp_path / "half.onnx")).graph.initializer}  # fmt: skip
    before = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(str(exported.onnx)).graph.initializer
    }
    halves = [name for name, values in weights.items() if values.dtype == np.float16]
    assert len(halves) >= 16
    for name in halves:
        np.testing.assert_array_equal(weights[name], before[name.removesuffix("_half")].astype(np.float16))
    assert (tmp_path / "half.onnx").stat().st_size < 0.55 * exported.onnx.stat().st_size
    assert GraphFile.of_texts(Session(tmp_path / "half.onnx").texts).precision == "half"


def test_weights_beyond_half_precision_stay(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [64])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [64])
    large = onnx.numpy_helper.from_array(np.full(64, 1e5, np.float32), "w")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Mul", ["x", "w"], ["y"])], "g", [value], [result], [large])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "a.onnx"))
    halve_weights(tmp_path / "a.onnx", tmp_path / "b.onnx")
    (kept,) = onnx.load(str(tmp_path / "b.onnx")).graph.initializer
    assert (kept.name, kept.data_type) == ("w", onnx.TensorProto.FLOAT)


def test_int8_quantises_features_and_leaves_logits_alone(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    network = ExportedNetwork(exported.segmenter, Interface()).eval()
    batches = [network.example(1, 48, 64), network.example(2, 33, 40)]
    quantize(exported.onnx, tmp_path / "int8.onnx", batches)
    assert list(folder.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    nodes = onnx.load(str(tmp_path / "int8.onnx")).graph.node
    made_by = {name: node.op_type for node in nodes for name in node.output}
    weights = [made_by.get(node.input[1]) for node in nodes if node.op_type == "Conv"]
    assert weights == ["DequantizeLinear"] * 15 + [None]  # all but the classifier
    assert {made_by[node.input[0]] for node in nodes if node.op_type == "Resize"} == {"Conv"}
    assert (tmp_path / "int8.onnx").stat().st_size < 0.32 * exported.onnx.stat().st_size
    agreement = compare(network, open_graph(tmp_path / "int8.onnx", network), batches, tie=0)
    assert agreement.equal > 0.8
    assert 1e-4 < agreement.relative < 0.5
    assert GraphFile.of_texts(Session(tmp_path / "int8.onnx").texts).precision == "int8"


def test_what_has_no_convolution_before_or_after_it_stays_in_float() -> None:
    def node(name: str, kind: str, inputs: str, output: str) -> onnx.NodeProto:
        return onnx.helper.make_node(kind, inputs.split(), [output], name=name)

    nodes = [
        node("normalise", "Mul", "image factor", "a"),
        node("first", "Conv", "a w", "b"),
        node("branch", "Relu", "b", "c"),
        node("scaled", "Resize", "a", "d"),
        node("second", "Conv", "d w", "e"),
        node("join", "Concat", "c e", "f"),
        node("classifier", "Conv", "f w", "g"),
        node("upsample", "Resize", "g", "logits"),
    ]
    assert kept_in_float(nodes) == ["normalise", "scaled", "classifier", "upsample"]
