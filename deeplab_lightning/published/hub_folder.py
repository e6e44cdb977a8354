"""The files of a folder of the Hugging Face hub: config.json and safetensors, read without executing anything."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

CONFIG, WEIGHTS = "config.json", "model.safetensors"
"""The names of the files of a model in a folder of the hub."""


def read_config(path: Path) -> dict[str, Any]:
    """Return the options in a config.json.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is damaged or holds no options.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # those of JSON and of the text's encoding are of this class
        raise ValueError(f"{path}: it is no JSON file, or a damaged one") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: it holds no options of a network")
    return config


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file of safetensors.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is damaged or holds no tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: it is no file of safetensors, or a damaged one") from error
    if not tensors:
        raise ValueError(f"{path}: it holds no tensors")
    return tensors
