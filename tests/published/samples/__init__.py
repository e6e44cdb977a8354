"""Logits that other projects' own code gave on networks whose weights are drawn again from their names."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """A network of another project on one image.

    Args:
        shapes: Shapes of its tensors by name.
        images: Images (1, 3, H, W).
        logits: Logits (1, K, H', W') of the project's code.
    """

    shapes: Mapping[str, tuple[int, ...]]
    images: Tensor
    logits: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Draw the weights."""
        return {name: drawn(name, shape) for name, shape in self.shapes.items()}

    def write(self, name: str) -> None:
        """Store the sample; weights are not stored."""
        arrays: dict[str, Any] = {"shapes": json.dumps(self.shapes), "logits": self.logits.numpy()}
        np.savez_compressed(FOLDER / f"{name}.npz", **arrays, size=np.array(self.images.shape[2:]))


def read(name: str) -> Sample:
    """Read a sample by its name."""
    with np.load(FOLDER / f"{name}.npz") as kept:
        shapes = {key: tuple(shape) for key, shape in json.loads(str(kept["shapes"])).items()}
        return Sample(shapes, images(*kept["size"].tolist()), torch.from_numpy(kept["logits"]))


def images(height: int, width: int) -> Tensor:
    """Draw one normalised image (1, 3, height, width)."""
    return torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32))


def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """Draw the tensor of a name: the same numbers on every machine, in any order of names."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    kind = name.rpartition(".")[2]
    if kind == "running_var":
        values = rng.uniform(0.5, 1.5, shape)
    elif kind == "weight" and len(shape) == 1:
        values = rng.uniform(0.7, 1.3, shape)
    elif kind in ("bias", "running_mean"):
        values = rng.uniform(-0.2, 0.2, shape)
    else:
        values = rng.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values, np.float32))
