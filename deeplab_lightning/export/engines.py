"""The ways to run a network that `deeplab benchmark` compares."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from deeplab_lightning.export.onnx import write_onnx
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.models.winograd import without_winograd
from deeplab_lightning.segmentation.model_file import Model
from deeplab_lightning.segmentation.onnx_network import ONNXNetwork, read_onnx
from deeplab_lightning.segmentation.segmenter import Segmenter

Run = Callable[[Tensor], Tensor]
"""A function from normalised images (B, C, H, W) to logits (B, K, H, W)."""


@dataclass(frozen=True)
class Engine:
    """A way to run a network.

    Args:
        name: Its name on the command line.
        prepare: Function that makes a model ready to run.
        precision: Precision of the arithmetic.
        keeps_memory: The engine keeps the memory of its first pass for the later ones.
        on_cpu: The engine runs on the CPU, whatever the model's device.
    """

    name: str
    prepare: Callable[[Segmenter], Run]
    precision: str = "float32"
    keeps_memory: bool = False
    on_cpu: bool = False


def _of_segmenter(segmenter: Segmenter) -> SegmentationNetwork:
    network: SegmentationNetwork = segmenter.network
    if isinstance(network, ONNXNetwork):
        raise ValueError("the file holds a graph for onnxruntime; give the checkpoint")
    return network


def _of_torch(segmenter: Segmenter) -> SegmentationNetwork:
    return without_winograd(_of_segmenter(segmenter))


def _eager(segmenter: Segmenter) -> Run:
    network = copy.deepcopy(_of_torch(segmenter)).to(memory_format=torch.contiguous_format)
    return lambda images: network(images.contiguous())


def _with_channels_last(network: Callable[[Tensor], Tensor]) -> Run:
    return lambda images: network(images.contiguous(memory_format=torch.channels_last))


def _channels_last(segmenter: Segmenter) -> Run:
    return _with_channels_last(_of_torch(segmenter))  # a segmenter's network has this format


def _segment(segmenter: Segmenter) -> Run:
    return _with_channels_last(_of_segmenter(segmenter))


def _bf16(segmenter: Segmenter) -> Run:
    run = _channels_last(segmenter)

    def in_bf16(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return run(images)

    return in_bf16


def _compiled(segmenter: Segmenter) -> Run:
    return _with_channels_last(torch.compile(_of_torch(segmenter), dynamic=False))


def _onnxruntime(segmenter: Segmenter) -> Run:
    if isinstance(segmenter.network, ONNXNetwork):
        return segmenter.network
    model = Model(copy.deepcopy(segmenter.network), segmenter.description, segmenter.layers, segmenter.digest)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(Segmenter(model, "cpu"), path)
        return read_onnx(path).network  # which has read the file


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("eager", _eager),
        Engine("channels_last", _channels_last),
        Engine("segment", _segment),
        Engine("bf16", _bf16, "bfloat16"),
        Engine("compiled", _compiled),
        Engine("onnxruntime", _onnxruntime, keeps_memory=True, on_cpu=True),
    )
}
"""The engines by name, the one first with which the others are compared."""
