"""`deeplab data check` and `deeplab data show`, run like by a user."""

import json
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.datamodules.folder import FolderDataModule
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.show import TILE
from deeplab_lightning.drawing import GAP, lettering
from tests.devkits import (
    SIZE,
    VOC_TRAIN,
    VOC_VAL,
    annotation,
    scene,
    square,
    write_ade20k,
    write_cityscapes,
    write_coco,
    write_coco_stuff,
    write_list,
    write_pascal_context,
    write_person_part,
)
from tests.integration.conftest import ROOT, Run

COCO = str(ROOT / "experiments" / "data" / "coco91.yaml")
STUFF = str(ROOT / "experiments" / "data" / "coco_stuff10k.yaml")
FOLDER = str(ROOT / "experiments" / "data" / "folder.yaml")
VOC = str(ROOT / "experiments" / "data" / "voc2012_aug.yaml")


@pytest.fixture
def tree(shapes_root: Path, tmp_path: Path) -> Path:
    return Path(copytree(shapes_root, tmp_path / "tree"))


def check(capsys: pytest.CaptureFixture[str], *options: object) -> tuple[int, dict[str, Any]]:
    status = main(["data", "check", *map(str, options), "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_sound_data(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = check(capsys, "-c", FOLDER, "--root", tree)
    assert (status, found["faults"]) == (0, [])
    assert found["counts"] == {"train": 12, "val": 5, "test": 3}
    frequencies = found["class_frequencies"]
    assert sum(row["pixel_share"] for row in frequencies.values()) == pytest.approx(1)
    assert frequencies["background"]["images"] == 12
    images = np.stack([np.asarray(Image.open(path)) for path in sorted((tree / "JPEGImages").glob("train_*"))]) / 255
    np.testing.assert_allclose(found["channels"]["mean"], images.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(found["channels"]["std"], images.std((0, 1, 2)), atol=1e-4)
    assert main(["data", "check", "-c", FOLDER, "--root", str(tree)]) == 0
    assert "no faults" in capsys.readouterr().out


PLANTED = {
    "JPEGImages/train_00000.jpg": "cannot be read as an image (image file is truncated",
    "JPEGImages/train_00001.jpg": "cannot be read as an image",
    "SegmentationClass/train_00002": "no such file, but",
    "JPEGImages/train_00003": "no such file, but",
    "SegmentationClass/train_00004.png": "the mask is 10x12",
    "SegmentationClass/train_00005.png": "mask value 37 is outside the 9 classes",
    "SegmentationClass/train_00006.png": "the mask is in mode RGB",
    "SegmentationClass/train_00007.png": "mask value 300 is outside",
    "SegmentationClass/train_00008.png": "void everywhere",
    "JPEGImages/train_00010.jpg": "in the training split 'train' and in 'val'",
    "JPEGImages/train_00011.png": "train_00011.jpg",
    "SegmentationClass/val_00000.png": "cannot be read as an image",
    "JPEGImages/val_00001.jpg": "the same image as",
    "JPEGImages/val_00002.jpg": "cannot be read as an image",
    "ImageSets/Segmentation/train.txt": "line 13: the id 'train_00000'",
    "ImageSets/Segmentation/train.txt ": "line 14: '../elsewhere'",
    "ImageSets/Segmentation/val.txt": "line 7: 'val_00004.jpg'",
    "ImageSets/Segmentation/test.txt": "it lists no ids",
    "class_names.txt": "class 8 ([/red]unicorn) occurs in no mask of split 'train'",
}


def plant(root: Path) -> None:
    images, masks, lists = root / "JPEGImages", root / "SegmentationClass", root / "ImageSets" / "Segmentation"
    whole = (images / "train_00000.jpg").read_bytes()
    (images / "train_00000.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "train_00001.jpg").write_bytes(b"")
    (masks / "train_00002.png").unlink()
    (images / "train_00003.jpg").unlink()
    Image.new("L", (10, 12)).save(masks / "train_00004.png")
    Image.new("L", (64, 48), 37).save(masks / "train_00005.png")
    Image.new("RGB", (64, 48)).save(masks / "train_00006.png")
    Image.fromarray(np.full((48, 64), 300, np.uint16)).save(masks / "train_00007.png")
    Image.new("L", (64, 48), 255).save(masks / "train_00008.png")
    Image.new("RGB", (64, 48)).save(images / "train_00011.png")
    (masks / "val_00000.png").write_bytes(b"")
    (images / "val_00001.jpg").write_bytes((images / "train_00009.jpg").read_bytes())
    (images / "val_00002.jpg").write_text("<html>404")
    train, val = ([f"{split}_{number:05d}" for number in range(count)] for split, count in (("train", 12), ("val", 5)))
    write_list(lists / "train.txt", [*train, "train_00000", "../elsewhere"])
    write_list(lists / "val.txt", [*val, "train_00010", "val_00004.jpg"])
    write_list(lists / "test.txt", [])
    with (root / "class_names.txt").open("a") as file:
        file.write("[/red]unicorn\n")


def test_every_fault_of_every_split_is_found_in_one_run(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(tree)
    status, found = check(capsys, "-c", FOLDER, "--root", tree)
    assert status == 1
    assert found["counts"] == {"train": 12, "val": 6}
    for file, fault in PLANTED.items():
        (text,) = [each["fault"] for each in found["faults"] if fault in each["fault"]
                   and each["file"] == str(tree / file.rstrip())]  # fmt: skip
        assert text.startswith(str(tree / file.rstrip()))
    assert len(found["faults"]) == len(PLANTED)
    assert check(capsys, "-c", FOLDER, "--root", tree) == (status, found)  # in the same order


def test_faults_are_printed_one_per_line_and_counted(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(tree)
    assert main(["data", "check", "-c", FOLDER, "--root", str(tree)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{len(PLANTED)} faults"
    assert any("│ [/red]unicorn " in line for line in lines)
    assert f"{tree}/SegmentationClass/train_00005.png: mask value 37" in "\n".join(lines)
    assert max(len(line) for line in lines if "/" not in line) <= 80


def test_a_single_fault_is_counted_in_the_singular(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "ImageSets/Segmentation/val.txt").unlink()
    assert main(["data", "check", "-c", FOLDER, "--root", str(tree)]) == 1
    out = capsys.readouterr().out
    assert "val.txt: no such file" in out
    assert out.splitlines()[0].startswith("images: train 12 (")
    assert out.splitlines()[-1] == "1 fault"


def test_a_class_file_that_cannot_be_read_is_a_fault(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "class_names.txt").unlink()
    status, found = check(capsys, "-c", FOLDER, "--root", tree)
    assert (status, found["counts"]) == (1, {})
    assert [each["file"] for each in found["faults"]] == [str(tree / "class_names.txt")]
    _, found = check(capsys, "-c", FOLDER, "--root", tree / "nowhere")
    assert "nowhere' does not exist" in found["faults"][0]["fault"]


def test_splits_are_checked_without_a_training_split(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "ImageSets/Segmentation/train.txt").unlink()
    (tree / "JPEGImages/val_00001.jpg").write_bytes(b"")
    _, found = check(capsys, "-c", FOLDER, "--root", tree)
    assert [Path(each["file"]).name for each in found["faults"]] == ["train.txt", "val_00001.jpg"]


def test_the_default_test_split_is_optional_but_a_configured_one_is_not(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "ImageSets/Segmentation/test.txt").unlink()
    assert check(capsys, "-c", FOLDER, "--root", tree)[0] == 0
    _, found = check(capsys, "-c", FOLDER, "--root", tree, "--data.val_split", "val2", "--data.test_split", "val2")
    assert ["val2.txt: no such file" in each["fault"] for each in found["faults"]] == [True]


def test_training_still_refuses_the_first_fault(tree: Path) -> None:
    plant(tree)
    with pytest.raises(DataError, match="the id 'train_00000'"):
        FolderDataModule(str(tree)).train_dataloader()


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Plain folders without lists: eight images whose masks hold 0 for background and 255 for the only class."""
    root = tmp_path / "plain"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(8):
        image, labels = scene(number)
        image.save(root / "images" / f"{number}.jpg")
        Image.fromarray(np.where(labels % 255 > 0, 255, 0).astype(np.uint8)).save(root / "masks" / f"{number}.png")
    (root / "class_names.txt").write_text("background\ncrack\n")
    return root


RATIO = ("--data.split_ratio", "[0.5,0.5,0]")


def test_masks_of_0_and_255_have_only_one_class(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = check(capsys, "-c", FOLDER, "--root", plain, *RATIO)
    assert (status, found["counts"]) == (1, {"train": 4, "val": 4})
    (fault,) = found["faults"]
    assert fault["file"] == str(plain / "class_names.txt")
    assert "class 1 (crack) occurs in no mask of split 'train'; 255 is read as void" in fault["fault"]
    (plain / "class_names.txt").write_text("background = 0\ncrack = 255\n")
    status, found = check(capsys, "-c", FOLDER, "--root", plain, *RATIO)
    assert (status, found["faults"]) == (0, [])
    assert found["class_frequencies"]["crack"]["images"] == 4
    assert found["void_shares"] == {"train": 0, "val": 0}


def test_what_can_be_mended_is_mended(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (plain / "class_names.txt").unlink()
    status, found = check(capsys, "-c", FOLDER, "--root", plain, "--data.val_split", "train")
    assert (status, len(found["faults"]), "fixed" in found) == (1, 1, False)
    status, found = check(capsys, "-c", FOLDER, "--root", plain, "--data.val_split", "train", "--fix")
    assert (status, found["faults"]) == (0, [])
    assert [sentence.partition(":")[0] for sentence in found["fixed"]] == [
        f"{plain}/class_names.txt",
        f"{plain}/splits",
    ]
    assert FolderDataModule(str(plain)).class_names == ["background", "foreground"]
    assert main(["data", "check", "-c", FOLDER, "--root", str(plain), "--fix"]) == 0
    assert capsys.readouterr().out.startswith("images: train 6 (")
    (plain / "class_names.txt").write_text("background\ncrack\n")
    (plain / "masks" / "0.png").write_bytes(b"")
    status, found = check(capsys, "-c", FOLDER, "--root", plain, "--fix")
    assert status == 1
    assert "0.png" in found["fixed"][0]
    assert main(["data", "check", "-c", VOC, "--root", str(plain), "--fix"]) == 2
    assert "--fix is for folders of your own" in capsys.readouterr().err


def test_too_much_void_is_a_fault_unless_the_class_file_declares_void(
    plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.full((48, 64), 255, np.uint8)
    labels[0, :20] = np.arange(20) % 2
    for path in (plain / "masks").iterdir():
        Image.fromarray(labels).save(path)
    _, found = check(capsys, "-c", FOLDER, "--root", plain, *RATIO)
    assert [each["fault"].partition("; 255 is read as void")[0] for each in found["faults"]] == [
        f"{plain}/masks: 99.3% of the pixels of split '{split}' are void, more than 50%" for split in ("train", "val")
    ]
    (plain / "class_names.txt").write_text("background = 0\ncrack = 1\nvoid = 255\n")
    assert check(capsys, "-c", FOLDER, "--root", plain, *RATIO)[0] == 0


def test_plain_folders_with_a_ratio_are_shown(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "grid.png"
    assert main(["data", "show", "-c", FOLDER, "--root", str(plain), "--out", str(out), *RATIO]) == 0
    assert out.is_file()
    assert main(["data", "show", "-c", FOLDER, "--root", str(plain), "--out", str(out)]) == 1
    assert "splits: no such folder; put lists of ids there" in capsys.readouterr().err


def test_settings_other_than_the_data_s_are_refused(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--split_ratio", "1"], ["stray"]):
        assert main(["data", "check", "-c", FOLDER, *options]) == 2
        assert f"unrecognized arguments: {options[0]}" in capsys.readouterr().err
    assert main(["data", "check", "-c", FOLDER, "--root", str(plain), "--data.split_ration", "1"]) == 2
    assert "split_ration" in capsys.readouterr().err
    assert main(["data", "check", "-c", FOLDER, "--root", str(plain), "--data.batch_size", "0"]) == 1
    assert capsys.readouterr().err == "deeplab: error: batch sizes must be at least 1, got 0 and 1\n"


def test_every_fault_of_coco(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = {"segmentation": [[1, 1, 5, 5]]}
    person = [annotation(number, number, 1, [square(2, 2, 20)]) for number in (1, 2, 3)]
    root = write_coco(tmp_path / "coco", {
        "train2017": [*person, annotation(7, 77, 1, [square(2, 2, 20)]), annotation(8, 4, 1, **line)],
        "val2017": person,
    })  # fmt: skip
    (root / "train2017" / "000000000002.jpg").unlink()
    (root / "val2017" / "000000000003.jpg").write_bytes(b"")
    status, found = check(capsys, "-c", COCO, "--root", root, "--data.classes", "coco91")
    assert status == 1
    faults = "\n".join(each["fault"] for each in found["faults"])
    for fault in ("annotation 7 names image 77", "train2017/000000000002: no such file", "has a polygon of 4 numbers",
                  "val2017/000000000003.jpg: cannot be read", "has 4 images, but the published number is 118287",
                  "annotations: classes 2 (bicycle), 3 (car), 4 (motorcycle)"):  # fmt: skip
        assert faults.count(fault) == 1, fault
    assert "toothbrush" in faults
    assert "street sign" not in faults  # COCO never labels it


def test_every_fault_of_coco_stuff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_coco_stuff(tmp_path / "stuff")
    (root / "annotations" / "a1.mat").unlink()
    (root / "images" / "a2.jpg").write_bytes(b"")
    (root / "annotations" / "b1.mat").write_bytes(b"")
    _, found = check(capsys, "-c", STUFF, "--root", root)
    b1 = "images/b1.jpg"  # the same image as a1
    files = [each["file"].removeprefix(f"{root}/") for each in found["faults"]]
    assert files == ["annotations/a1", str(root), "images/a2.jpg", "annotations", str(root), "annotations/b1.mat", b1]
    absent = found["faults"][3]["fault"]
    assert "book" in absent
    assert "hair brush" not in absent  # it has an id, but is never labelled


def test_a_list_that_cannot_be_read(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_list(tree / "ImageSets/Segmentation/train.txt", ["train_00001", "train_00001"])
    status, found = check(capsys, "-c", FOLDER, "--root", tree)
    assert status == 1
    assert "the id 'train_00001'" in found["faults"][0]["fault"]


def test_voc_with_sbd(voc_root: Path, sbd_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(copytree(voc_root, tmp_path / "voc"))
    grey = root / "SegmentationClass" / f"{VOC_TRAIN[0]}.png"
    Image.fromarray(np.asarray(Image.open(grey))).save(grey)
    bare = root / "SegmentationClass" / f"{VOC_VAL[0]}.png"
    mask = Image.new("P", (64, 48))
    mask.putpalette([0, 0, 0])
    mask.save(bare)
    missing = root / "SegmentationClass" / VOC_TRAIN[1]
    missing.with_suffix(".png").unlink()
    (tmp_path / "sbd.yaml").write_text(f"data: {{init_args: {{sbd_root: {sbd_root}}}}}\n")
    status, found = check(capsys, "-c", VOC, "-c", tmp_path / "sbd.yaml", "--root", root)
    assert status == 1
    assert found["counts"] == {"train_aug": 18, "val": 5}
    faults = [each["fault"] for each in found["faults"]]
    assert any("split 'train_aug' has 18 images, but the published number is 10582" in fault for fault in faults)
    assert any("split 'val' has 5 images, but the published number is 1449" in fault for fault in faults)
    assert any(f"{grey}: VOC's masks are palette PNGs (mode P), but this one is in mode L" in fault for fault in faults)
    assert any(f"{bare}: no void border (255)" in fault for fault in faults)
    assert any(f"{missing}: no such file; SBD" in fault for fault in faults)
    assert any(f"{root}/SegmentationClass: classes 3 (bird), " in fault for fault in faults)
    assert len(faults) == 6


def test_real_street_scenes(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = check(capsys, "-c", ROOT / "experiments/data/camvid.yaml", "--root", real_data / "camvid")
    assert (status, found["counts"]) == (0, {"train": 367, "val": 101, "test": 233})


def test_show_writes_a_grid(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "grid.png"
    options = ["data", "show", "-c", FOLDER, "--root", str(tree), "--out", str(out)]
    assert main([*options, "--image-id", "train_00003", "train_00001"]) == 0
    with Image.open(out) as picture:
        assert picture.width == 8 * (TILE + GAP) - GAP
        line = lettering(picture.width).line
        tile = np.asarray(picture)[line : line + 4 * 48 : 4, : 4 * 64 : 4].astype(int)  # enlarged four times
    with Image.open(tree / "JPEGImages" / "train_00003.jpg") as image:
        assert abs(tile - np.asarray(image)).max() == 0
    assert main([*options, "--image-id", "nobody"]) == 1
    assert "the training split has no image nobody" in capsys.readouterr().err


def test_class_names_are_not_read_as_markup(
    deeplab: Run, shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(copytree(shapes_root, tmp_path / "data"))
    names = ["[/red]x", "[bold]y", "z\\", *(root / "class_names.txt").read_text().splitlines()[3:]]
    (root / "class_names.txt").write_text("\n".join(names))
    (tmp_path / "data.yaml").write_text(f"data: {{class_path: FolderDataModule, init_args: {{root: {root}}}}}\n")
    assert deeplab("data", "check", "-c", tmp_path / "data.yaml", "--num-workers", "1") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)


DATA = ROOT / "experiments" / "data"


@pytest.mark.parametrize(
    ("name", "counts", "published"),
    [
        ("cityscapes", {"train": 8, "val": 4}, {"train": 2975, "val": 500}),
        ("ade20k", {"training": 4, "validation": 2}, {"training": 20210, "validation": 2000}),
        ("pascal_context", {"train": 4, "val": 2}, {"train": 4998, "val": 5105}),
        ("person_part", {"train": 3, "val": 2}, {"train": 1716, "val": 1817}),
    ],
)
def test_benchmarks_are_compared_with_their_published_numbers(
    name: str,
    counts: dict[str, int],
    published: dict[str, int],
    voc_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options: list[object] = ["-c", DATA / f"{name}.yaml"]
    if name == "cityscapes":
        options += ["--root", write_cityscapes(tmp_path / name), "--data.image_size", str(list(SIZE))]
    elif name == "ade20k":
        options += ["--root", write_ade20k(tmp_path / name)]
    elif name == "pascal_context":
        options += ["--data.label_root", write_pascal_context(tmp_path / "VOC2010"), "--root", tmp_path / "VOC2010"]
    else:
        labels = write_person_part(tmp_path / name, voc_root)
        options = ["-c", DATA / f"{name}.yaml", "--root", voc_root, "--data.label_root", labels]
    status, found = check(capsys, *options, "--num-workers", "1")
    assert (status, found["counts"]) == (1, counts)
    faults = [each["fault"] for each in found["faults"]]
    for split, number in published.items():
        assert any(f"split {split!r} has {counts[split]} images" in fault and str(number) in fault for fault in faults)
    assert not [fault for fault in faults if "published number" not in fault and "occur" not in fault
                and "the same image as" not in fault]  # fmt: skip


def test_images_of_another_size_than_cityscapes_are_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_cityscapes(tmp_path / "cityscapes")
    _, found = check(capsys, "-c", DATA / "cityscapes.yaml", "--root", root, "--num-workers", "1")
    wrong = [
        Path(each["file"]).name for each in found["faults"] if "64x48" in each["fault"] and "2048x1024" in each["fault"]
    ]
    assert len(set(wrong)) == 12
    assert "aachen_000003_000019_gtFine_labelIds.png" in wrong


def test_show_draws_cityscapes_in_its_own_colours(tmp_path: Path) -> None:
    root, out = write_cityscapes(tmp_path / "cityscapes"), tmp_path / "samples.png"
    options = [
        "--root",
        str(root),
        "--data.image_size",
        str(list(SIZE)),
        "--data.crop_size",
        "[32, 40]",
        "--out",
        str(out),
    ]
    assert main(["data", "show", "-c", str(DATA / "cityscapes.yaml"), *options]) == 0
    with Image.open(out) as picture:
        shown = np.asarray(picture)
    for color in ((128, 64, 128), (220, 20, 60), (0, 0, 142)):  # road, person, car
        assert (shown == color).all(-1).any(), color
