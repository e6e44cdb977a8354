from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.survey import SAMPLED, Survey, survey

RNG = np.random.default_rng(0)


def write(path: Path, shape: tuple[int, ...], top: int, dtype: Any = np.uint16) -> Path:
    values = RNG.integers(0, top + 1, shape)
    values.flat[0] = top
    if path.suffix == ".tif":
        settings: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"} if len(shape) == 3 else {}
        tifffile.imwrite(path, values.astype(dtype), **settings)
    else:
        Image.fromarray(values.astype(dtype)).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "shape", "top", "dtype", "expected"),
    [
        ("a.jpg", (20, 30, 3), 255, np.uint8, Survey(20, 30, 3, None)),
        ("grey.png", (20, 30), 255, np.uint8, Survey(20, 30, 3, None)),
        ("transparent.png", (20, 30, 4), 255, np.uint8, Survey(20, 30, 3, None)),
        ("grey.tif", (20, 30), 255, np.uint8, Survey(20, 30, 3, None)),
        ("deep.png", (20, 30), 900, np.uint16, Survey(20, 30, 3, "[0, 1023]")),
        ("tile.tif", (20, 30, 4), 4000, np.uint16, Survey(20, 30, 4, "[0, 4095]")),
        ("bytes.tif", (20, 30, 5), 255, np.uint8, Survey(20, 30, 5, None)),
        ("share.tif", (20, 30, 2), 1, np.float32, Survey(20, 30, 2, "[0, 1]")),
    ],
)
def test_images_of_all_kinds(
    name: str, shape: tuple[int, ...], top: int, dtype: Any, expected: Survey, tmp_path: Path
) -> None:
    assert survey([write(tmp_path / name, shape, top, dtype)]) == expected


def test_sizes_are_medians_and_a_range_holds_the_whole_sample(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{side}.tif", (side, 2 * side, 4), 100 * side) for side in (10, 20, 40)]
    assert survey(paths) == Survey(20, 40, 4, "[0, 4095]")


def test_a_sample_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.png", (8, 8), 255, np.uint8)
    read: list[Path] = []

    def note(path: Path) -> Any:
        read.append(path)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr("deeplab_lightning.datasets.survey.values_of", note)
    survey([path] * 1000)
    assert len(read) == SAMPLED


def test_damaged_images_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    good = write(tmp_path / "b.png", (8, 12), 255, np.uint8)
    assert survey([tmp_path / "a.png", good]) == Survey(8, 12, 3, None)
    with pytest.raises(DataError, match=r"a\.png"):
        survey([tmp_path / "a.png"])
