from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.datasets.doctor import Findings, examine
from deeplab_lightning.datasets.faults import Fault
from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.datasets.transforms import EvaluationTransform
from tests.devkits import write_list

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)


def examined(root: Path, splits: Sequence[str], train: str = "train") -> Findings:
    """The findings for a tree of plain images whose masks hold both classes."""
    read: dict[str, SegmentationDataset] = {name: FolderDataset(root, name, 2, EVALUATION) for name in splits}
    return examine(read, train, ["one", "two"], published={}, never_labelled=(), num_workers=0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        Image.new("RGB", (4, 6), (number, 0, 0)).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(np.arange(24, dtype=np.uint8).reshape(6, 4) % 2).save(tmp_path / "masks" / f"{number}.png")
    lists = {"train": "012", "val": "3", "trainval": "0123", "pretrain": "0123"}
    for split, image_ids in lists.items():
        write_list(tmp_path / "splits" / f"{split}.txt", list(image_ids))
    return tmp_path


def test_images_are_compared_by_their_rgb_pixels(root: Path) -> None:
    """Equal stored bytes may mean different images, through a palette or another shape."""
    assert examined(root, ("train", "val")).faults == []
    for number, colors in enumerate(([9, 9, 9], [8, 8, 8])):
        palette = Image.new("P", (4, 6))
        palette.putpalette(colors)
        palette.save(root / "images" / f"{number}.png")
    Image.new("RGB", (6, 4), (9, 9, 9)).save(root / "images" / "2.png")
    Image.new("L", (6, 4), 1).save(root / "masks" / "2.png")
    assert examined(root, ("train", "val")).faults == []
    Image.new("L", (4, 6), 9).save(root / "images" / "3.png")  # the grey of 0.png
    (fault,) = examined(root, ("train", "val")).faults
    assert fault.file == str(root / "images" / "3.png")
    assert f"{root}/images/0.png, " in fault.fault
    assert "'train'" in fault.fault
    assert "'val'" in fault.fault


def test_only_trainval_may_hold_other_splits(root: Path) -> None:
    assert examined(root, ("trainval", "val"), "trainval").faults == []
    (fault,) = examined(root, ("pretrain", "val"), "pretrain").faults
    assert "3.png: in the training split 'pretrain' and in 'val'" in fault.fault
    assert len(examined(root, ("pretrain", "train"), "pretrain").faults) == 3


def test_an_unexpected_error_does_not_end_the_check(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mask(dataset: FolderDataset, index: int) -> Image.Image:
        raise OverflowError("beyond")

    monkeypatch.setattr(FolderDataset, "mask", mask)
    faults = examined(root, ("train", "val")).faults
    assert faults[0] == Fault(f"{root}/masks/0.png", f"{root}/masks/0.png: cannot be read (OverflowError: beyond)")
    assert len(faults) == 4 + 1  # four unreadable masks, and no class occurs
