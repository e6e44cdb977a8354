"""Transforms of torchvision and albumentations: seeds, masks, value ranges, and errors that name the transform."""

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from PIL import Image

from deeplab_lightning.datasets.augmentation import Augmentation
from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.transforms import TrainTransform

V2, A = "torchvision.transforms.v2.", "albumentations."
BYTES = (0.0, 255.0)
LABELS = np.kron(np.arange(12).reshape(3, 4), np.ones((10, 10))).astype(np.uint8)
GEOMETRIC: dict[str, dict[str, Any]] = {
    "torchvision": {f"{V2}RandomAffine": {"degrees": [20, 40], "translate": [0.1, 0.1], "fill": 7}},
    "torchvision in RandomApply": {
        f"{V2}RandomApply": {"p": 1.0, "transforms": [{f"{V2}RandomRotation": {"degrees": [20, 40], "fill": 7}}]}
    },
    "torchvision's elastic": {f"{V2}ElasticTransform": {"alpha": 90.0, "interpolation": "nearest"}},
    "torchvision's zoom": {f"{V2}RandomZoomOut": {"p": 1.0, "side_range": [1.5, 2.0]}},
    "albumentations": {f"{A}Affine": {"rotate": [20, 40], "p": 1.0, "interpolation": 0, "fill": 7}},
    "albumentations in OneOf": {
        f"{A}OneOf": {"p": 1.0, "transforms": [{f"{A}Rotate": {"limit": [20, 40], "interpolation": 0}}]}
    },
}


def augmented(
    *descriptions: dict[str, Any], image: Any = None, seed: int = 0, value_range: tuple[float, float] = BYTES
) -> tuple[Any, Any]:
    """The arrays of an image, by default 20 times the label map in three channels, and of the mask."""
    given = np.repeat(LABELS[..., None] * 20, 3, 2) if image is None else image
    pixels, mask = Augmentation(descriptions, value_range)(given, Image.fromarray(LABELS), default_rng(seed))
    return pixels, np.asarray(mask)


@pytest.mark.parametrize("description", GEOMETRIC.values(), ids=GEOMETRIC)
def test_masks_move_with_their_images_and_are_void_around_them(description: dict[str, Any]) -> None:
    pixels, mask = augmented(description)
    kept = mask != 255
    assert 0.05 < kept.mean() < 1
    assert set(np.unique(mask)) <= {*range(12), 255}
    assert (pixels[kept] == mask[kept][:, None] * 20).all(1).mean() > 0.9  # the libraries round borders differently


@pytest.mark.parametrize("description", GEOMETRIC.values(), ids=GEOMETRIC)
def test_the_generator_alone_decides(description: dict[str, Any]) -> None:
    torch.manual_seed(1)
    random.seed(1)
    before, own = torch.get_rng_state(), random.getstate()
    first = augmented(description)
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == own
    torch.manual_seed(2)
    random.seed(2)
    again, other = augmented(description), augmented(description, seed=1)
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
    assert first[1].shape != other[1].shape or not np.array_equal(first[1], other[1])
    steps = pickle.loads(pickle.dumps(Augmentation([description], BYTES)))  # as loader processes get them
    image = np.repeat(LABELS[..., None] * 20, 3, 2)
    assert np.array_equal(steps(image, Image.fromarray(LABELS), default_rng(0))[0], first[0])


def test_deep_images_are_shown_on_the_scale_of_their_range() -> None:
    image = np.repeat(LABELS[..., None].astype(np.float32) * 300, 4, 2)
    for name in (f"{V2}RandomHorizontalFlip", f"{A}HorizontalFlip"):
        pixels, mask = augmented({name: {"p": 1.0}}, image=image, value_range=(0.0, 4095.0))
        np.testing.assert_allclose(pixels, image[:, ::-1], rtol=1e-5)
        assert np.array_equal(mask, LABELS[:, ::-1])
    for name, given in ((f"{V2}GaussianNoise", {"sigma": 0.1, "clip": False}), (f"{A}GaussNoise", {"p": 1.0})):
        pixels, _ = augmented({name: given}, image=image, value_range=(0.0, 4095.0))
        assert 100 < np.abs(pixels - image).mean() < 1000  # about a tenth of the range
        assert pixels.dtype == np.float32


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no class": ({f"{V2}RandomRotate": {}}, r"there is no class 'torchvision\.transforms\.v2\.RandomRotate'"),
    "no module": ({"no_such_library.Rotate": {}}, "there is no class 'no_such_library.Rotate'"),
    "a short name": ({"RandomRotation": {}}, "there is no class 'RandomRotation'; write its whole import path"),
    "a function": ({"os.system": {"command": "true"}}, "os.system is not a transform of torchvision"),
    "another class": ({"subprocess.Popen": {"args": "true"}}, "subprocess.Popen is not a transform"),
    "the older torchvision": ({"torchvision.transforms.RandomRotation": {"degrees": 1}}, "is not a transform"),
    "no argument": ({f"{V2}RandomRotation": None}, "RandomRotation refuses its arguments {}: .*degrees"),
    "a wrong argument": ({f"{A}Rotate": {"limits": 3}}, "Rotate refuses its arguments .*limits"),
    "a wrong value": ({f"{A}Rotate": {"p": 3}}, "Rotate refuses its arguments .*p"),
    "within another": ({f"{V2}RandomApply": {"transforms": [{f"{V2}Pad": {}}]}}, "Pad refuses its arguments"),
    "two classes": ({f"{V2}Pad": {}, f"{V2}RandomRotation": {}}, "an item of data.transforms is one class"),
}


@pytest.mark.parametrize(("description", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_descriptions_are_refused_by_name(description: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation([description], BYTES)


FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "images alone": ({f"{V2}AutoAugment": {}}, "transform AutoAugment fails on it .*Mask"),
    "another type": ({f"{V2}ToDtype": {"dtype": torch.float32, "scale": True}}, "ToDtype made float32 values"),
    "normalised": ({f"{A}Normalize": {}}, "Normalize made float32 values"),
    "too large a crop": ({f"{A}RandomCrop": {"height": 900, "width": 900}}, "RandomCrop fails on it"),
    "a mask that is averaged": ({f"{A}Affine": {"rotate": [20, 40], "p": 1.0, "mask_interpolation": 1}}, "new values"),
}


@pytest.mark.parametrize(("description", "message"), FAILING.values(), ids=FAILING)
def test_a_transform_that_fails_is_named(description: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        augmented(description)


def test_a_failure_names_the_image_too(shapes_root: Path) -> None:
    broken = Augmentation([{f"{V2}AutoAugment": {}}], BYTES)
    transform = TrainTransform(
        (32, 32), (1.0, 1.0), flip=False, color_jitter=0, mean=[0.5] * 3, std=[0.5] * 3, augmentation=broken
    )
    with pytest.raises(DataError, match=r"train_00001\.jpg: the transform AutoAugment"):
        FolderDataset(shapes_root, "train", 8, transform)[1]


def test_several_channels_where_the_transform_allows_them() -> None:
    image = np.repeat(LABELS[..., None], 5, 2)
    assert augmented({f"{V2}RandomRotation": {"degrees": 30}}, image=image)[0].shape[2] == 5
    assert augmented({f"{A}Rotate": {"p": 1.0}}, image=image)[0].shape[2] == 5
    with pytest.raises(DataError, match="the transform CLAHE fails"):
        augmented({f"{A}CLAHE": {"p": 1.0}}, image=image)
