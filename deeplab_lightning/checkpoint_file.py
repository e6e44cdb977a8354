"""The one reader of checkpoints; a damaged, foreign or dangerous one, or one that is not finite, is refused by name."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint, as tensors and plain values alone, once its checksums are verified.

    Args:
        path: The file.
        map_location: The device of the tensors, as `torch.load` takes it.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is no checkpoint, or a damaged one; it holds objects that loading would execute; or a
            tensor of its network is not finite.
    """
    verify_checksums(Path(path))
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: it holds more than tensors and plain values; loading it could execute anything"
        ) from error
    except Exception as error:  # torch has no error of its own for a file that it cannot read
        first_line = str(error).partition("\n")[0]
        raise ValueError(f"{path}: it is not a checkpoint ({first_line})") from error
    tensors = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{path}: it is not a checkpoint of `deeplab fit`, for it has no state_dict of tensors")
    if wrong := not_finite(tensors):
        raise ValueError(
            f"{path}: {len(wrong)} of its {len(tensors)} tensors are not finite, the first is {wrong[0]}; the training "
            "that wrote it had diverged, take another checkpoint"
        )
    return checkpoint


def verify_checksums(path: Path) -> None:
    """Compare every part of a checkpoint with the CRC-32 that `torch.save` wrote beside it; `torch.load` does not.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is no checkpoint, or a damaged one.
    """
    with path.open("rb") as file:
        try:
            with ZipFile(file) as archive:
                wrong = archive.testzip()
                if wrong is None:  # one flipped bit makes a part a folder's, which torch reads as empty
                    wrong = next((part.filename for part in archive.infolist() if part.external_attr), None)
        except Exception as error:  # zipfile raises many errors of its own where bits have flipped
            raise ValueError(f"{path}: it is not a checkpoint, or a damaged or truncated one ({error})") from error
    if wrong is not None:
        raise ValueError(f"{path}: it is damaged, the checksum of its part {wrong} is wrong")


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold a NaN or an infinity."""
    return [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
