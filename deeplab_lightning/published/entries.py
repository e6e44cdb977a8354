"""The entries of `catalogue.yaml`: published checkpoints, their networks, their scores and how these were measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from deeplab_lightning.usage import UsageError, did_you_mean


@dataclass(frozen=True)
class PublishedScore:
    """A score that the authors of a checkpoint report, in percent, and how they measured it.

    Args:
        miou: Mean IoU.
        data: Data set.
        split: Split of the data set.
        size: How images are resized or padded; `pad_to_513` and `whole_image` are values of `data.evaluation_size`.
        labels: At which size labels are scored.
        output_stride: Output stride of the network.
        scales: Scales of the images, over which probabilities are averaged.
        flip: Whether every scale is also seen mirrored.
        crf: Name of the dense CRF's setting in `experiments/crf`; None without a CRF.
        pixel_accuracy: Share of pixels with the right class, if it is reported.
        uncertain: What no source says about the score.
    """

    miou: float
    data: str
    split: str
    size: str
    labels: str
    output_stride: int
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    crf: str | None = None
    pixel_accuracy: float | None = None
    uncertain: str | None = None

    @property
    def protocol(self) -> str:
        """How the score was measured, in words."""
        scales = ", ".join(f"{scale:g}" for scale in self.scales)
        words = [f"{self.data} {self.split}", f"output_stride {self.output_stride}", f"scales {scales}"]
        words += ["with flip" if self.flip else "no flip", f"CRF {self.crf}" if self.crf else "no CRF"]
        return ", ".join([*words, self.size, f"labels {self.labels}"])


@dataclass(frozen=True)
class Entry:
    """A published checkpoint.

    Args:
        name: Name, which begins with that of the source: "tensorflow/xception65_coco_voc_trainaug".
        trained_on: Data that the weights were trained on.
        licence: Licence, as far as one is stated.
        normalization: Normalisation of the images, a value of `data.normalization`.
        url: Address; None if the file is behind a login or on a drive.
        where: How to get a file that has no address.
        file: Path of the file below the source's folder in the cache; by default the last part of the address.
        member: Name of the checkpoint in an archive with several, or a pattern of it.
        sha256: SHA-256 of the file, or its first digits; None if none is published.
        network: Class and arguments of the segmentation network; None for a trunk.
        trunk: Backbone and its arguments, for weights without a segmentation network.
        classes: Kind of the classes, which gives them names.
        scores: Reported scores.
        uncertain: What no source says about the checkpoint.
        unsupported: Why the file cannot be read.
    """

    name: str
    trained_on: str
    licence: str
    normalization: str
    url: str | None = None
    where: str = ""
    file: str = ""
    member: str | None = None
    sha256: str | None = None
    network: Mapping[str, Any] | None = None
    trunk: Mapping[str, Any] | None = None
    classes: str | None = None
    scores: tuple[PublishedScore, ...] = field(default=())
    uncertain: str | None = None
    unsupported: str | None = None

    @property
    def source(self) -> str:
        """The name of the source."""
        return self.name.partition("/")[0]

    @property
    def kind(self) -> str:
        """The name of the network's class."""
        return "" if self.network is None else str(self.network["class"])

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the segmentation network, num_classes included; those of the backbone for a trunk."""
        given = self.trunk if self.network is None else self.network
        return {name: value for name, value in (given or {}).items() if name != "class"}


@cache
def entries() -> Mapping[str, Entry]:
    """All published checkpoints by name."""
    content = yaml.safe_load(files(__package__).joinpath("catalogue.yaml").read_text(encoding="utf-8"))
    return {entry.name: entry for entry in _read(content["sources"])}


def _read(sources: Mapping[str, Any]) -> Iterator[Entry]:
    shared_names = {each.name for each in fields(Entry)}
    for source, content in sources.items():
        shared = {name: value for name, value in content.items() if name in shared_names}
        for name, own in content["entries"].items():
            scores = tuple(_score(each) for each in own.get("scores", ()))
            given = shared | own | {"scores": scores}
            yield Entry(f"{source}/{name}", **{"file": str(own.get("url", "")).rpartition("/")[2]} | given)


def _score(values: Mapping[str, Any]) -> PublishedScore:
    return PublishedScore(**{**values, "scales": tuple(values.get("scales", (1.0,)))})


def entry(name: str) -> Entry:
    """The published checkpoint of a name.

    Raises:
        UsageError: There is none; the message names the nearest ones.
    """
    if name not in entries():
        near = did_you_mean(name, entries())
        raise UsageError(f"there are no published weights {name!r}{near or '; see `deeplab weights list`'}")
    return entries()[name]


def is_name(text: str) -> bool:
    """Whether a text is meant as a name of published weights: a source, a slash, and a word that is no file name."""
    source, _, rest = text.partition("/")
    is_path = not rest or "/" in rest or rest.endswith((".ckpt", ".safetensors"))
    return not is_path and source in {each.source for each in entries().values()}
