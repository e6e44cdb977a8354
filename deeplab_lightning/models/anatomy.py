"""What a network costs and sees, counted without running it: multiply-adds, receptive field, sizes.

The network runs on meta tensors, and every operation is looked at as torch dispatches it; so the counts hold for any
network, those of smp and timm included.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from deeplab_lightning.models.layers import SegmentationNetwork

aten = torch.ops.aten


@dataclass(frozen=True)
class Layer:
    """One convolution as it ran.

    Args:
        name: of the module.
        shape: of the output, (C, h, w).
        kernel_size: (height, width).
        rate: atrous rate.
        parameters: weights and biases.
        multiply_adds: output positions times weights that each uses.
        multiply_adds_padded: the same with the positions that TensorFlow's space_to_batch pads an atrous convolution
            to, multiples of the rate; the v3 and v3+ papers count so.
    """

    name: str
    shape: tuple[int, int, int]
    kernel_size: tuple[int, int]
    rate: int
    parameters: int
    multiply_adds: int
    multiply_adds_padded: int


@dataclass(frozen=True)
class Anatomy:
    """What `dissect` found.

    Args:
        parameters: total, buffers not counted.
        parameters_by_part: of each named part.
        multiply_adds: of one image up to the logits on the features' grid; of v1's MSc that is the training net, whose
            branches stride.
        multiply_adds_published_convention: as the v3 and v3+ papers count, see `Layer`.
        receptive_field: side in pixels of what a logit depends on by convolution and pooling; None where image-level
            features make it the whole image.
        feature_size: (h, w) of the backbone's last features, at the image's own scale.
        layers: every convolution in the order of use.
    """

    parameters: int
    parameters_by_part: dict[str, int]
    multiply_adds: int
    multiply_adds_published_convention: int
    receptive_field: int | None
    feature_size: tuple[int, int]
    layers: list[Layer] = field(repr=False)


def dissect(network: SegmentationNetwork, height: int, width: int) -> Anatomy:
    """Look at a network on the meta device at one image of (3, height, width).

    Raises:
        ValueError: the network is not on the meta device.
    """
    if any(not parameter.is_meta for parameter in network.parameters()):
        raise ValueError("build the network under torch.device('meta') to dissect it")
    network.eval()
    recorder = Recorder()
    feature_sizes = []  # one for every input scale

    def look(_: nn.Module, __: Any, out: tuple[Any, Tensor]) -> None:
        feature_sizes.append((out[1].shape[2], out[1].shape[3]))

    handle = network.backbone.register_forward_hook(look)  # type: ignore[union-attr]
    images = torch.zeros(1, 3, height, width, device="meta")
    with torch.no_grad(), named(network, recorder), recorder:
        recorder.sees[images] = Sight(1.0, 1.0)
        logits = network.forward_features(images)
    handle.remove()
    receptive_field = recorder.sees[logits].field
    parts = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in network.named_children()}
    return Anatomy(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        parameters_by_part={name: count for name, count in parts.items() if count},
        multiply_adds=sum(layer.multiply_adds for layer in recorder.layers),
        multiply_adds_published_convention=sum(layer.multiply_adds_padded for layer in recorder.layers),
        receptive_field=None if math.isinf(receptive_field) else round(receptive_field),
        feature_size=feature_sizes[0],
        layers=recorder.layers,
    )


@dataclass(frozen=True)
class Sight:
    """What a position of a map sees: the side of its receptive field, and the pixels between two positions."""

    field: float
    step: float


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own hook is untyped
    """Keeps every convolution, and what each tensor sees of the image."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: list[Layer] = []
        self.sees: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.module = ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and note what came of it."""
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, tuple | list) else out
        seen = [self.sees[value] for value in _tensors(args) if value in self.sees]
        if not seen or not isinstance(first, Tensor):
            return out
        sight = Sight(max(each.field for each in seen), max(each.step for each in seen))
        name = func.overloadpacket
        if name is aten.convolution:
            self._count(args, first)
            sight = _slide(sight, args[1].shape[2:], args[3], args[5])
        elif name in (aten.max_pool2d_with_indices, aten.avg_pool2d):
            sight = _slide(sight, args[1], args[2] or args[1], (1,))
        elif name in (aten.mean, aten._adaptive_avg_pool2d, aten.adaptive_avg_pool2d):
            sight = Sight(math.inf, sight.step)
        elif name is aten.upsample_bilinear2d:  # an output depends on two neighbours
            ratio = max(args[0].shape[2] / first.shape[2], args[0].shape[3] / first.shape[3])
            sight = Sight(sight.field + sight.step, sight.step * ratio)
        elif name is aten.cat:
            sight = Sight(sight.field, min(each.step for each in seen))
        self.sees[first] = sight
        return out

    def _count(self, args: tuple[Any, ...], out: Tensor) -> None:
        weight, bias, rate = args[1], args[2], args[5]
        height, width = out.shape[2:]
        padded = math.prod(math.ceil(side / each) * each for side, each in zip((height, width), rate, strict=True))
        self.layers.append(
            Layer(
                self.module,
                (out.shape[1], height, width),
                (weight.shape[2], weight.shape[3]),
                rate[0],
                weight.numel() + (0 if bias is None else bias.numel()),
                weight.numel() * height * width,
                weight.numel() * padded,
            )
        )


@contextmanager
def named(network: nn.Module, recorder: Recorder) -> Iterator[None]:
    """While it lasts, the recorder knows which convolution runs."""

    def announce(name: str) -> Any:
        def hook(*_: Any) -> None:
            recorder.module = name

        return hook

    handles = [
        layer.register_forward_pre_hook(announce(name))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(args: tuple[Any, ...]) -> Iterator[Tensor]:
    for arg in args:
        if isinstance(arg, Tensor):
            yield arg
        elif isinstance(arg, list | tuple):
            yield from _tensors(tuple(arg))


def _slide(sight: Sight, kernel_size: Any, stride: Any, dilation: Any) -> Sight:
    return Sight(sight.field + (kernel_size[0] - 1) * dilation[0] * sight.step, sight.step * stride[0])
