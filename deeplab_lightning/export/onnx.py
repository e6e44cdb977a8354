"""Writing a model as an ONNX file, which is compared with its network before it takes its place."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import Tensor

from deeplab_lightning.atomic import replacing
from deeplab_lightning.export.check import Agreement, ExportError, compare, demand
from deeplab_lightning.export.graph import INPUT, ExportedNetwork
from deeplab_lightning.export.precision import halve_weights, quantize
from deeplab_lightning.extras import require
from deeplab_lightning.segmentation.graph_file import GraphFile, Interface
from deeplab_lightning.segmentation.onnx_network import Session
from deeplab_lightning.segmentation.segmenter import Segmenter

Precision = Literal["half", "int8"]
"""Precision of the weights below float32."""
OPSET = 20
"""Version of ONNX's operators: the first in which every operator of the family has its final form."""
ALLOWED = {"half": (1e-2, 0.999), "int8": (float("inf"), 0.9)}
"""Largest difference as a share of the range, and smallest share of equal labels, of a precision. Half precision rounds
by 5e-4 of a value. 8 bits are a trade whose price is printed; only a graph that is of no use is refused."""


def write_onnx(segmenter: Segmenter, path: Path, interface: Interface | None = None) -> Agreement:
    """Write a model as an ONNX file for images of any batch, height and width.

    The file holds its `GraphFile` as texts. It is compared with the network, and takes its place only if they agree.

    Args:
        segmenter: The model, on the CPU.
        path: The file.
        interface: Inputs and outputs; normalised images and logits if not given, with which `load` takes the file.

    Returns:
        The agreement of the file with the network.

    Raises:
        ExportError: The graph differs from the network.
        ModuleNotFoundError: The exporter is not installed.
        OSError: The file cannot be written.
        ValueError: The model has a CRF as layers.
    """
    require("export", "an ONNX file")
    network = ExportedNetwork(segmenter, interface or Interface()).eval()
    facts = GraphFile.of(segmenter.network, segmenter.description, network.interface)
    with replacing(path) as draft:
        draft.touch()  # a path that cannot be written fails now, and not after the export
        with _quiet():
            program = torch.onnx.export(
                network,
                (network.example(),),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=network.output_names,
                dynamic_shapes=(network.open_dimensions(),),
                verbose=False,
            )
        assert program is not None
        program.model.metadata_props.update(facts.as_texts())
        _name_sides(program.model.graph.outputs[1:])
        program.save(str(draft), external_data=False)
        return demand(compare(network, open_graph(draft, network)))


def write_reduced(
    segmenter: Segmenter, path: Path, precision: Precision, interface: Interface, batches: Sequence[Tensor] = ()
) -> tuple[Agreement, Agreement]:
    """Write a model as an ONNX file of less precision, made from one in float32.

    Args:
        segmenter: The model, on the CPU.
        path: The file.
        precision: "half" or "int8".
        interface: Inputs and outputs.
        batches: Inputs by which int8 is calibrated, and with which the file is compared.

    Returns:
        The agreement of the file in float32 with the network, and that of the file that was written.

    Raises:
        ExportError: One of the graphs differs from the network too much.
        ModuleNotFoundError: The exporter is not installed.
        OSError: The file cannot be written.
        ValueError: The model has a CRF as layers.
    """
    network = ExportedNetwork(segmenter, interface).eval()
    with TemporaryDirectory() as folder, replacing(path) as draft:
        draft.touch()
        whole = Path(folder) / "float32.onnx"
        agreement = write_onnx(segmenter, whole, interface)
        if precision == "half":
            halve_weights(whole, draft)
        else:
            quantize(whole, draft, batches)
        reduced = compare(network, open_graph(draft, network), batches, tie=0)
        try:
            return agreement, demand(reduced, *ALLOWED[precision])
        except ExportError as error:
            raise ExportError(f"{error}; --precision float32 keeps the weights as they are") from error


def open_graph(path: Path, network: ExportedNetwork) -> Callable[[Tensor], Tensor]:
    """Return the function that runs the graph in a file, which must take images of any size.

    Raises:
        ExportError: A batch, a height or a width is fixed in the graph.
    """
    session = Session(path)
    _, shape = session.inputs[INPUT]
    for dimension, name in network.open_dimensions().items():
        if isinstance(shape[dimension], int):
            raise ExportError(f"the graph takes only a {name} of {shape[dimension]}, so it is not kept")

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(images.numpy(), network.interface.outputs))

    return run


def _name_sides(coarse: Sequence[Any]) -> None:
    """Name the sides of the coarse logits, for which the exporter writes formulas."""
    for output in coarse:
        output.shape[2], output.shape[3] = "coarse_height", "coarse_width"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes on its own work from the terminal, where they look like faults."""
    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
