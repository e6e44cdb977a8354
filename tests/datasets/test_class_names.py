"""Colours in class_names.txt; tests/datasets/test_broken_inputs.py tests its other lines."""

from pathlib import Path

import pytest

from deeplab_lightning.datasets.class_names import (
    CLASS_FILE,
    read_class_names,
    read_label_map,
    read_palette,
    write_palette,
)
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.palette import Palette

CRACKS = Palette(("wall", "crack 2"), ((200, 190, 180), (255, 0, 0)), void=(1, 2, 3))


def written(folder: Path, text: str) -> Path:
    (folder / CLASS_FILE).write_text(text)
    return folder


def test_colours_of_masks_are_those_of_pictures(tmp_path: Path) -> None:
    root = written(tmp_path, "wall 200 190 180\ncrack 2 255 0 0\nvoid 1 2 3\n")
    assert read_palette(root) == CRACKS
    assert read_label_map(root) == {(200, 190, 180): 0, (255, 0, 0): 1, (1, 2, 3): 255}


def test_masks_of_values_may_have_colours_too(tmp_path: Path) -> None:
    root = written(tmp_path, "wall = 7 200 190 180\ncrack 2 = 9 255 0 0\n")
    assert read_palette(root).colors == CRACKS.colors
    assert read_label_map(root) == {(7,): 0, (9,): 1}
    assert read_class_names(root) == ["wall", "crack 2"]


def test_a_written_palette_is_read_again_for_masks_of_class_indices(tmp_path: Path) -> None:
    write_palette(tmp_path, CRACKS)
    assert read_palette(tmp_path) == CRACKS
    assert read_label_map(tmp_path) is None


@pytest.mark.parametrize("text", ["wall\ncrack 2\n", "wall = 0\ncrack 2 = 1\n"])
def test_colours_are_generated_where_the_file_gives_none(text: str, tmp_path: Path) -> None:
    assert read_palette(written(tmp_path, text)) == Palette.generated(CRACKS.class_names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wall = 0 1 2 3\ncrack = 1\n", "name = value R G B"),
        ("wall = 0 1 2 3\ncrack = 1 4 5 256\n", "4 5 256.*crack"),
        ("".join(f"class {index}\n" for index in range(256)), "256 names.*255 classes"),
    ],
)
def test_faulty_colours_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{CLASS_FILE}.*{message}"):
        read_palette(written(tmp_path, text))
