"""What `deeplab data check --fix` writes for masks, polygons and lists, and what it leaves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from deeplab_lightning.datasets.class_names import read_class_names, read_label_map
from deeplab_lightning.datasets.folder import ids_by_ratio
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.masks import read_folder_mask
from deeplab_lightning.datasets.mending import KEPT, mend_classes, mend_lists
from deeplab_lightning.palette import VOC_COLORS, VOC_VOID
from tests.datasets.test_labelme import shape, write


def tree(root: Path, *values: Any, names: str | None = None, count: int = 2) -> Path:
    """A folder whose masks hold values or colours in stripes, the first of them most."""
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    stripes = np.array([values[0], *values])
    for number in range(count):
        Image.new("RGB", (4, len(stripes))).save(root / "images" / f"{number}.png")
        own = np.repeat(stripes[:, None], 4, 1)
        if own.max() > 255:
            tifffile.imwrite(root / "masks" / f"{number}.tif", own.astype(np.uint16))
        else:
            Image.fromarray(own.astype(np.uint8)).save(root / "masks" / f"{number}.png")
    if names is not None:
        (root / "class_names.txt").write_text(names)
    return root


def text(root: Path) -> list[str]:
    return (root / "class_names.txt").read_text().splitlines()


VOC = [tuple(color) for color in VOC_COLORS[:3].tolist()]
WRITTEN: dict[str, tuple[list[Any], str | None, list[str]]] = {
    "binary": ([0, 255], None, ["background = 0", "foreground = 255"]),
    "binary with names": ([0, 255], "road\ncrack\n", ["road = 0", "crack = 255"]),
    "indices": ([0, 1, 2, 255], None, ["class 0", "class 1", "class 2"]),
    "gaps": ([0, 7, 26, 255], None, ["class 0 = 0", "class 7 = 7", "class 26 = 26", "void = 255"]),
    "16 bits": ([0, 300, 65535], None, ["class 0 = 0", "class 300 = 300", "class 65535 = 65535"]),
    "as many values as names": ([1, 2, 3, 255], "a\nb\nc\n", ["a = 1", "b = 2", "c = 3", "void = 255"]),
    "255 as a class": ([0, 128, 255], "a\nb\nc\n", ["a = 0", "b = 128", "c = 255"]),
    "colours": ([(9, 9, 9), (0, 0, 0), (7, 0, 0)], None, ["background 0 0 0", "class 1 9 9 9", "class 2 7 0 0"]),
    "VOC's colours": (
        [VOC[0], VOC[2], VOC_VOID], "a\nb\nc\n", ["a 0 0 0", "b 128 0 0", "c 0 128 0", "void 224 224 192"]
    ),
}  # fmt: skip


@pytest.mark.parametrize(("values", "names", "expected"), WRITTEN.values(), ids=WRITTEN)
def test_what_the_masks_hold_is_written(
    values: list[Any], names: str | None, expected: list[str], tmp_path: Path
) -> None:
    root = tree(tmp_path, *values, names=names)
    before = {path: path.read_bytes() for path in root.rglob("*.*") if path.suffix != ".txt"}
    said = mend_classes(root, None, 0)
    assert said.startswith(f"{root}/class_names.txt: wrote {len(expected)} lines")
    assert text(root) == expected
    kept = root / KEPT
    assert (kept.read_text() if kept.exists() else None) == names
    assert names is None or KEPT in said
    assert before == {path: path.read_bytes() for path in before}
    mask = next((root / "masks").iterdir())
    read = np.asarray(read_folder_mask(mask, len(read_class_names(root)), read_label_map(root)))
    assert len(np.unique(read)) == len(values)
    assert mend_classes(root, None, 0) == ""


LEFT: dict[str, tuple[list[Any], str | None, str]] = {
    "one value": ([0], None, "all masks hold 0 alone"),
    "one colour": ([(1, 2, 3)], None, "all masks hold the colour 1 2 3 alone"),
    "colours without order": ([(1, 2, 3), (4, 5, 6)], "a\nb\n", r"which of the colours 1 2 3, 4 5 6"),
    "more values than names": ([0, 1, 2, 3], "a\nb\n", "the masks hold the values 0, 1, 2, 3, but there are 2 names"),
    "too many colours": (
        [(red, green, 0) for red in range(16) for green in range(17)], None, "272 values or colours"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("values", "names", "why"), LEFT.values(), ids=LEFT)
def test_what_would_be_a_guess_is_left_and_said(values: list[Any], names: str | None, why: str, tmp_path: Path) -> None:
    root = tree(tmp_path, *values, names=names)
    said = mend_classes(root, None, 0)
    assert "not mended, because" in said
    assert why in said
    assert ((root / "class_names.txt").read_text() if names else None) == names
    assert not (root / KEPT).exists()


def test_a_copy_of_before_is_not_replaced(tmp_path: Path) -> None:
    root = tree(tmp_path, 0, 255, names="a\nb\n")
    (root / KEPT).write_text("mine")
    assert "exists; move it away first" in mend_classes(root, None, 0)
    assert (text(root), (root / KEPT).read_text()) == (["a", "b"], "mine")


def test_sound_files_and_mixed_masks_are_left(tmp_path: Path) -> None:
    root = tree(tmp_path, 0, 1, 255, names="a\nb\n")
    assert mend_classes(root, None, 0) == ""
    (root / "class_names.txt").write_text("a = 7\nb = 8\n")
    assert mend_classes(root, None, 0) == ""
    (root / "class_names.txt").unlink()
    Image.new("RGB", (4, 4), (1, 2, 3)).save(root / "masks" / "0.png")
    assert "some masks hold values and others colours" in mend_classes(root, None, 0)
    (root / "masks" / "0.png").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"0\.png"):
        mend_classes(root, None, 0)


def test_names_of_polygons(tmp_path: Path) -> None:
    write(tmp_path / "a.json", shape("road"), shape("__ignore__"), shape("car"))
    said = mend_classes(tmp_path, tmp_path, 0)
    assert said.startswith(f"{tmp_path}/class_names.txt: wrote 3 lines")
    assert text(tmp_path) == ["background", "car", "road"]
    assert mend_classes(tmp_path, tmp_path, 0) == ""
    (tmp_path / "class_names.txt").unlink()
    categories = [{"id": 2, "name": "road"}, {"id": 1, "name": "tree"}, {"id": 9, "name": "unused"}]
    for split, category in (("train", 2), ("val", 1)):
        own = {"id": 1, "image_id": 1, "category_id": category, "segmentation": [[0, 0, 1, 0, 1, 1]]}
        content = {
            "images": [{"id": 1, "file_name": "a.png", "height": 4, "width": 4}],
            "annotations": [own],
            "categories": categories,
        }
        (tmp_path / f"coco_{split}.json").write_text(json.dumps(content))
    mend_classes(tmp_path, tmp_path / "coco_{split}.json", 0)
    assert text(tmp_path) == ["background", "tree", "road"]


def test_lists_hold_the_images_of_the_ratio(tmp_path: Path) -> None:
    root = tree(tmp_path, 0, 1, count=10)
    assert "train 8, val 1, test 1" in mend_lists(root)
    ids = [str(number) for number in range(10)]
    for split in ("train", "val", "test"):
        listed = (root / "splits" / f"{split}.txt").read_text().split()
        assert listed == ids_by_ratio(ids, split, (0.8, 0.1, 0.1), root)
    assert mend_lists(root) == ""
    assert {path.name for path in root.iterdir()} == {"images", "masks", "splits"}


def test_too_few_images_for_lists(tmp_path: Path) -> None:
    root = tree(tmp_path, 0, 1, count=1)
    assert "splits: not written, because" in mend_lists(root)
    assert not (root / "splits").exists()
