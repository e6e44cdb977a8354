"""An ONNX file in place of a checkpoint; the graph is a small one that was written by hand."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_lightning import load
from deeplab_lightning.segmentation.graph_file import GraphFile, Interface
from deeplab_lightning.segmentation.model_file import read_model
from deeplab_lightning.segmentation.onnx_network import ONNXNetwork, Session, read_onnx
from tests.segmentation.models import describe_small

onnx = pytest.importorskip("onnx")
WEIGHTS = torch.tensor([[1.0, -2.0, 0.5], [0.5, 1.0, -1.0], [-1.0, 0.2, 1.0]])


def write_graph(path: Path, facts: GraphFile | None, outputs: tuple[str, ...] = ("logits",)) -> Path:
    """A 1x1 convolution as an ONNX graph."""
    shape = ["batch", 3, "height", "width"]
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("images", *outputs)]
    weights = onnx.numpy_helper.from_array(WEIGHTS.numpy()[:, :, None, None], "weights")
    nodes = [onnx.helper.make_node("Conv", ["images", "weights"], ["logits"])]
    if len(outputs) > 1:
        nodes.append(
            onnx.helper.make_node("AveragePool", ["logits"], ["coarse_logits"], kernel_shape=[2, 2], strides=[2, 2])
        )
    graph = onnx.helper.make_graph(nodes, "small", values[:1], values[1:], [weights])
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)])
    onnx.helper.set_model_props(model, {} if facts is None else facts.as_texts())
    onnx.save(model, str(path))
    return path


@pytest.fixture
def facts() -> GraphFile:
    return GraphFile(describe_small(), Interface(), 16, 16, align_corners=True)


def test_logits_are_those_of_the_graph_at_any_size(facts: GraphFile, tmp_path: Path) -> None:
    path = write_graph(tmp_path / "m.onnx", facts, ("logits", "coarse_logits"))
    model = read_onnx(path)
    images = torch.randn(2, 3, 6, 8)
    logits = torch.einsum("kc,bchw->bkhw", WEIGHTS, images)
    coarse = torch.nn.functional.avg_pool2d(logits, 2)
    torch.testing.assert_close(model.network(images), logits)
    torch.testing.assert_close(
        model.network.forward_coarse(images.contiguous(memory_format=torch.channels_last)), coarse
    )
    larger = torch.nn.functional.interpolate(coarse, (9, 13), mode="bilinear", align_corners=True)
    torch.testing.assert_close(model.network(images, (9, 13)), larger)
    assert (model.network.output_stride, model.network.in_channels, model.network.num_classes) == (16, 3, 3)
    other = write_graph(tmp_path / "other.onnx", facts)
    assert read_onnx(other).digest != model.digest == read_onnx(path).digest
    torch.testing.assert_close(read_onnx(other).network.forward_coarse(images), logits)


def test_threads_share_a_graph_and_each_keeps_its_number(facts: GraphFile, tmp_path: Path) -> None:
    network = ONNXNetwork(Session(write_graph(tmp_path / "m.onnx", facts)), facts)
    images = torch.randn(1, 3, 30, 40)
    expected = network(images)
    with ThreadPoolExecutor(3, initializer=torch.set_num_threads, initargs=(2,)) as pool:
        assert all(torch.equal(found, expected) for found in pool.map(lambda _: network(images), range(12)))


def test_another_process_gets_the_graph_without_its_file(facts: GraphFile, tmp_path: Path) -> None:
    path = write_graph(tmp_path / "m.onnx", facts)
    model = read_onnx(path)
    images = torch.randn(1, 3, 30, 40)
    sent = pickle.dumps(pickle.loads(pickle.dumps(model)))
    path.unlink()
    assert torch.equal(pickle.loads(sent).network(images), model.network(images))


def test_a_segmenter_takes_it(facts: GraphFile, tmp_path: Path) -> None:
    path = write_graph(tmp_path / "m.onnx", facts)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    result = load(path).segment(pixels)
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.25, 0.2, 0.3])
    np.testing.assert_array_equal(result.mask, ((pixels / 255 - mean) / std @ WEIGHTS.numpy().T).argmax(2))
    with pytest.raises(ValueError, match="m.onnx.*--output_stride"):
        load(path, output_stride=8)
    with pytest.raises(ValueError, match="cuda"):
        load(path, device="cuda")


def test_other_files_are_refused_by_name(facts: GraphFile, checkpoint: Path, tmp_path: Path) -> None:
    write_graph(tmp_path / "bare.onnx", None)
    pixels = GraphFile(facts.description, Interface("pixels"), 16, 16, align_corners=True)
    write_graph(tmp_path / "pixels.onnx", pixels)
    (tmp_path / "text.onnx").write_text("no graph")
    (tmp_path / "half.onnx").write_bytes((tmp_path / "bare.onnx").read_bytes()[:100])
    (tmp_path / "checkpoint.onnx").write_bytes(checkpoint.read_bytes())
    for name, said in {
        "bare": "deeplab export",
        "pixels": "--inputs",
        "text": "onnxruntime",
        "half": "onnxruntime",
        "checkpoint": "onnxruntime",
    }.items():
        with pytest.raises(ValueError, match=f"{name}.onnx: .*{said}"):
            load(tmp_path / f"{name}.onnx")
    (tmp_path / "graph.ckpt").write_bytes((tmp_path / "bare.onnx").read_bytes())
    with pytest.raises(ValueError, match="graph.ckpt"):
        read_model(tmp_path / "graph.ckpt")
