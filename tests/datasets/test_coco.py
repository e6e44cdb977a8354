"""COCO as semantic masks, and the names and ids of coco_names.py compared with the real annotations."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from deeplab_lightning.datasets.coco import Classes, COCODataset, class_names, class_of_category
from deeplab_lightning.datasets.transforms import EvaluationTransform
from tests.devkits import annotation, square, write_coco

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)
PERSON, DOG, TRUCK = 1, 18, 8
CROWD = {"size": [60, 80], "counts": [0, 60 * 10, 60 * 70]}  # columns 0 to 9


@pytest.fixture
def overlapping(tmp_path: Path) -> Path:
    """COCO with annotations of image 1 only: a dog in front of a person, a truck, a crowd, a dog in the crowd."""
    own = [
        annotation(1, 1, DOG, [square(20, 10, 20)]),
        annotation(2, 1, PERSON, [square(30, 20, 20)]),
        annotation(3, 1, TRUCK, [square(60, 5, 10)]),
        annotation(4, 1, PERSON, CROWD, iscrowd=1),
        annotation(5, 1, DOG, [square(5, 5, 10)]),
    ]
    return write_coco(tmp_path / "coco", {"train2017": own})


def labels(root: Path, **settings: object) -> np.ndarray:
    return np.asarray(COCODataset(root, "train2017", EVALUATION, **settings).mask(0))  # type: ignore[arg-type]


def test_overlaps(overlapping: Path) -> None:
    dog, person = class_names("voc21").index("dog"), class_names("voc21").index("person")
    for overlap, common in (("void", 255), ("first", dog)):
        found = labels(overlapping, overlap=overlap)
        assert found[15, 25] == dog
        assert found[35, 45] == person
        assert found[25, 35] == common  # both
        assert found[8, 65] == 0  # a truck is background
        assert (found[:, :10] == 255).all()  # the crowd, including the dog in it
        assert found[10, 12] == dog
        assert found[55, 75] == 0


def test_class_sets(overlapping: Path) -> None:
    assert labels(overlapping, classes="coco81")[8, 65] == 8
    assert labels(overlapping, classes="coco91")[8, 65] == TRUCK
    assert class_names("coco91")[TRUCK] == "truck"
    assert [len(class_names(name)) for name in ("voc21", "coco81", "coco91")] == [21, 81, 91]
    assert class_names("coco91")[90] == class_names("coco81")[80] == "toothbrush"
    torchvision_list = [0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72]
    assert class_of_category("voc21") == {category: index for index, category in enumerate(torchvision_list) if index}


def test_an_image_without_annotations_is_background(overlapping: Path) -> None:
    dataset = COCODataset(overlapping, "train2017", EVALUATION)
    assert len(dataset) == 4
    assert (dataset[1]["mask"] == 0).all()
    assert dataset[1]["image_id"] == "000000000002"


def test_annotated_area_counts_the_chosen_classes(overlapping: Path) -> None:
    dataset = COCODataset(overlapping, "train2017", EVALUATION)
    assert dataset.annotated_area(0) == 400  # of five annotations, one is a truck's
    assert dataset.annotated_area(1) == 0


def test_names_are_those_of_the_annotations(real_data: Path) -> None:
    api = COCO(real_data / "coco_samples" / "annotations" / "instances_val2017.json")
    names = {category["id"]: category["name"] for category in api.loadCats(api.getCatIds())}
    assert len(names) == 80
    assert {index: class_names("coco91")[index] for index in names} == names
    assert class_names("coco81")[1:] == [names[index] for index in sorted(names)]


@pytest.mark.parametrize(("split", "classes"), [("val2017", "voc21"), ("val2017", "coco81"), ("train2017", "coco91")])
def test_real_masks_equal_an_independent_rasterisation(real_data: Path, split: str, classes: Classes) -> None:
    """The reference uses pycocotools' own reader and rasteriser, one instance at a time."""
    root = real_data / "coco_samples"
    api = COCO(root / "annotations" / f"instances_{split}.json")
    order = class_of_category(classes)
    void, first = (COCODataset(root, split, EVALUATION, classes, rule) for rule in ("void", "first"))
    assert len(void) == {"train2017": 36, "val2017": 24}[split]
    crowds = 0
    for index, image_id in enumerate(void.image_ids):
        record = api.loadImgs(int(image_id))[0]
        shape = (record["height"], record["width"])
        expected_void, expected_first = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        covered = np.zeros(shape, int)
        crowd = np.zeros(shape, bool)
        for each in api.loadAnns(api.getAnnIds(imgIds=[int(image_id)])):
            if each["category_id"] not in order:
                continue
            region = api.annToMask(each).astype(bool)
            if each["iscrowd"]:
                crowd |= region
                crowds += 1
                continue
            covered[region] += 1
            expected_void = np.maximum(expected_void, region * np.uint8(order[each["category_id"]]))
            expected_first = np.where(region & (expected_first == 0), order[each["category_id"]], expected_first)
        expected_void[covered > 1] = 255
        expected_void[crowd] = expected_first[crowd] = 255
        assert np.array_equal(np.asarray(void.mask(index)), expected_void)
        assert np.array_equal(np.asarray(first.mask(index)), expected_first)
        image, mask = void.pair(index)
        assert image.shape[:2] == (mask.height, mask.width) == shape
    assert crowds > 0


def test_run_length_codes(tmp_path: Path) -> None:
    """The compressed and the plain run-length code of a region give the same mask."""
    region = np.zeros((60, 80), np.uint8, order="F")
    region[10:30, 20:50] = 1
    packed = coco_mask.encode(region)
    packed["counts"] = packed["counts"].decode()
    flat = region.ravel(order="F")
    plain = {"size": [60, 80], "counts": [len(run) for run in np.split(flat, np.flatnonzero(np.diff(flat)) + 1)]}
    annotations = [annotation(1, 1, DOG, packed), annotation(2, 2, DOG, plain)]
    dataset = COCODataset(write_coco(tmp_path / "coco", {"val2017": annotations}), "val2017", EVALUATION)
    assert np.array_equal(np.asarray(dataset.mask(0)), region * 12)
    assert np.array_equal(np.asarray(dataset.mask(1)), region * 12)


def test_the_fingerprint_depends_on_the_settings(overlapping: Path) -> None:
    prints = [
        COCODataset(overlapping, "train2017", EVALUATION, classes, overlap).fingerprint()  # type: ignore[arg-type]
        for classes, overlap in (("voc21", "void"), ("voc21", "void"), ("voc21", "first"), ("coco81", "void"))
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_an_empty_image_folder_is_named(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "coco", {})
    for path in (root / "val2017").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"val2017/000000000001: no such file, but .*instances_val2017.json"):
        COCODataset(root, "val2017", EVALUATION)
