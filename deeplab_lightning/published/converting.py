"""Published weights as checkpoints of this package, which describe themselves and which every command takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deeplab_lightning.atomic import replacing
from deeplab_lightning.checkpoint_file import ORIGIN, TRUNK
from deeplab_lightning.datasets.transforms import NORMALIZATIONS
from deeplab_lightning.description import DESCRIPTION, ChannelOrder, ModelDescription, PixelNormalization
from deeplab_lightning.models.build import complete_arguments
from deeplab_lightning.palette import Palette
from deeplab_lightning.published.class_names import palette_of
from deeplab_lightning.published.entries import Entry, entries
from deeplab_lightning.published.importing import StartPoint
from deeplab_lightning.published.reading import read_weights

PREFIX = "network."
SIZES = {"pad_to_513": (513, 513), "pad_to_1025x2049": (1025, 2049)}
"""The sizes that images are padded to, by the protocols that pad them."""


@dataclass(frozen=True)
class Converted:
    """Weights in the form of a checkpoint.

    Args:
        checkpoint: Content of the checkpoint.
        source: Name of the source.
        used: Names of the source's tensors that the checkpoint holds.
        ignored: Names of those that only training or another task needs.
    """

    checkpoint: dict[str, Any]
    source: str
    used: tuple[str, ...]
    ignored: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write the checkpoint, completely or not at all."""
        with replacing(path) as draft:
            torch.save(self.checkpoint, draft)


def convert(path: Path, entry: Entry | None = None) -> Converted:
    """Convert a file, a folder or an archive of published weights.

    Args:
        path: The weights.
        entry: Entry of the catalogue that they are; if None, the source and the network follow from the names of the
            tensors, and normalisation and classes from the entries with the same network.

    Raises:
        ValueError: The weights are of no known source, damaged, or of another network than the entry's.
        OSError: The file cannot be opened.
    """
    source, read = read_weights(path, entry)
    if isinstance(read, StartPoint):
        return _trunk(source, read, entry)
    kind = type(read.network).__name__
    arguments = complete_arguments(kind, read.arguments)
    if entry is not None:
        _check(path, entry, kind, arguments)
    same = [entry] if entry else _entries_of(source, kind, arguments)
    description = describe(source, kind, arguments, same)
    hyper_parameters = arguments | {
        "class_names": list(description.class_names),
        "normalization": _normalization_name(source),
    }
    checkpoint = {
        "module": f"{kind}Module",
        "hyper_parameters": hyper_parameters,
        "state_dict": {f"{PREFIX}{name}": tensor for name, tensor in read.network.state_dict().items()},
        DESCRIPTION: description.as_dict(),
        **_frame(entry.name if entry else f"of {path.name}, converted from {source}"),
    }
    return Converted(checkpoint, source, read.used, read.ignored)


def _frame(origin: str) -> dict[str, Any]:
    """Return what every checkpoint has besides weights; those of `fit` have it from Lightning."""
    return {ORIGIN: origin, "epoch": 0, "global_step": 0, "pytorch-lightning_version": version("lightning")}


def _trunk(source: str, start: StartPoint, entry: Entry | None) -> Converted:
    """Return a checkpoint of a backbone, and of the layers behind it that come from ImageNet too."""
    tensors: dict[str, Tensor] = {f"{PREFIX}{name}": tensor for name, (_, tensor) in start.tensors.items()}
    stride_unit = "first_1x1" if source == "caffe" else "first"  # unless the source says "last"
    settings = {"stride_unit": stride_unit, **start.settings, "normalization": _normalization_name(source)}
    origin = entry.name if entry else f"of a backbone of {source}"
    checkpoint = {TRUNK: True, "hyper_parameters": settings, "state_dict": tensors, **_frame(origin)}
    return Converted(checkpoint, source, tuple(name for name, _ in start.tensors.values()), start.dropped)


def _check(path: Path, entry: Entry, kind: str, arguments: Mapping[str, Any]) -> None:
    expected = complete_arguments(entry.kind, entry.arguments)
    differing = [f"{name} {arguments.get(name)} there, {value} in the catalogue" for name, value in expected.items()
                 if plain(arguments.get(name)) != plain(value)]  # fmt: skip
    if kind != entry.kind or differing:
        raise ValueError(
            f"{path}: it is a {kind} that differs from the {entry.kind} of {entry.name}: {'; '.join(differing)}"
        )


def plain(value: Any) -> Any:
    """Return a setting with lists in place of tuples, as YAML has it."""
    return list(value) if isinstance(value, tuple) else value


def _entries_of(source: str, kind: str, arguments: Mapping[str, Any]) -> list[Entry]:
    """Return the entries of a source with the same network."""
    same = []
    for each in entries().values():
        if each.source == source and each.kind == kind:
            theirs = complete_arguments(kind, each.arguments)
            if all(plain(arguments[name]) == plain(value) for name, value in theirs.items()):
                same.append(each)
    return same


def describe(source: str, kind: str, arguments: dict[str, Any], same: list[Entry]) -> ModelDescription:
    """Describe the network of a source.

    Args:
        source: Name of the source.
        kind: Name of the network's class.
        arguments: All arguments of the network.
        same: Entries of the catalogue that the weights may be.
    """
    classes = {each.classes for each in same}
    palette = palette_of(classes.pop() if len(classes) == 1 else None, arguments["num_classes"])
    mean, std, reversed_channels = NORMALIZATIONS[_normalization_name(source)]
    order: ChannelOrder = "reversed" if reversed_channels else "stored"
    sizes = {SIZES.get(score.size) for each in same for score in each.scores}
    return ModelDescription(
        network=kind,
        arguments={name: plain(value) for name, value in arguments.items()} | {"pretrained": False},
        palette=palette or Palette.generated([str(index) for index in range(arguments["num_classes"])]),
        normalization=PixelNormalization(mean, std, channel_order=order),
        pad_to=sizes.pop() if len(sizes) == 1 else None,
        assumed=_assumed(same, has_names=palette is not None),
    )


def _assumed(same: list[Entry], has_names: bool) -> tuple[str, ...]:
    sentences = [] if has_names else ["The names of the classes are not in the file."]
    if len(same) == 1 and same[0].uncertain:
        sentences.append(f"Not certain: {same[0].uncertain}.")
    return tuple(sentences)


def _normalization_name(source: str) -> Any:
    return next((each.normalization for each in entries().values() if each.source == source), "imagenet")
