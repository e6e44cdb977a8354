"""Transforms of torchvision and albumentations on image and mask, seeded like the other random choices of a sample."""

import os
import random
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any, Protocol

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.pixels import Pixels
from deeplab_lightning.extras import require

Mask = NDArray[np.uint8]
Description = Mapping[str, Mapping[str, Any] | None]
"""The import path of a class, and the arguments that it is built with."""
LIBRARIES = ("torchvision.transforms.v2.", "albumentations.")
NESTED = "transforms"
"""The argument by which both libraries take further transforms."""


class Augmentation:
    """Transforms of image and mask, one after the other.

    Images of more than 8 bits are shown to them on the scale of their value range, 0 to 1, as both libraries expect.
    Masks are resampled by nearest neighbour, and what a transform adds around them is void.

    Args:
        descriptions: Class and arguments of each transform: {torchvision.transforms.v2.RandomRotation: {degrees: 10}}.
            An argument `transforms` holds further descriptions.
        value_range: Values of the images that stand for 0 and 1.

    Raises:
        ValueError: A class does not exist, is no transform, or refuses its arguments.
        ModuleNotFoundError: albumentations is not installed.
    """

    def __init__(self, descriptions: Sequence[Description], value_range: tuple[float, float]) -> None:
        self.value_range = value_range
        self.steps = [_step(description) for description in descriptions]

    def __call__(self, image: Pixels, mask: Image.Image, rng: Generator) -> tuple[Pixels, Image.Image]:
        """The pixels (H, W, C) of an image and its mask after all transforms; both may have another size.

        Raises:
            DataError: A transform fails on them, or returns what is no image with its mask. The error names no file.
        """
        low, high = self.value_range
        pixels: NDArray[Any]
        pixels, labels = np.array(image, order="C"), np.array(mask)
        if pixels.dtype == np.float32:
            pixels = (pixels - np.float32(low)) / np.float32(high - low)
        for name, step in self.steps:
            try:
                found = step(pixels, labels, int(rng.integers(1 << 31)))
            except Exception as error:  # transforms raise all kinds
                raise DataError(f"the transform {name} fails on it ({type(error).__name__}: {error})") from error
            _check(name, (pixels, labels), found)
            pixels, labels = found
        if pixels.dtype == np.float32:
            pixels = pixels * np.float32(high - low) + np.float32(low)
        return pixels, Image.fromarray(labels)


class _Step(Protocol):
    def __call__(self, pixels: Pixels, mask: Mask, seed: int) -> tuple[Pixels, Mask]: ...


@dataclass(frozen=True)
class _Torchvision:
    """A transform that draws its random choices from torch's global generator, or Python's."""

    transform: Any

    def __call__(self, pixels: Pixels, mask: Mask, seed: int) -> tuple[Pixels, Mask]:
        from torchvision import tv_tensors

        image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
        with _seeded(seed):
            image, labels = self.transform(image, tv_tensors.Mask(torch.from_numpy(mask)))
        return image.permute(1, 2, 0).contiguous().numpy(), labels.numpy()


@dataclass(frozen=True)
class _Albumentations:
    """A transform within a `Compose`, which has generators of its own."""

    compose: Any

    def __call__(self, pixels: Pixels, mask: Mask, seed: int) -> tuple[Pixels, Mask]:
        self.compose.set_random_seed(seed)
        found = self.compose(image=pixels, mask=mask)
        return found["image"], found["mask"]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch (the CPU's) and Python within the block, and restore them after it."""
    before, own = torch.get_rng_state(), random.getstate()
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)
        random.setstate(own)


def _step(description: Description) -> tuple[str, _Step]:
    transform, library = _built(description)
    name = type(transform).__name__
    if library == "torchvision":
        return name, _Torchvision(transform)
    return name, _Albumentations(import_module("albumentations").Compose([transform]))


def _built(description: Description) -> tuple[Any, str]:
    """The transform of a description, and its library.

    Raises:
        ValueError: The class does not exist, is no transform, or refuses its arguments.
    """
    if len(description) != 1:
        raise ValueError(f"an item of data.transforms is one class with its arguments, got {dict(description)}")
    ((path, given),) = description.items()
    cls, library = _found(path)
    arguments = dict(given or {})
    if isinstance(arguments.get(NESTED), Sequence):
        arguments[NESTED] = [_built(each)[0] for each in arguments[NESTED]]
    try:
        with warnings.catch_warnings():  # albumentations warns of arguments that it does not know
            warnings.filterwarnings("error", ".*not valid for transform")
            return cls(**_with_void(cls, library, arguments)), library
    except (TypeError, ValueError, UserWarning) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"data.transforms: {path} refuses its arguments {arguments}: {reason}") from error


def _found(path: str) -> tuple[type, str]:
    """The class with an import path, and its library: "torchvision" or "albumentations"."""
    if path.startswith(LIBRARIES[1]):
        require("albumentations", f"the transform {path}")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would open a connection
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"data.transforms: there is no class {path!r}; write its whole import path, such as "
            f"{LIBRARIES[0]}RandomRotation or {LIBRARIES[1]}Affine"
        ) from error
    bases = {"torchvision": import_module("torchvision.transforms.v2").Transform}
    if "albumentations" in sys.modules:
        loaded = sys.modules["albumentations"]
        bases["albumentations"] = loaded.BasicTransform, loaded.BaseCompose
    for library, base in bases.items():
        if isinstance(found, type) and issubclass(found, base):
            return found, library
    raise ValueError(f"data.transforms: {path} is not a transform of torchvision (v2) or albumentations")


def _with_void(cls: type, library: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a transform, with void as what it adds around masks."""
    known = signature(cls).parameters
    if library == "torchvision" and "fill" in known:
        from torchvision import tv_tensors

        own = arguments.get("fill", known["fill"].default)
        return arguments | {"fill": {tv_tensors.Mask: IGNORE_INDEX, "others": own}}
    if library == "albumentations" and "fill_mask" in known and known["fill_mask"].default is not None:
        return {"fill_mask": IGNORE_INDEX} | arguments
    return arguments


def _check(name: str, before: tuple[Pixels, Mask], after: tuple[Pixels, Mask]) -> None:
    (pixels, mask), (own, labels) = before, after
    if own.ndim != 3 or own.shape[2] != pixels.shape[2] or own.dtype != pixels.dtype:
        raise DataError(
            f"the transform {name} made {own.dtype} values {own.shape} of {pixels.dtype} values {pixels.shape}, but "
            "channels and type must stay: the images are normalised afterwards"
        )
    if labels.shape != own.shape[:2] or labels.dtype != np.uint8:
        raise DataError(f"the transform {name} made a mask {labels.shape} for an image {own.shape[:2]}")
    held = np.bincount(mask.ravel(), minlength=256) > 0
    held[IGNORE_INDEX] = True
    if (new := np.flatnonzero((np.bincount(labels.ravel(), minlength=256) > 0) & ~held)).size:
        raise DataError(f"the transform {name} made new values in the mask, such as {new[0]}; masks are not averaged")
