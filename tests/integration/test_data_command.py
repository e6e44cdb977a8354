"""`deeplab data check` and `show` as a user runs them."""

import json
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.__main__ import main
from tests.devkits import VOC_TRAIN, VOC_VAL, write_list
from tests.integration.conftest import ROOT, Run

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
    assert main(["data", "check", "-c", FOLDER, "--root", str(tree)]) == 0
    assert "no faults" in capsys.readouterr().out


def test_every_fault_is_listed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, masks = tree / "JPEGImages", tree / "SegmentationClass"
    (images / "train_00000.jpg").write_bytes(b"")
    Image.fromarray(np.full((48, 64), 37, np.uint8)).save(masks / "train_00001.png")
    Image.new("L", (10, 12)).save(masks / "train_00002.png")
    Image.new("RGB", (64, 48)).save(masks / "val_00000.png")
    (images / "val_00001.jpg").write_bytes((images / "train_00005.jpg").read_bytes())
    write_list(tree / "ImageSets/Segmentation/test.txt", ["test_00000", "train_00007"])
    status, found = check(capsys, "-c", FOLDER, "--root", tree)
    assert status == 1
    by_file = {Path(each["file"]).name: each["fault"] for each in found["faults"]}
    assert set(by_file) == {
        "train_00000.jpg", "train_00001.png", "train_00002.png", "val_00000.png", "val_00001.jpg", "train_00007.jpg"
    }  # fmt: skip
    assert "the same image as" in by_file["val_00001.jpg"]
    assert "in the training split 'train' and in 'test'" in by_file["train_00007.jpg"]
    assert main(["data", "check", "-c", FOLDER, "--root", str(tree)]) == 1
    printed = capsys.readouterr().out
    assert "6 faults" in printed
    assert "mask value 37" in printed


def test_a_list_that_cannot_be_read(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_list(tree / "ImageSets/Segmentation/train.txt", ["train_00001", "train_00001"])
    status, found = check(capsys, "-c", FOLDER, "--root", tree)
    assert status == 1
    assert "the id 'train_00001' is there twice" in found["faults"][0]["fault"]


def test_voc_with_sbd(voc_root: Path, sbd_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(copytree(voc_root, tmp_path / "voc"))
    grey = root / "SegmentationClass" / f"{VOC_TRAIN[0]}.png"
    Image.fromarray(np.asarray(Image.open(grey))).save(grey)
    bare = root / "SegmentationClass" / f"{VOC_VAL[0]}.png"
    mask = Image.new("P", (64, 48))
    mask.putpalette([0, 0, 0])
    mask.save(bare)
    (tmp_path / "sbd.yaml").write_text(f"data: {{init_args: {{sbd_root: {sbd_root}}}}}\n")
    status, found = check(capsys, "-c", VOC, "-c", tmp_path / "sbd.yaml", "--root", root)
    assert status == 1
    assert found["counts"] == {"train_aug": 18, "val": 5}
    faults = [each["fault"] for each in found["faults"]]
    assert any("split 'train_aug' has 18 images, published are 10582" in fault for fault in faults)
    assert any("split 'val' has 5 images, published are 1449" in fault for fault in faults)
    assert any(f"{grey}: VOC's masks are palette PNGs (mode P), this is mode L" in fault for fault in faults)
    assert any(f"{bare}: no void border (255)" in fault for fault in faults)
    assert len(faults) == 4


def test_real_street_scenes(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = check(capsys, "-c", ROOT / "experiments/data/camvid.yaml", "--root", real_data / "camvid")
    assert (status, found["counts"]) == (0, {"train": 367, "val": 101, "test": 233})


def test_show_writes_a_grid(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "grid.png"
    options = ["data", "show", "-c", FOLDER, "--root", str(tree), "--out", str(out)]
    assert main([*options, "--image-id", "train_00003", "train_00001"]) == 0
    with Image.open(out) as picture:
        assert picture.size == (8 * 260 - 4, 2 * 260 - 4)
        tile = np.asarray(picture)[:48, :64].astype(int)
    with Image.open(tree / "JPEGImages" / "train_00003.jpg") as image:
        assert abs(tile - np.asarray(image)).max() == 0
    assert main([*options, "--image-id", "nobody"]) == 1
    assert "the training split has no image nobody" in capsys.readouterr().err


def test_class_names_are_no_markup(
    deeplab: Run, shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(copytree(shapes_root, tmp_path / "data"))
    names = ["[/red]x", "[bold]y", "z\\", *(root / "class_names.txt").read_text().splitlines()[3:]]
    (root / "class_names.txt").write_text("\n".join(names))
    (tmp_path / "data.yaml").write_text(f"data: {{class_path: FolderDataModule, init_args: {{root: {root}}}}}\n")
    assert deeplab("data", "check", "-c", tmp_path / "data.yaml", "--num-workers", "1") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)
