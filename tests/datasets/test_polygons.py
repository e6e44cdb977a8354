"""Polygons in place of masks: COCO's JSON against pycocotools, labelme's against Pillow, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from deeplab_lightning.datasets.doctor import examine
from deeplab_lightning.datasets.faults import NoSuchSplitError
from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.polygons import Annotations
from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.datasets.transforms import EvaluationTransform
from tests.datasets.test_labelme import shape, write

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)
NAMES = ("background", "road", "car")
HEIGHT, WIDTH = 30, 40
ROAD, CAR, CROWD = (
    [[2.5, 3.1, 30.2, 5.5, 25.0, 28.4, 4.4, 20.0]],
    [[10, 10, 35.5, 12, 20.3, 25.1], [0, 0, 5, 0, 5, 5]],
    [[28, 0, 40, 0, 40, 30, 28, 30]],
)


def instance(number: int, category: int, segmentation: Any, image: int = 1, crowd: int = 0) -> dict[str, Any]:
    """An annotation without the fields that drawing does not need."""
    own = {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation}
    return own | ({"iscrowd": 1} if crowd else {})


def write_coco(path: Path, *annotations: dict[str, Any], **changes: Any) -> Path:
    """A COCO JSON of a.png and b.png, with categories that are not in the order of the classes."""
    content = {
        "images": [
            {"id": 1, "file_name": "train/a.png", "height": HEIGHT, "width": WIDTH},
            {"id": 7, "file_name": "b.png", "height": HEIGHT, "width": WIDTH},
        ],
        "categories": [{"id": 9, "name": "road"}, {"id": 3, "name": "car"}, {"id": 0, "name": "a project's name"}],
        "annotations": list(annotations),
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content | changes))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number, name in enumerate("ab"):
        Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "train.txt").write_text("a\nb\n")
    return tmp_path


def dataset(root: Path, path: Path, split: str = "train", **settings: Any) -> FolderDataset:
    names = settings.pop("class_names", NAMES)
    own = Annotations(path, names, **settings)
    return FolderDataset(root, split, len(names), EVALUATION, annotations=own)


def drawn(polygons: Any) -> Any:
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, HEIGHT, WIDTH))).astype(bool)


def test_instances_equal_pycocotools_by_every_rule_of_overlap(root: Path) -> None:
    road, car, crowd = (drawn(each) for each in (ROAD, CAR, CROWD))
    assert (road & car).any()
    assert (car & crowd).any()
    code = coco_mask.encode(np.asfortranarray(road.astype(np.uint8)))
    code["counts"] = code["counts"].decode()
    path = write_coco(
        root / "annotations.json", instance(1, 9, code), instance(2, 3, CAR), instance(3, 3, CROWD, crowd=1)
    )
    last = np.where(car, 2, np.where(road, 1, 0))
    first = np.where(road, 1, np.where(car, 2, 0))
    expected = {"last": last, "first": first, "void": np.where(road & car, 255, last)}
    for overlap, labels in expected.items():
        own = dataset(root, path, overlap=overlap)
        assert np.array_equal(np.asarray(own.mask(0)), np.where(crowd, 255, labels))
        assert not np.asarray(own.mask(1)).any()
        assert np.array_equal(np.asarray(own.subset([1, 0]).mask(1)), np.asarray(own.mask(0)))
    assert len({dataset(root, path, overlap=overlap).fingerprint() for overlap in expected}) == 3


def test_pixels_in_no_polygon_are_void_without_a_background(root: Path) -> None:
    path = write_coco(root / "annotations.json", instance(1, 9, ROAD))
    mask = np.asarray(dataset(root, path, class_names=("road", "car")).mask(0))
    assert np.array_equal(mask, np.where(drawn(ROAD), 0, 255))


def test_a_file_for_each_split_lists_its_images(root: Path) -> None:
    write_coco(root / "annotations" / "instances_train.json", instance(1, 9, ROAD))
    path = root / "annotations" / "instances_{split}.json"
    (root / "splits" / "train.txt").unlink()
    assert dataset(root, path).image_ids == ["a", "b"]
    with pytest.raises(NoSuchSplitError, match=r"instances_val\.json: no such file.*'val'"):
        dataset(root, path, "val")
    with pytest.raises(ValueError, match="split_ratio .* would have no effect"):
        FolderDataset(root, "train", 3, EVALUATION, annotations=Annotations(path, NAMES), split_ratio=(0.5, 0.5, 0.0))


def test_categories_and_images_are_checked_by_name(root: Path) -> None:
    path = write_coco(root / "annotations.json", instance(1, 0, ROAD))
    with pytest.raises(DataError, match=r"annotations\.json: the category \"a project's name\" is no class"):
        dataset(root, path)
    write_coco(path, instance(1, 8, ROAD))
    with pytest.raises(DataError, match=r"annotations\.json: the category 8 is no class"):
        dataset(root, path)
    write_coco(path, categories=None)
    assert len(dataset(root, path)) == 2  # without annotations, no category is looked up
    (root / "images" / "c.png").write_bytes((root / "images" / "a.png").read_bytes())
    (root / "splits" / "train.txt").write_text("a\nc\n")
    with pytest.raises(DataError, match=r"annotations\.json: it has no image 'c', but .*train\.txt lists it"):
        dataset(root, path)
    same = [{"id": number, "file_name": f"{number}/a.png", "height": 1, "width": 1} for number in (1, 2)]
    write_coco(path, images=same)
    with pytest.raises(DataError, match="two images with the id 'a'"):
        dataset(root, path)


def test_labelme_s_files_beside_the_images(root: Path) -> None:
    box = [[5, 5], [20, 20]]
    write(root / "images" / "a.json", shape(), shape("car", "rectangle", box), shape("__ignore__", "circle", box))
    write(root / "images" / "b.json")
    picture = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(picture)
    pen.polygon([tuple(point) for point in shape()["points"]], fill=1)
    pen.rectangle((5, 5, 20, 20), fill=2)
    pen.ellipse((5 - 450**0.5, 5 - 450**0.5, 5 + 450**0.5, 5 + 450**0.5), fill=255)
    own = dataset(root, root / "images")
    assert np.array_equal(np.asarray(own.mask(0)), np.asarray(picture))
    assert not np.asarray(own.mask(1)).any()
    write(root / "images" / "b.json", shape("raod"))
    with pytest.raises(DataError, match=r"b\.json: the label 'raod' is no class in class_names.txt; did you mean road"):
        own.mask(1)
    (root / "images" / "b.json").unlink()
    with pytest.raises(DataError, match=r"images/b: no such file, but .*train\.txt lists its id"):
        dataset(root, root / "images")


def test_the_check_names_each_image_of_a_common_file(root: Path) -> None:
    path = write_coco(root / "annotations.json", instance(1, 9, ROAD), images=None)
    record = {"height": HEIGHT, "width": WIDTH}
    images = [{"id": 1, "file_name": "a.png"} | record, {"id": 2, "file_name": "b.png"} | record]
    write_coco(path, instance(1, 9, ROAD), instance(2, 3, [[1, 2]], image=2), images=images)
    splits: dict[str, SegmentationDataset] = {"train": dataset(root, path, class_names=("road", "car"))}
    found = examine(splits, "train", ["road", "car"], published={}, never_labelled=(), num_workers=0)
    texts = [fault.fault for fault in found.faults]
    assert len(texts) == 2
    assert texts[0].startswith(f"{path}: annotation 2 of image b has a polygon of 2 numbers")
    assert texts[1].endswith("class 1 (car) occurs in no mask of split 'train'")
