import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image

from deeplab_lightning.datasets.shapes import CLASS_NAMES, generate, render


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    generate(tmp_path / "a", {"train": 3, "val": 2}, (32, 40), seed=5)
    generate(tmp_path / "b", {"train": 3, "val": 2}, (32, 40), seed=5)
    generate(tmp_path / "c", {"train": 3, "val": 2}, (32, 40), seed=6)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
    assert len(digest(tmp_path / "a")) == 2 * 5 + 2 + 2


def test_it_is_a_voc_tree(shapes_root: Path) -> None:
    assert (shapes_root / "class_names.txt").read_text().split() == list(CLASS_NAMES)
    for name, mode in (("SegmentationClass/train_00000.png", "P"), ("JPEGImages/train_00000.jpg", "RGB")):
        with Image.open(shapes_root / name) as picture:
            assert (picture.mode, picture.size) == (mode, (64, 48))


def test_all_classes_occur_with_borders_between_objects() -> None:
    seen: set[int] = set()
    for seed in range(40):
        image, mask = render(default_rng(seed), 96, 128)
        labels = np.asarray(mask)
        seen |= set(np.unique(labels).tolist())
        assert image.size == (128, 96)
        for here, there in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
            meeting = (here != there) & (here != 255) & (there != 255)
            assert not meeting.any()  # no two classes touch: void lies between them
    assert seen == {*range(len(CLASS_NAMES)), 255}


def test_void_border_grows_with_its_width() -> None:
    share = [np.mean(np.asarray(render(default_rng(1), 96, 96, width)[1]) == 255) for width in (0, 1, 2)]
    assert share[0] == 0 < share[1] < share[2] < 0.4


def test_a_finished_split_is_kept_and_an_interrupted_one_is_generated_again(tmp_path: Path) -> None:
    generate(tmp_path, {"val": 2}, (32, 32))
    before = digest(tmp_path)
    (tmp_path / "ImageSets/Segmentation/val.txt").unlink()
    (tmp_path / "JPEGImages/val_00001.jpg").write_bytes(b"half")
    generate(tmp_path, {"val": 2}, (32, 32))
    assert digest(tmp_path) == before
    mark = tmp_path / "JPEGImages/val_00000.jpg"
    mark.write_bytes(b"kept")
    generate(tmp_path, {"val": 2}, (32, 32))
    assert mark.read_bytes() == b"kept"


def test_a_tree_with_other_settings_is_refused(tmp_path: Path) -> None:
    generate(tmp_path, {"val": 2}, (32, 32))
    with pytest.raises(ValueError, match=f"{tmp_path} holds .*data.root"):
        generate(tmp_path, {"val": 3}, (32, 32))
    (tmp_path / "shapes.json").write_text("")
    with pytest.raises(ValueError, match=f"^{tmp_path}/shapes.json: .*damaged"):
        generate(tmp_path, {"val": 2}, (32, 32))


@pytest.mark.parametrize("arguments", [({}, (64, 64)), ({"train": 0}, (64, 64)), ({"train": 1}, (8, 64))])
def test_invalid_settings(tmp_path: Path, arguments: tuple[dict[str, int], tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="Shapes needs"):
        generate(tmp_path, *arguments)
