"""Smaller ONNX files: weights in half precision, and 8-bit integers for weights and features."""

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deeplab_lightning.atomic import replacing
from deeplab_lightning.extras import require
from deeplab_lightning.segmentation.onnx_runtime import import_onnxruntime

SMALLEST = 64
"""Number of values below which a tensor stays in float32: biases, and constants of the arithmetic."""
LARGEST_HALF = float(np.finfo(np.float16).max)


def halve_weights(source: Path, target: Path) -> None:
    """Write an ONNX file with its weights in half precision, which become float32 again before they are used.

    The file has half the size. The arithmetic stays in float32, because CPUs and browsers have no fast half precision.

    Args:
        source: The file with float32 weights.
        target: The file to write.
    """
    require("export", "an ONNX file")
    import onnx

    model = onnx.load(str(source))
    casts = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALLEST or np.abs(values).max() > LARGEST_HALF:
            continue
        name, half = tensor.name, f"{tensor.name}_half"
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.FLOAT, name=f"{half}_to_float"))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _save(model, "half", target)


def quantize(source: Path, target: Path, batches: Iterable[Tensor]) -> None:
    """Write an ONNX file whose convolutions compute with 8-bit integers: static, per channel, QDQ, u8 times s8.

    The ranges of the features are those of given inputs. What comes before the first and after the last features, the
    classifiers included, stays in float32: the normalisation, the logits and their upsampling.

    Args:
        source: The file with float32 weights.
        target: The file to write.
        batches: Inputs like those that the graph will see, each with a batch of any size.
    """
    require("export", "an ONNX file")
    quantization = import_onnxruntime("onnxruntime.quantization")
    import onnx

    with TemporaryDirectory() as folder, _silent():
        fused, draft = Path(folder) / "fused.onnx", Path(folder) / "int8.onnx"
        # its symbolic shape inference does not know all operators, and leaves a file in the working directory
        quantization.quant_pre_process(str(source), str(fused), skip_symbolic_shape=True)
        graph = onnx.load(str(fused)).graph
        quantization.quantize_static(
            str(fused),
            str(draft),
            _reader(quantization, graph.input[0].name, batches),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=kept_in_float(graph.node),
        )
        _save(onnx.load(str(draft)), "int8", target)


def kept_in_float(nodes: Sequence[Any]) -> list[str]:
    """Return the names of the nodes that no convolution precedes, or that none follows.

    Args:
        nodes: The nodes of an ONNX graph in their order.
    """
    with_before, with_after = set[str](), set[str]()  # values with a convolution among what makes or what uses them
    before, after = set[str](), set[str]()
    for node in nodes:
        if with_before & set(node.input):
            before.add(node.name)
        if with_before & set(node.input) or node.op_type == "Conv":
            with_before |= set(node.output)
    for node in reversed(nodes):
        if with_after & set(node.output):
            after.add(node.name)
        if with_after & set(node.output) or node.op_type == "Conv":
            with_after |= set(node.input)
    return [
        node.name for node in nodes if node.name not in after or (node.op_type != "Conv" and node.name not in before)
    ]


def _reader(quantization: Any, name: str, batches: Iterable[Tensor]) -> Any:
    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.batches: Iterator[Tensor] = iter(batches)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {name: np.ascontiguousarray(batch.numpy())}

    return Reader()


def _save(model: Any, precision: str, target: Path) -> None:
    import onnx

    for entry in model.metadata_props:
        if entry.key == "precision":
            entry.value = precision
    with replacing(target) as draft:
        onnx.save(model, str(draft))


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the quantiser's dumps of tensors and its hints away from the terminal."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
