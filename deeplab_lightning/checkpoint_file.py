"""The reader of checkpoints, which refuses damaged, foreign and dangerous files and weights that are not finite."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor

ORIGIN, TRUNK = "origin", "trunk"
"""The names of two entries that checkpoints of published weights have: where the weights come from, in the words of the
evaluation identity, and whether they are a backbone alone."""


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Verify a checkpoint's checksums and read it; only tensors and plain values are loaded.

    Args:
        path: The file.
        map_location: Device of the tensors, as for `torch.load`.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is not a checkpoint or is damaged, it holds objects that could execute code on loading, or
            a tensor of the network is not finite.
    """
    verify_checksums(Path(path))
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: it holds more than tensors and plain values; loading it could execute any code"
        ) from error
    except Exception as error:  # torch has no specific error for unreadable files
        first_line = str(error).partition("\n")[0]
        raise ValueError(f"{path}: it is not a checkpoint ({first_line})") from error
    tensors = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{path}: it is not a checkpoint of `deeplab fit`: it has no state_dict of tensors")
    check_finite(path, tensors)
    return checkpoint


def verify_checksums(path: Path) -> None:
    """Compare every part of a checkpoint with the CRC-32 that `torch.save` wrote, which `torch.load` does not verify.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is not a checkpoint, or a damaged one.
    """
    with path.open("rb") as file:
        try:
            with ZipFile(file) as archive:
                wrong = archive.testzip()
                if wrong is None:  # one flipped bit turns a part into a folder, which torch reads as empty
                    wrong = next((part.filename for part in archive.infolist() if part.external_attr), None)
        except Exception as error:  # zipfile raises many kinds of errors for flipped bits
            raise ValueError(f"{path}: it is not a checkpoint, or it is damaged or truncated ({error})") from error
    if wrong is not None:
        raise ValueError(f"{path}: it is damaged, the checksum of its part {wrong} is wrong")


def check_finite(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights with a NaN or an infinity.

    Args:
        path: The file of the weights.
        tensors: The weights by name.

    Raises:
        ValueError: A tensor is not finite.
    """
    if wrong := not_finite(tensors):
        raise ValueError(
            f"{path}: {len(wrong)} of its {len(tensors)} tensors are not finite, the first is {wrong[0]}; its training "
            "diverged, so take another checkpoint"
        )


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that hold a NaN or an infinity."""
    return [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
