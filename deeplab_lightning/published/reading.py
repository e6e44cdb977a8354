"""Files of published weights as networks of this package: archives are unpacked, and the source is recognised."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deeplab_lightning.datasets.archives import unpack
from deeplab_lightning.published.caffe import from_caffe, start_from_caffe
from deeplab_lightning.published.entries import Entry
from deeplab_lightning.published.formats.caffe import read_caffemodel
from deeplab_lightning.published.formats.files import FormatError
from deeplab_lightning.published.formats.tensorflow import read_checkpoint, read_graph
from deeplab_lightning.published.hub_folder import read_config, read_safetensors
from deeplab_lightning.published.importing import Imported, StartPoint
from deeplab_lightning.published.jfzhang95 import from_jfzhang95
from deeplab_lightning.published.kazuto1011 import from_kazuto1011
from deeplab_lightning.published.mmsegmentation import from_mmsegmentation
from deeplab_lightning.published.smp import from_smp_config
from deeplab_lightning.published.state_dicts import StateDict, find_state_dict, resnet_depth
from deeplab_lightning.published.tensorflow import from_tensorflow, start_from_tensorflow
from deeplab_lightning.published.torchvision import Name, from_torchvision
from deeplab_lightning.published.transformers import from_transformers
from deeplab_lightning.published.vainf import from_vainf

MM = "mmsegmentation"
LARGEST = 4_000_000_000
"""Bytes that an archive of weights may unpack to; the largest published one holds about 1.3e9."""
ARCHIVES = (".tar", ".gz", ".tgz", ".zip")
CHECKPOINTS = ("*.index", "*.caffemodel", "*.pb", "*.safetensors", "*.pth", "*.bin", "*.pt")
"""Patterns of the checkpoint in an archive or a folder, the best one first."""
SIGNS: Mapping[str, tuple[str, ...]] = {
    "torchvision": ("classifier.0.convs.0.0.weight",),
    "vainf": ("classifier.aspp.convs.0.0.weight", "classifier.classifier.0.convs.0.0.weight"),
    "jfzhang95": ("aspp.aspp1.atrous_conv.weight",),
    "kazuto1011": ("aspp.c0.weight", "base.aspp.c0.weight"),
    MM: ("decode_head.conv_seg.weight",),
    "transformers": ("segmentation_head.classifier.convolution.weight", "mobilevit.conv_stem.convolution.weight"),
    "smp": ("segmentation_head.0.weight",),
}
"""A tensor that the files of a PyTorch project have and those of the others do not."""


def torchvision_name(tensors: StateDict) -> Name:
    """The name of a model of torchvision that has these tensors."""
    if "backbone.layer1.0.conv1.weight" not in tensors:
        return "deeplabv3_mobilenet_v3_large"
    return "deeplabv3_resnet101" if resnet_depth(tensors) == 101 else "deeplabv3_resnet50"


Importer = Callable[[StateDict, Mapping[str, Any]], Imported[Any]]
"""A function from a state dictionary, and what the catalogue, the file's name and a config.json beside it say."""
IMPORTERS: Mapping[str, Importer] = {
    "torchvision": lambda tensors, _: from_torchvision(torchvision_name(tensors), tensors),
    "vainf": lambda tensors, given: from_vainf(tensors, given.get("output_stride", 16)),
    "jfzhang95": lambda tensors, given: from_jfzhang95(tensors, given.get("output_stride", 16)),
    "kazuto1011": lambda tensors, _: from_kazuto1011(
        "deeplabv2_resnet101_msc" if "base.aspp.c0.weight" in tensors else "deeplabv2_resnet101", tensors
    ),
    MM: lambda tensors, given: from_mmsegmentation(
        tensors, given.get("output_stride", 8), given.get("align_corners", False)
    ),
    "transformers": lambda tensors, given: from_transformers(given, tensors),
    "smp": lambda tensors, given: from_smp_config(given, tensors),
}


def read_weights(path: Path, entry: Entry | None = None) -> tuple[str, Imported[Any] | StartPoint]:
    """Read published weights from a file, a folder or an archive.

    Args:
        path: File of weights; folder or archive with one.
        entry: Entry of the catalogue that it is; None to recognise the source by the names of the tensors.

    Returns:
        The name of the source, and the network or the start point with the weights.

    Raises:
        ValueError: The source is not known, or the weights do not fit the network; the message names the file.
        OSError: The file cannot be opened.
    """
    with opened(path, None if entry is None else entry.member) as file:
        try:
            return _read(file, entry)
        except (FormatError, OSError):
            raise
        except ValueError as error:
            raise ValueError(f"{error}" if str(path) in str(error) else f"{path}: {error}") from error


def _read(file: Path, entry: Entry | None) -> tuple[str, Imported[Any] | StartPoint]:
    is_trunk = entry is not None and entry.trunk is not None
    if file.suffix == ".pb" or _is_bundle(file):
        variables = read_graph(file).constants if file.suffix == ".pb" else read_checkpoint(file)
        if is_trunk:
            return "tensorflow", start_from_tensorflow(variables)
        return "tensorflow", from_tensorflow(variables, None if entry is None else entry.arguments["output_stride"])
    if not zipfile.is_zipfile(file) and file.suffix == ".caffemodel":
        layers = read_caffemodel(file)
        return "caffe", start_from_caffe(layers) if is_trunk else from_caffe(layers)
    state_dict = read_safetensors(file) if file.suffix == ".safetensors" else find_state_dict(file)
    source = next((source for source, signs in SIGNS.items() if any(sign in state_dict for sign in signs)), None)
    if source is None:
        raise ValueError(
            f"its tensors are not those of a known source ({', '.join(['tensorflow', 'caffe', *SIGNS])}); "
            f"the first is {next(iter(state_dict))}"
        )
    return source, IMPORTERS[source](state_dict, _said(file, source, entry))


def _said(file: Path, source: str, entry: Entry | None) -> Mapping[str, Any]:
    """Return what is known about a file besides its tensors: by the catalogue, a config.json beside it, or its name."""
    if source in ("transformers", "smp"):
        config = file.with_name("config.json")
        if config.is_file():
            return read_config(config)
        if entry is None or source == "smp":
            raise ValueError(f"it needs its config.json beside it, at {config}")
        return {"model_type": "mobilenet_v2", "output_stride": entry.arguments["output_stride"]}
    if entry is not None:
        return entry.arguments
    is_16 = "-d16-" in file.name
    return {"output_stride": 16 if is_16 else 8, "align_corners": "769x769" in file.name} if source == MM else {}


def _is_bundle(file: Path) -> bool:
    return file.suffix == ".index" or file.with_name(f"{file.name}.index").is_file() or ".data-" in file.name


@contextmanager
def opened(path: Path, member: str | None = None) -> Iterator[Path]:
    """Yield the path of the checkpoint at a path: the file itself, or one in a folder or an archive.

    Args:
        path: File, folder, or archive. An archive is unpacked into a temporary folder.
        member: Name of the checkpoint in it, or a pattern; by default the only one of the best kind.

    Raises:
        ValueError: There is no checkpoint in it, or more than one.
        DataError: The archive is damaged or unsafe.
        OSError: The path does not exist.
    """
    if path.is_dir():
        yield _only(path, path, member)
    elif path.name.endswith(ARCHIVES) and not _is_torch_file(path):
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            unpack(path, [("", "content")], Path(folder), LARGEST)
            yield _only(path, Path(folder), member)
    else:
        yield path


def _is_torch_file(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def _only(path: Path, folder: Path, member: str | None) -> Path:
    for pattern in CHECKPOINTS if member is None else (member,):
        found = sorted(folder.rglob(pattern))
        if len(found) > 1:
            names = ", ".join(each.name for each in found)
            raise ValueError(f"{path}: it holds {len(found)} checkpoints ({names}); give the path of one")
        if found:
            return found[0]
    raise ValueError(f"{path}: it holds no {member or 'checkpoint of a known source'}")
