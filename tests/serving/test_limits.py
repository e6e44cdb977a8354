from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import nn

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.serving.limits import Deadline, Limits

LIMITS = Limits(megabytes=0.01, megapixels=1)


def test_a_file_within_the_limits_passes(tmp_path: Path) -> None:
    Image.new("L", (1000, 1000)).save(tmp_path / "a.png")
    LIMITS.check_file(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["bomb.png", "bomb.tif", "pages.tif"])
def test_pixels_are_counted_before_they_are_decoded(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "bomb.png":
        Image.new("1", (1001, 1000)).save(path)
        path.write_bytes(path.read_bytes()[:60])  # the header alone: decoding it would be another error
    else:
        shape = (1001, 1000) if name == "bomb.tif" else (3, 600, 600)
        tifffile.imwrite(path, np.zeros(shape, np.uint8), compression="zlib", photometric="minisblack")
    with pytest.raises(DataError, match=r"1\.[01] million"):
        LIMITS.check_file(path)


def test_bytes_are_counted(tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(bytes(10_001))
    with pytest.raises(DataError, match=r"0\.01"):
        LIMITS.check_file(tmp_path / "large.jpg")


@pytest.mark.parametrize("content", [b"no picture", b"", b"II*\0 no TIFF", None])
def test_what_is_no_picture_is_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        LIMITS.check_file(path)


@pytest.mark.parametrize("name", ["megabytes", "megapixels", "seconds", "waiting"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_is_above_zero(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: value})  # type: ignore[arg-type]  # a fault, on purpose


def test_a_network_ends_at_its_deadline_and_goes_on_without_one() -> None:
    network = nn.Sequential(nn.Identity(), nn.Identity())
    reached: list[int] = []
    network[1].register_forward_pre_hook(lambda *_: reached.append(1))
    with Deadline(60).holds_for(network):
        network(torch.zeros(1))
    with pytest.raises(TimeoutError, match="0 seconds"), Deadline(0).holds_for(network):
        network(torch.zeros(1))
    assert len(reached) == 1
    network(torch.zeros(1))
    assert len(reached) == 2
