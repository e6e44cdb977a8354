"""What is left of a loader worker that died."""

import os
from pathlib import Path

import pytest
from PIL import Image

from deeplab_lightning.datamodules.workers import new_notes, opened_last
from deeplab_lightning.datasets.images import load, record_opened_paths


@pytest.mark.parametrize(
    "said",
    [
        "DataLoader worker (pid {}) is killed by signal: Segmentation fault. ",
        "DataLoader worker (pid(s) 1, {}) exited unexpectedly",
    ],
)
def test_the_image_is_named(tmp_path: Path, said: str) -> None:
    _, note = new_notes(2)
    record_opened_paths(note)
    try:
        for name in ("long_name.png", "a.png"):
            Image.new("L", (4, 4)).save(tmp_path / name)
            load(tmp_path / name)
    finally:
        record_opened_paths(None)
    assert opened_last(said.format(os.getpid()))[-1] == str(tmp_path / "a.png")
    assert opened_last("DataLoader worker (pid 1) is killed by signal: Killed. ") == []
    assert opened_last("EOFError")[-1] == str(tmp_path / "a.png")
    load(tmp_path / "long_name.png")  # noted no more
    assert opened_last("EOFError")[-1] == str(tmp_path / "a.png")
