"""The profile of a network, computed without data: parameters, multiply-adds, receptive field, sizes.

The network runs on meta tensors, and every operation is recorded when torch dispatches it. The counts therefore hold
for any network, including those of smp and timm.
"""

import math
from collections.abc import Iterator, Sequence
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
        name: Name of the module.
        shape: Shape of the output, (C, h, w).
        kernel_size: Sides of the kernel, (height, width).
        rate: Atrous rate.
        parameters: Number of weights and biases.
        multiply_adds: Number of output positions times number of weights used at each.
        multiply_adds_padded: Number of multiply-adds with the output sides rounded up to multiples of the rate, to
            which TensorFlow's space_to_batch pads an atrous convolution; the v3 and v3+ papers count this way.
    """

    name: str
    shape: tuple[int, int, int]
    kernel_size: tuple[int, int]
    rate: int
    parameters: int
    multiply_adds: int
    multiply_adds_padded: int


@dataclass(frozen=True)
class Profile:
    """The costs and sizes of a network at one image size.

    Args:
        parameters: Total number of parameters; buffers do not count.
        parameters_by_part: Number of parameters of each named part.
        multiply_adds: Number of multiply-adds for one image, up to the logits on the features' grid. For v1's MSc this
            is the training net, whose branches stride.
        multiply_adds_published_convention: Number of multiply-adds as the v3 and v3+ papers count them; see `Layer`.
        receptive_field: Side in pixels of the region on which a logit depends by convolution and pooling; None if
            image-level features make it the whole image.
        feature_size: Size (h, w) of the backbone's last features, at the image's own scale.
        layers: All convolutions in their order of use.
    """

    parameters: int
    parameters_by_part: dict[str, int]
    multiply_adds: int
    multiply_adds_published_convention: int
    receptive_field: int | None
    feature_size: tuple[int, int]
    layers: list[Layer] = field(repr=False)


def profile(network: SegmentationNetwork, height: int, width: int) -> Profile:
    """Profile a network on the meta device for one image (C, height, width).

    Raises:
        ValueError: The network is not on the meta device.
    """
    if any(not parameter.is_meta for parameter in network.parameters()):
        raise ValueError("build the network under torch.device('meta') to profile it")
    network.eval()
    recorder = Recorder()
    feature_sizes = []  # one per input scale

    def record_size(_: nn.Module, __: Any, out: tuple[Any, Tensor]) -> None:
        feature_sizes.append((out[1].shape[2], out[1].shape[3]))

    handle = network.backbone.register_forward_hook(record_size)  # type: ignore[union-attr]
    images = torch.zeros(1, network.in_channels, height, width, device="meta")
    with torch.no_grad(), record_names(network, recorder), recorder:
        recorder.receptive_fields[images] = ReceptiveField(size=1.0, stride=1.0)
        logits = network.forward_features(images)
    handle.remove()
    receptive_field = recorder.receptive_fields[logits].size
    parts = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in network.named_children()}
    return Profile(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        parameters_by_part={name: count for name, count in parts.items() if count},
        multiply_adds=sum(layer.multiply_adds for layer in recorder.layers),
        multiply_adds_published_convention=sum(layer.multiply_adds_padded for layer in recorder.layers),
        receptive_field=None if math.isinf(receptive_field) else round(receptive_field),
        feature_size=feature_sizes[0],
        layers=recorder.layers,
    )


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a position of a feature map.

    Args:
        size: Side of the receptive field in pixels.
        stride: Pixels between the receptive fields of two neighbouring positions.
    """

    size: float
    stride: float

    def through(self, kernel_size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> "ReceptiveField":
        """Return the receptive field of an output of a convolution or pooling over this map."""
        size = self.size + (kernel_size[0] - 1) * dilation[0] * self.stride
        return ReceptiveField(size, self.stride * stride[0])


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own hook is untyped
    """Records every convolution, and the receptive field of each tensor that depends on the image."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: list[Layer] = []
        self.receptive_fields: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.module = ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation; record the receptive field of its output, and the operation if it is a convolution."""
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, tuple | list) else out
        fields = [self.receptive_fields[value] for value in _tensors(args) if value in self.receptive_fields]
        if fields and isinstance(first, Tensor):
            if func.overloadpacket is aten.convolution:
                self._record_convolution(args, first)
            self.receptive_fields[first] = _output_field(func.overloadpacket, args, first, fields)
        return out

    def _record_convolution(self, args: tuple[Any, ...], out: Tensor) -> None:
        weight, bias, rate = args[1], args[2], args[5]
        height, width = out.shape[2:]
        padded = math.prod(math.ceil(side / each) * each for side, each in zip((height, width), rate, strict=True))
        layer = Layer(
            name=self.module,
            shape=(out.shape[1], height, width),
            kernel_size=(weight.shape[2], weight.shape[3]),
            rate=rate[0],
            parameters=weight.numel() + (0 if bias is None else bias.numel()),
            multiply_adds=weight.numel() * height * width,
            multiply_adds_padded=weight.numel() * padded,
        )
        self.layers.append(layer)


@contextmanager
def record_names(network: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Within the context, tell a recorder the name of each convolution of a network before it runs."""

    def name_before(name: str) -> Any:
        def hook(*_: Any) -> None:
            recorder.module = name

        return hook

    handles = [
        layer.register_forward_pre_hook(name_before(name))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _output_field(operation: Any, args: tuple[Any, ...], out: Tensor, inputs: list[ReceptiveField]) -> ReceptiveField:
    """Return the receptive field of an operation's output from those of its inputs and from its aten arguments."""
    size, stride = max(each.size for each in inputs), max(each.stride for each in inputs)
    joined = ReceptiveField(size, stride)
    if operation is aten.convolution:
        return joined.through(kernel_size=args[1].shape[2:], stride=args[3], dilation=args[5])
    if operation in (aten.max_pool2d_with_indices, aten.avg_pool2d):
        return joined.through(kernel_size=args[1], stride=args[2] or args[1], dilation=(1,))
    if operation in (aten.mean, aten._adaptive_avg_pool2d, aten.adaptive_avg_pool2d):
        return ReceptiveField(math.inf, stride)
    if operation is aten.upsample_bilinear2d:  # an output depends on two neighbours
        ratio = max(args[0].shape[2] / out.shape[2], args[0].shape[3] / out.shape[3])
        return ReceptiveField(size + stride, stride * ratio)
    if operation is aten.cat:
        return ReceptiveField(size, min(each.stride for each in inputs))
    return joined


def _tensors(args: tuple[Any, ...]) -> Iterator[Tensor]:
    for arg in args:
        if isinstance(arg, Tensor):
            yield arg
        elif isinstance(arg, list | tuple):
            yield from _tensors(tuple(arg))
