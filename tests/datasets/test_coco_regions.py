"""Regions of annotations: input that would crash pycocotools or exhaust the memory is refused with a clear error."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from deeplab_lightning.datasets.coco import COCODataset
from deeplab_lightning.datasets.coco_regions import draw
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.transforms import EvaluationTransform
from tests.devkits import annotation, square, write_coco

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)
HEIGHT, WIDTH = 60, 80
PIXELS = HEIGHT * WIDTH


def points(**changes: Any) -> list[Any]:
    """A polygon with one changed number."""
    polygon: list[Any] = square(5, 5, 20)
    polygon[3] = changes["to"]
    return [polygon]


def code(counts: Any, size: Any = (HEIGHT, WIDTH)) -> dict[str, Any]:
    return {"size": list(size) if isinstance(size, tuple) else size, "counts": counts}


FAULTS: dict[str, tuple[Any, str]] = {
    "null": (None, "neither polygons nor a run-length code"),
    "text": ("polygon", "neither polygons nor a run-length code"),
    "an empty list": ([], "neither polygons nor a run-length code"),
    "null in a polygon": (points(to=None), "a polygon that is not a list"),
    "text in a polygon": (points(to="1"), "a polygon that is not a list"),
    "a list in a polygon": (points(to=[1, 2]), "a polygon that is not a list"),
    "a polygon that is a number": ([3, 4, 5], "a polygon that is not a list"),
    "a polygon in a polygon": ([[square(5, 5, 20)]], "a polygon that is not a list"),
    "not a number": (points(to=float("nan")), "a polygon with the coordinate nan"),
    "infinity": (points(to=float("inf")), "a polygon with the coordinate inf"),
    "far away": (points(to=1e9), r"a polygon with the coordinate 1000000000\.0"),
    "far on the other side": (points(to=-1e9), r"a polygon with the coordinate -1000000000\.0"),
    "a number of many digits": (points(to=10**300), "a polygon with the coordinate 10000"),
    "an outline without end": ([[0, 0, 9e4, 0, 0, 9e4] * 9], r"an outline of \d+ pixels"),
    "outlines without end": ([[0, 0, 9e4, 0, 0, 9e4]] * 9, r"an outline of \d+ pixels"),
    "size of other types": (code([PIXELS], ["60", "80"]), r"has size \['60', '80'\]"),
    "size that is a number": (code([PIXELS], 4800), "has size 4800"),
    "no counts": ({"size": [HEIGHT, WIDTH]}, "a damaged run-length code"),
    "counts that are a number": (code(7), "a damaged run-length code"),
    "a negative run": (code([PIXELS + 10, -10]), "a damaged run-length code"),
    "a run of text": (code(["4800"]), "a damaged run-length code"),
    "a run and a half": (code([4799.5, 0.5]), "a damaged run-length code"),
    "runs beyond the image": (code([10, 2**31]), "a run-length code of 2147483658 pixels, but the image has 4800"),
    "runs short of the image": (code([10, 20]), "a run-length code of 30 pixels, but the image has 4800"),
    "a code that goes on": (code("0" * 9 + "o"), "a damaged run-length code"),
    "a code without end": (code("o" * 100), "a damaged run-length code"),
    "a code of other characters": (code("\x01\xe9"), "a damaged run-length code"),
    "a code of a negative run": (code("0" * 3 + "O"), "a damaged run-length code"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO with one image for each faulty annotation, and a first image with a sound one."""
    shapes = [[square(5, 5, 20)], *(shape for shape, _ in FAULTS.values())]
    own = [annotation(number + 100, number, 18, shape) for number, shape in enumerate(shapes, 1)]
    return write_coco(tmp_path_factory.mktemp("coco") / "coco", {"train2017": own}, len(shapes))


@pytest.fixture(scope="module")
def dataset(tree: Path) -> COCODataset:
    return COCODataset(tree, "train2017", EVALUATION)


@pytest.mark.parametrize("case", FAULTS)
def test_the_file_the_annotation_and_the_image_are_named(dataset: COCODataset, case: str) -> None:
    number = list(FAULTS).index(case) + 2
    place = rf"instances_train2017\.json: annotation {number + 100} of image {number:012d} "
    with pytest.raises(DataError, match=f"{place}.*{FAULTS[case][1]}"):
        dataset.mask(number - 1)


def test_the_sound_annotation_is_drawn(dataset: COCODataset) -> None:
    assert np.asarray(dataset.mask(0)).sum() == 12 * 400


@pytest.mark.parametrize("seed", range(20))
def test_codes_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    region = np.asfortranarray(rng.random((HEIGHT, WIDTH)) < rng.random(), np.uint8)
    if seed < 10:
        region[:, 7:] = region[:, :1]  # runs of hundreds of pixels, and negative differences
    packed = coco_mask.encode(region)
    packed["counts"] = packed["counts"].decode()
    assert np.array_equal(draw(packed, HEIGHT, WIDTH), region)


def edited(tree: Path, kind: str, **changes: Any) -> Path:
    """The tree with changed values in its first image record or annotation."""
    content = json.loads((tree / "annotations" / "instances_train2017.json").read_text())
    content[kind][0] = {key: value for key, value in (content[kind][0] | changes).items() if value != "gone"}
    (tree / "annotations" / "instances_edited.json").write_text(json.dumps(content))
    return tree


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("images", {"width": -80}, "image 1 has width -80 and height 60"),
        ("images", {"width": "80"}, "image 1 has width '80' and height 60"),
        ("images", {"height": 10**9}, "image 1 has width 80 and height 1000000000"),
        ("images", {"height": None}, "image 1 has width 80 and height None"),
        ("images", {"file_name": 7}, "an image has id 1 and file name 7"),
        ("images", {"id": [1]}, r"an image has id \[1\] and file name"),
        ("annotations", {"image_id": [1]}, r"annotations\[0\] .*\(TypeError: .*unhashable"),
        ("annotations", {"category_id": {}}, r"annotations\[0\] .*\(TypeError: .*unhashable"),
        ("annotations", {"segmentation": "gone"}, r"annotations\[0\] .*\(KeyError: 'segmentation'"),
        ("annotations", {"area": "large"}, "annotation 101 of image 1 has an area of 'large'"),
        ("annotations", {"area": float("nan")}, "annotation 101 of image 1 has an area of nan"),
    ],
)
def test_records_are_checked_where_the_file_is_read(
    tree: Path, kind: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=rf"instances_edited\.json: {message}"):
        COCODataset(edited(tree, kind, **changes), "edited", EVALUATION)


def test_json_of_many_levels(tree: Path) -> None:
    (tree / "annotations" / "instances_edited.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"instances_edited\.json: .* COCO instances"):
        COCODataset(tree, "edited", EVALUATION)
