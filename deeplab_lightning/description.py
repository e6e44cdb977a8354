"""The description of a model: everything besides its weights that is needed to segment an image with it.

A checkpoint holds it under the name `DESCRIPTION` as plain values, so that it is read without executing code. This file
does not import torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from deeplab_lightning.identity import describe_identity
from deeplab_lightning.palette import Color, Palette
from deeplab_lightning.scores import Score

DESCRIPTION = "description"
"""The name of the description in a checkpoint."""
ChannelOrder = Literal["stored", "reversed"]
"""Order in which the network takes the channels: that of the image (RGB), or the reverse of it (BGR)."""


@dataclass(frozen=True)
class PixelNormalization:
    """The way from stored values to the network's input: (value - low) / (high - low), minus `mean`, over `std`.

    Args:
        mean: Mean of each channel, in the image's order, on the scale 0..1.
        std: Standard deviation of each channel, in the image's order, on the scale 0..1.
        value_range: Stored values that become 0 and 1: (0, 255) for 8-bit images.
        channel_order: Order in which the network takes the channels: "stored" for RGB, "reversed" for BGR.

    Raises:
        ValueError: The channels do not fit together, or a value cannot work.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float] = (0.0, 255.0)
    channel_order: ChannelOrder = "stored"

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std) or not all(0 < each < float("inf") for each in self.std):
            raise ValueError(
                f"mean and std need one number for each channel, and std above 0, got {self.mean} and {self.std}"
            )
        if not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range must ascend, got {self.value_range}")
        if self.channel_order not in get_args(ChannelOrder):
            raise ValueError(f"channel_order must be one of {get_args(ChannelOrder)}, got {self.channel_order!r}")

    @property
    def num_channels(self) -> int:
        """The number of channels of an image."""
        return len(self.mean)


@dataclass(frozen=True)
class ModelDescription:
    """A network with all its arguments, the meaning of its classes, and what happens to an image before it.

    Args:
        network: Name of the network's class in `models/`.
        arguments: All arguments of the network, defaults included, by name; `pretrained` is false.
        palette: Names of the classes, background included, and their colours.
        normalization: Normalisation of the pixels.
        pad_to: Size (H, W) to which images are padded at the right and the bottom, with 0 after normalisation; None
            if the network takes whole images at their own size.
        crf_layers: Normalisation of the CRF that was trained as layers after the network; None without one.
        crf: Setting of the dense CRF that `deeplab crf-search` found, by the names of `DenseCRF`; None if there is
            none.
        score: Score of these weights, by which `fit` chose them, with the way it was measured; None if not measured.
        assumed: Sentences about what was assumed because the source does not say it.

    Raises:
        ValueError: The network has another number of classes.
    """

    network: str
    arguments: dict[str, Any]
    palette: Palette
    normalization: PixelNormalization
    pad_to: tuple[int, int] | None = None
    crf_layers: str | None = None
    crf: dict[str, Any] | None = None
    score: Score | None = None
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.arguments.get("num_classes") != len(self.class_names):
            raise ValueError(
                f"num_classes {self.arguments.get('num_classes')} does not fit {len(self.class_names)} class names"
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, background included."""
        return self.palette.class_names

    def as_dict(self) -> dict[str, Any]:
        """Return the description as plain values, ready for JSON."""
        plain = asdict(self) | {"palette": self.palette.as_dict(), "score": self.score and self.score.as_record()}
        return {name: _plain(value) for name, value in plain.items()}

    @classmethod
    def of_dict(cls, values: Any) -> Self:
        """Return the description in plain values.

        Raises:
            ValueError: The values are not a description.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or not {"network", "arguments"} <= set(values) <= known:
            raise ValueError(f"a description has the entries {', '.join(sorted(known))}")
        parsed = dict(values)
        for name, parse in PARSERS.items():
            if name in parsed and not (parsed[name] is None and name in OPTIONAL):
                try:
                    parsed[name] = parse(parsed[name])
                except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
                    raise ValueError(f"its {name} cannot be used: {error}") from error
        try:
            return cls(**parsed)
        except TypeError as error:
            raise ValueError(f"it is incomplete: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{value!r} is not a list")
    return value


def _settings(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} has no names")
    return {_text(name): each for name, each in value.items()}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(each) for each in _list(value))


def _numbers(value: Any) -> tuple[float, ...]:
    for each in _list(value):
        if isinstance(each, bool) or not isinstance(each, int | float):
            raise TypeError(f"{each!r} is not a number")
    return tuple(value)


def _color(value: Any) -> Color:
    red, green, blue = _numbers(value)
    if any(not 0 <= each <= 255 or each != int(each) for each in (red, green, blue)):
        raise ValueError(f"{value} is not a colour of three numbers in 0..255")
    return int(red), int(green), int(blue)


def _palette(value: Any) -> Palette:
    values = _settings(value)
    colors = tuple(_color(each) for each in _list(values["colors"]))
    return Palette(_texts(values["class_names"]), colors, _color(values["void"]))


def _size(value: Any) -> tuple[int, int]:
    height, width = _numbers(value)
    if height != int(height) or width != int(width) or min(height, width) < 1:
        raise ValueError(f"{value} is not a size (H, W)")
    return int(height), int(width)


def _normalization(value: Any) -> PixelNormalization:
    values = _settings(value)
    low, high = _numbers(values["value_range"])
    return PixelNormalization(_numbers(values["mean"]), _numbers(values["std"]), (low, high), values["channel_order"])


def _score(value: Any) -> Score:
    score = Score.of_record(value)
    describe_identity(score.identity)  # raises an error if the identity is incomplete
    return score


PARSERS: dict[str, Callable[[Any], Any]] = {
    "network": _text,
    "arguments": _settings,
    "palette": _palette,
    "normalization": _normalization,
    "pad_to": _size,
    "crf_layers": _text,
    "crf": _settings,
    "score": _score,
    "assumed": _texts,
}
"""The function that checks each entry of a description and gives it its type."""
OPTIONAL = ("pad_to", "crf_layers", "crf", "score")
"""The entries that may be missing or null."""
