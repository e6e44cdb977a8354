"""Folders of the Hugging Face hub: config.json and the tensors beside it, read without executing anything."""

import json
from pathlib import Path
from typing import Any

from deeplab_lightning.published.state_dicts import StateDict, read_state_dict

CONFIG, SAFETENSORS, PICKLE = "config.json", "model.safetensors", "pytorch_model.bin"


def read_hub_folder(folder: Path) -> tuple[dict[str, Any], StateDict]:
    """Return the config and the tensors of a folder.

    Args:
        folder: Folder with config.json and model.safetensors or pytorch_model.bin, as `save_pretrained` writes it.

    Raises:
        OSError: A file cannot be opened.
        ValueError: A file is damaged or missing.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text())
    except ValueError as error:  # those of JSON and of the text's encoding are of this class
        raise ValueError(f"{path}: it is no JSON file, or a damaged one") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: it holds no settings of a network")
    if (folder / SAFETENSORS).is_file():
        return config, read_safetensors(folder / SAFETENSORS)
    if not (folder / PICKLE).is_file():
        raise ValueError(f"{folder}: it has neither {SAFETENSORS} nor {PICKLE}")
    return config, read_state_dict(folder / PICKLE)


def read_safetensors(path: Path) -> StateDict:
    """Return the tensors of a file of safetensors.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is damaged or holds no tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: StateDict = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: it is no file of safetensors, or a damaged one") from error
    if not tensors:
        raise ValueError(f"{path}: it holds no tensors")
    return tensors
