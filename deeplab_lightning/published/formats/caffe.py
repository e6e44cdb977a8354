"""Caffe's trained networks as layers with numpy arrays, for both generations of layers.

Field numbers are those in caffe.proto of DeepLab v1 (BVLC Caffe of 2014, `layers`) and v2 (`layer`).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.published.formats.files import FormatError, open_bytes, reading
from deeplab_lightning.published.formats.protobuf import Message

V1_TYPES = {
    4: "Convolution",
    5: "Data",
    6: "Dropout",
    14: "InnerProduct",
    17: "Pooling",
    18: "ReLU",
    21: "SoftmaxWithLoss",
    25: "Eltwise",
    41: "Interp",
}
"""The types of first-generation layers in DeepLab's networks; other types are given by their number."""


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Args:
        name: Name of the layer.
        kind: Type of the layer, as the second generation names it ("Convolution").
        bottoms: Names of the layer's inputs.
        tops: Names of the layer's outputs.
        blobs: Arrays of the layer; those of a convolution are weights (O, I, H, W) and biases (O,).
        dilation: Rate of a convolution.
        stride: Stride of a convolution.
    """

    name: str
    kind: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    blobs: tuple[NDArray[Any], ...]
    dilation: int = 1
    stride: int = 1


@dataclass(frozen=True)
class _Fields:
    """The numbers of those fields that differ between the two generations of layers."""

    layers: int
    name: int
    bottom: int
    top: int
    blobs: int
    convolution: int


GENERATIONS = (
    _Fields(layers=2, name=4, bottom=2, top=3, blobs=6, convolution=10),
    _Fields(layers=100, name=1, bottom=3, top=4, blobs=7, convolution=106),
)


def read_caffemodel(path: Path) -> list[Layer]:
    """Return the layers of a network in their order, including those without arrays.

    Arrays are views of the memory-mapped file, so that only the parts in use take memory.

    Raises:
        FormatError: The file is damaged or not a network.
        OSError: The file cannot be opened.
    """
    with reading(path, "caffemodel"):
        network = Message(open_bytes(path))
        layers = [_layer(Message(each), kind) for kind in GENERATIONS for each in network.contents(kind.layers)]
        if not any(layer.blobs for layer in layers):
            raise FormatError("it is not a caffemodel: it has no layers with weights")
        if len({layer.name for layer in layers if layer.blobs}) < sum(bool(layer.blobs) for layer in layers):
            raise FormatError("it is damaged: two of its layers with weights have the same name")
        return layers


def _layer(message: Message, number: _Fields) -> Layer:
    name, convolution = message.text(number.name), message.message(number.convolution)
    kind = V1_TYPES.get(message.integer(5), str(message.integer(5))) if number.layers == 2 else message.text(2)
    return Layer(
        name,
        kind,
        bottoms=tuple(message.texts(number.bottom)),
        tops=tuple(message.texts(number.top)),
        blobs=tuple(_blob(name, Message(each)) for each in message.contents(number.blobs)),
        dilation=_first(convolution.integers(18) or convolution.integers(17)),
        stride=_first(convolution.integers(6)),
    )


def _first(values: list[int]) -> int:
    return values[0] if values else 1


def _blob(name: str, message: Message) -> NDArray[Any]:
    shape = (
        tuple(message.message(7).integers(1)) if 7 in message else tuple(message.integer(axis) for axis in (1, 2, 3, 4))
    )
    if 7 not in message and shape[:3] == (1, 1, 1):  # first-generation biases have four axes
        shape = shape[3:]
    with np.errstate(over="ignore"):  # overflow gives infinity, which importers refuse
        data = message.numbers(8, "<f8").astype(np.float32) if 8 in message else message.numbers(5, "<f4")
    if math.prod(shape) != len(data):
        raise FormatError(f"it is damaged: layer {name} has {len(data)} numbers for a shape of {list(shape)}")
    return data.reshape(shape)
