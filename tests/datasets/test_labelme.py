"""Files of labelme: their shapes as pixels, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.labelme import read_drawing

TRIANGLE = [[3.0, 4.0], [30.5, 8.2], [12.0, 25.0]]


def shape(label: Any = "road", kind: str | None = "polygon", points: Any = TRIANGLE) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}


def write(path: Path, *shapes: Any, **changes: Any) -> Path:
    """A file as labelme writes it, for an image of 40x30."""
    content: dict[str, Any] = {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "a.jpg",
        "imageData": None,
    }
    path.write_text(json.dumps(content | {"imageHeight": 30, "imageWidth": 40} | changes))
    return path


def test_shapes_are_filled_as_pillow_and_labelme_fill_them(tmp_path: Path) -> None:
    circle, box = [[20.0, 15.0], [26.0, 15.0]], [[30.0, 20.0], [10.0, 5.0]]  # drawn from the lower right corner
    path = write(
        tmp_path / "a.json",
        shape(),
        shape("car", "circle", circle),
        shape("car", "rectangle", box),
        shape("old", None, [[0, 0], [9, 0], [9, 9], [0, 9]]),
    )
    drawing = read_drawing(path)
    assert drawing.size == (30, 40)
    labels, regions = zip(*drawing.regions(), strict=True)
    assert labels == ("road", "car", "car", "old")
    polygon = Image.new("L", (40, 30))
    ImageDraw.Draw(polygon).polygon([(x, y) for x, y in TRIANGLE], fill=1, outline=1)
    assert np.array_equal(regions[0], np.asarray(polygon) == 1)
    y, x = np.mgrid[:30, :40]
    assert not regions[1][np.hypot(x - 20, y - 15) > 6.8].any()
    assert regions[1][np.hypot(x - 20, y - 15) < 5.8].all()
    assert np.array_equal(regions[2], (x >= 10) & (x <= 30) & (y >= 5) & (y <= 20))
    assert np.array_equal(regions[3], (x <= 9) & (y <= 9))


FAULTS: dict[str, tuple[Any, str]] = {
    "a line": (shape("lane", "linestrip"), r"shape 1 \('lane'\) is a linestrip; only polygon, rectangle, circle"),
    "a bit map": (shape(kind="mask"), r"shape 1 \('road'\) is a mask"),
    "two points": (shape(points=TRIANGLE[:2]), "is a polygon of 2 points"),
    "one point": (shape(kind="circle", points=TRIANGLE[:1]), r"is a circle of 1 point$"),
    "three numbers": (shape(points=[[1, 2, 3]] * 3), r"not a file of labelme \(ValueError"),
    "not a number": (shape(points=[[1, float("nan")]] * 3), "has the coordinate nan"),
    "far away": (shape(points=[[1, 1e9]] * 3), r"has the coordinate 1000000000\.0"),
    "a text": (shape(points=[["1", 2]] * 3), "has the coordinate '1'"),
    "a label that is a number": (shape(7), "the label of shape 1 is 7"),
    "no label": ({"points": TRIANGLE}, r"not a file of labelme \(KeyError: 'label'\)"),
    "a shape that is a list": ([1], "not a file of labelme"),
}


@pytest.mark.parametrize(("faulty", "message"), FAULTS.values(), ids=FAULTS)
def test_faulty_shapes_are_refused_with_the_file(faulty: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"a\.json: .*{message}"):
        read_drawing(write(tmp_path / "a.json", faulty))


def test_other_files_are_refused(tmp_path: Path) -> None:
    for size in (None, 0, "30", 10**6):
        with pytest.raises(DataError, match=r"a\.json: it gives the image's size as"):
            read_drawing(write(tmp_path / "a.json", imageHeight=size, imageWidth=10**6))
    for text in ("", "[1]", "{}", "[" * 100_000):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(DataError, match=r"a\.json: it is not a file of labelme"):
            read_drawing(tmp_path / "a.json")
    with pytest.raises(DataError, match=r"b\.json: no such file"):
        read_drawing(tmp_path / "b.json")
