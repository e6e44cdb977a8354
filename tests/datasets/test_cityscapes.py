from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.datasets.cityscapes import CLASS_NAMES, LABEL_IDS, NUM_IMAGES, SPLITS, CityscapesDataset
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.transforms import EvaluationTransform
from tests.devkits import SIZE, save_png, write_cityscapes

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cityscapes(tmp_path_factory.mktemp("data") / "cityscapes")


def test_ids_are_the_official_ones() -> None:
    """cityscapesScripts' helpers/labels.py: the labels whose ignoreInEval is false, in the order of their train ids."""
    assert dict(zip(CLASS_NAMES, LABEL_IDS, strict=True)) == {
        "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
        "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
        "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
    }  # fmt: skip
    assert set(NUM_IMAGES) == set(SPLITS)


def test_label_ids_become_classes(root: Path) -> None:
    dataset = CityscapesDataset(root, "train", EVALUATION, SIZE)
    assert dataset.image_ids[0] == "aachen_000000_000019"
    mask = np.asarray(dataset.mask(0))
    assert mask[0, ::8].tolist() == [0, 11, 255, 255, 18, 255, 13, 2]
    assert (mask == mask[0]).all()
    assert dataset[1]["mask"][5, :8].tolist() == [11] * 8


def test_every_8_bit_value_is_a_class_or_void(tmp_path: Path) -> None:
    root = tmp_path / "cityscapes"
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    save_png(Image.new("RGB", (16, 16)), root / "leftImg8bit/val/x/x_000000_000019_leftImg8bit.png")
    save_png(Image.fromarray(values), root / "gtFine/val/x/x_000000_000019_gtFine_labelIds.png")
    mask = np.asarray(CityscapesDataset(root, "val", EVALUATION, None).mask(0)).ravel()
    assert [int(mask[label]) for label in LABEL_IDS] == list(range(19))
    assert (np.delete(mask, LABEL_IDS) == 255).all()


@pytest.mark.parametrize(
    ("split", "count", "folder"),
    [
        ("train", 8, "gtFine"), ("val", 4, "gtFine"), ("trainval", 12, "gtFine"), ("train_coarse", 8, "gtCoarse"),
        ("train_extra", 2, "gtCoarse"), ("trainval_extra", 14, "gtCoarse"),
    ],
)  # fmt: skip
def test_splits(root: Path, split: str, count: int, folder: str) -> None:
    dataset = CityscapesDataset(root, split, EVALUATION, SIZE)
    assert len(dataset) == len(set(dataset.image_ids)) == count
    assert dataset.mask_files[-1].relative_to(root).parts[0] == folder
    for image_id, image, mask in zip(dataset.image_ids, dataset.images, dataset.mask_files, strict=True):
        assert image.name == f"{image_id}_leftImg8bit.png"
        assert mask.name.startswith(f"{image_id}_gt")


def test_the_borders_of_the_test_split_are_no_masks(root: Path) -> None:
    dataset = CityscapesDataset(root, "test", EVALUATION, SIZE)
    assert not dataset.has_masks
    assert np.asarray(dataset.mask(0)).shape == SIZE
    assert (np.asarray(dataset.mask(0)) == 255).all()


def test_the_black_image_is_left_out(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path / "cityscapes")
    for kind, end in (("leftImg8bit", "leftImg8bit.png"), ("gtCoarse", "gtCoarse_labelIds.png")):
        folder = root / kind / "train_extra" / "troisdorf"
        (folder / f"troisdorf_000001_000019_{end}").rename(folder / f"troisdorf_000000_000073_{end}")
    assert CityscapesDataset(root, "train_extra", EVALUATION, SIZE).image_ids == ["troisdorf_000000_000019"]


def test_half_resolution(root: Path) -> None:
    whole, half = (CityscapesDataset(root, "val", EVALUATION, SIZE, half=half) for half in (False, True))
    image, mask = half.pair(0)
    assert image.shape[:2] == (mask.height, mask.width) == (SIZE[0] // 2, SIZE[1] // 2)
    assert np.array_equal(np.asarray(mask), np.asarray(whole.mask(0))[::2, ::2])
    corner = np.asarray(whole.pair(0)[0], np.float64)[:2, :2].mean((0, 1))
    assert np.asarray(image)[0, 0] == pytest.approx(corner, abs=0.51)


def test_another_size_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="is 64x48, but Cityscapes has 2048x1024"):
        CityscapesDataset(root, "val", EVALUATION).mask(0)


def test_colours_instead_of_ids_are_refused(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path / "cityscapes")
    dataset = CityscapesDataset(root, "val", EVALUATION, SIZE)
    Image.new("RGB", SIZE[::-1]).save(dataset.mask_files[2])
    with pytest.raises(DataError, match=r"lindau_000002_000019_gtFine_labelIds\.png: .*mode RGB"):
        dataset.mask(2)


def test_missing_files(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"leftImg8bit/train: it holds no files"):
        CityscapesDataset(tmp_path, "train", EVALUATION)
    other = write_cityscapes(tmp_path / "other")
    CityscapesDataset(other, "val", EVALUATION, SIZE).mask_files[1].unlink()
    with pytest.raises(DataError, match="gtFine/val/lindau_000001_000019: no such file"):
        CityscapesDataset(other, "val", EVALUATION, SIZE)
