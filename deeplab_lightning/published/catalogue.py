"""Published weights by name: downloaded, converted, and kept in a folder that users and processes may share."""

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.published import cache
from deeplab_lightning.published.entries import Entry, entry, is_name
from deeplab_lightning.usage import UsageError

if TYPE_CHECKING:
    from deeplab_lightning.description import ModelDescription
    from deeplab_lightning.models.layers import SegmentationNetwork

REVISION = 1
"""The number of the conversion, which is raised when converted files of before are wrong."""


def fetch(name: str) -> Path:
    """Download the file of published weights unless it is there.

    Raises:
        UsageError: There is no such name.
        DataError: The file cannot be downloaded.
    """
    return cache.fetch(entry(name))


def converted_place(own: Entry) -> Path:
    """The path of the checkpoint that an entry is converted into; it changes if the entry does."""
    digest = sha256(json.dumps([REVISION, asdict(own)], sort_keys=True).encode()).hexdigest()[:8]
    return cache.folder() / f"{own.name}.{digest}.ckpt"


def is_cached(name: str) -> bool:
    """Whether published weights are in the folder, as their own file or converted, so that nothing is downloaded.

    Raises:
        UsageError: There is no such name.
    """
    own = entry(name)
    return converted_place(own).is_file() or cache.place(own).is_file()


def checkpoint(name: str, substitute: str = "") -> Path:
    """The path of published weights as a checkpoint of this package; they are downloaded and converted when needed.

    Args:
        name: Name of the weights.
        substitute: What could be used instead, which ends the message if the file cannot be downloaded.

    Raises:
        UsageError: There is no such name, or its file cannot be read here.
        DataError: The file cannot be downloaded; the message says where to put it.
        ValueError: The file is damaged, or holds another network than the catalogue says.
    """
    own = entry(name)
    if own.unsupported:
        raise UsageError(f"{name} cannot be read: {own.unsupported}")
    path = converted_place(own)
    if path.is_file():
        return path
    try:
        source = cache.fetch(own)
    except DataError as error:
        raise DataError(f"{error}; {substitute}" if substitute else str(error)) from error
    from deeplab_lightning.published.converting import convert  # here because it imports torch

    with cache.locked(path):
        if not path.is_file():  # another process may have made it while this one waited
            convert(source, own).write(path)
    return path


def resolve(text: str) -> str:
    """The path of a checkpoint: the given one, or that of published weights if the text is a name and no file."""
    return text if Path(text).exists() or not is_name(text) else str(checkpoint(text))


def load(name: str) -> "tuple[SegmentationNetwork, ModelDescription]":
    """The network with published weights, in evaluation mode, and its description.

    Raises:
        UsageError: There is no such name, its file cannot be read here, or it is a backbone alone.
        DataError: The file cannot be downloaded.
        ValueError: The file is damaged, or holds another network than the catalogue says.
    """
    from deeplab_lightning.checkpoint_file import read_checkpoint
    from deeplab_lightning.description import DESCRIPTION, ModelDescription
    from deeplab_lightning.models.build import restore_network

    if entry(name).trunk is not None:
        raise UsageError(f"{name} is a backbone alone, for model.pretrained; it segments nothing")
    content = read_checkpoint(checkpoint(name))
    description = ModelDescription.of_dict(content[DESCRIPTION])
    tensors = {key.removeprefix("network."): value for key, value in content["state_dict"].items()}
    return restore_network(description.network, description.arguments, tensors), description
