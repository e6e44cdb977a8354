"""Models in folders, as the Hugging Face hub keeps them: config.json and model.safetensors, without pickles.

A folder of this package holds a description and its weights. Folders of other projects are read too, if their weights
can be imported.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.checkpoint_file import check_finite
from deeplab_lightning.description import ModelDescription
from deeplab_lightning.published.converting import convert
from deeplab_lightning.published.hub_folder import CONFIG, WEIGHTS, read_config, read_safetensors
from deeplab_lightning.run_folder import RunFolder
from deeplab_lightning.segmentation.model_file import Model, assemble, describe

LIBRARY, LIBRARY_NAME = "library_name", "deeplab_lightning"
"""The entry of config.json by which a folder of this package is recognised, and its value."""
FORMAT_VERSION = 1
"""The version of the folder's format, which is raised when older versions of this package cannot read it."""
CHECKSUM = "weights_sha256"
"""The entry of config.json with the SHA-256 of the file of weights."""


def read_folder(folder: Path, output_stride: int | None = None) -> Model:
    """Read a model from a folder of this package, or of another project whose weights can be imported.

    Args:
        folder: The folder, with config.json and model.safetensors.
        output_stride: Output stride in place of that of the training.

    Raises:
        FileNotFoundError: A file is missing.
        OSError: A file cannot be opened.
        ValueError: A file is damaged, the weights are of another model than config.json describes, or the source of the
            weights is not known; or the network has no such output stride.
    """
    config, weights = folder / CONFIG, folder / WEIGHTS
    for path in (config, weights):
        if not path.is_file():
            raise FileNotFoundError(_missing(folder, path.name))
    if not is_own(options := read_config(config)):
        converted = convert(weights).checkpoint
        return _assembled(weights, describe(converted), converted["state_dict"], output_stride)
    if options.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{config}: its format_version is {options.get('format_version')!r}, but this version of "
            f"{LIBRARY_NAME} reads {FORMAT_VERSION}"
        )
    try:
        description = ModelDescription.of_dict(options.get("description"))
    except ValueError as error:
        raise ValueError(f"{config}: {error}") from error
    if _sha256(weights) != options.get(CHECKSUM):
        raise ValueError(f"{weights}: its SHA-256 is not the {CHECKSUM} of {CONFIG}: it is damaged or of another model")
    # Copies lie in memory as the tensors of a checkpoint do, on which the order of additions may depend
    tensors = {name: each.clone() for name, each in read_safetensors(weights).items()}
    return _assembled(weights, description, tensors, output_stride)


def write_folder(model: Model, folder: Path) -> None:
    """Write a model as a folder of this package; config.json is the last file, without which the folder is no model.

    Args:
        model: The model.
        folder: The folder. Missing parent folders are created.

    Raises:
        OSError: A file cannot be written.
        ValueError: The network is an ONNX graph, or the description holds a value that JSON does not have.
    """
    tensors = {name: each.clone(memory_format=torch.contiguous_format) for name, each in model.tensors().items()}
    if not tensors:
        raise ValueError(f"{folder}: a graph has no weights to write; give the checkpoint that it was exported from")
    write_atomically(folder / WEIGHTS, save(tensors, {"format": "pt"}))
    options = {
        LIBRARY: LIBRARY_NAME,
        "format_version": FORMAT_VERSION,
        CHECKSUM: _sha256(folder / WEIGHTS),
        "description": model.description.as_dict(),
    }
    try:
        text = json.dumps(options, indent=1, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: the description cannot be written as JSON ({error})") from error
    write_atomically(folder / CONFIG, f"{text}\n")


def is_own(options: Mapping[str, Any]) -> bool:
    """Whether the options of a config.json are those of a folder of this package."""
    return options.get(LIBRARY) == LIBRARY_NAME


def _assembled(
    path: Path, description: ModelDescription, tensors: Mapping[str, Tensor], output_stride: int | None
) -> Model:
    check_finite(path, tensors)
    try:
        return assemble(description, tensors, output_stride)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _missing(folder: Path, name: str) -> str:
    run = RunFolder(folder)
    if run.best.is_file():
        return f"{folder}: it is the folder of a training; give its checkpoint {run.best}"
    return f"{folder}: it has no {name}; a model's folder has {CONFIG} and {WEIGHTS}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
