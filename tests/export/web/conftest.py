"""The page of the thin model, with pictures as examples and beside it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.export.web.page import PageSize, read_example, write_page
from tests.export.conftest import Exported


@dataclass(frozen=True)
class Written:
    """A page, the graph in it, its example, and its size as the function returned it."""

    path: Path
    graph: Path
    example: Path
    size: PageSize


def scene(height: int, width: int) -> NDArray[np.uint8]:
    """A picture with borders: patches of random colours, which are slightly uneven."""
    rng = np.random.default_rng(1)
    patches = np.kron(rng.integers(0, 256, (30, 30, 3)), np.ones((7, 9, 1), int))[:height, :width]
    return (patches + rng.integers(-9, 10, patches.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def written(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The page of the thin model with a PNG as its example."""
    folder = tmp_path_factory.mktemp("page")
    example = folder / 'a "scene" & more.png'
    Image.fromarray(scene(61, 90)).save(example)
    examples = [read_example(example, exported.segmenter.reader)]
    size = write_page(exported.onnx, folder / "page.html", examples)
    return Written(folder / "page.html", exported.onnx, example, size)


def with_text(graph: Path, path: Path, name: str, old: str, new: str) -> Path:
    """Write a copy of an ONNX file in which a part of one of its texts is replaced."""
    model = onnx.load(str(graph))
    (entry,) = (each for each in model.metadata_props if each.key == name)
    assert old in entry.value
    entry.value = entry.value.replace(old, new)
    onnx.save(model, str(path))
    return path
