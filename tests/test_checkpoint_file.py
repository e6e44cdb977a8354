import pickle
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
from torch.testing import assert_close

from deeplab_lightning.checkpoint_file import read_checkpoint

WEIGHTS = {"a": torch.arange(40.0), "b": torch.tensor([1, 2, 3])}


def test_a_flipped_bit_is_found_wherever_it_changes_anything(tmp_path: Path) -> None:
    path, broken = tmp_path / "whole.ckpt", tmp_path / "flipped.ckpt"
    torch.save({"state_dict": WEIGHTS, "step": 1}, path)
    content = path.read_bytes()
    with ZipFile(path) as archive:
        directory = archive.start_dir
    flips = [(place, 0x04) for place in range(0, directory, 25)]
    flips += [(place, 0x10) for place in range(directory, len(content))]
    found = 0
    for place, bit in flips:
        broken.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        checkpoint = read_or_error(broken)
        if isinstance(checkpoint, str):
            assert str(broken) in checkpoint
            found += 1
        else:
            assert checkpoint["step"] == 1, place
            assert_close(checkpoint["state_dict"], WEIGHTS, rtol=0, atol=0)
    assert found > len(flips) / 3


def read_or_error(path: Path) -> dict[str, Any] | str:
    try:
        return read_checkpoint(path)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a checkpoint, or a damaged or truncated one"),
        (b"PK\x03\x04 and no more", "not a checkpoint, or a damaged or truncated one"),
        (pickle.dumps({"state_dict": {}}), "not a checkpoint, or a damaged or truncated one"),
        ({"backbone.weight": torch.ones(2)}, "it has no state_dict of tensors"),
        ([torch.ones(2)], "it has no state_dict of tensors"),
        ({"state_dict": {"model": {"weight": torch.ones(2)}}}, "it has no state_dict of tensors"),
        ({"state_dict": {"a": torch.ones(2), "b": torch.tensor([1.0, torch.inf])}}, "1 of its 2 tensors .* first is b"),
    ],
)
def test_a_file_that_is_not_a_checkpoint_is_refused_with_its_name(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "foreign.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=rf"foreign\.ckpt: .*{said}"):
        read_checkpoint(path)


def test_another_archive_is_not_a_checkpoint(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("images/readme.txt", "hello")
    with pytest.raises(ValueError, match=r"images\.zip: it is "):
        read_checkpoint(tmp_path / "images.zip")
