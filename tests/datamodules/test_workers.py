"""The image that a dead loader worker opened last."""

import os
from pathlib import Path

import pytest
from PIL import Image

from deeplab_lightning.datamodules import workers
from deeplab_lightning.datamodules.workers import new_notes, opened_last
from deeplab_lightning.datasets import images


@pytest.mark.parametrize(
    "message",
    [
        "DataLoader worker (pid {}) is killed by signal: Segmentation fault. ",
        "DataLoader worker (pid(s) 1, {}) exited unexpectedly",
    ],
)
def test_the_image_that_was_opened_last_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    monkeypatch.setattr(workers, "_notes", [])
    _, note = new_notes(2)
    monkeypatch.setattr(images, "_note", note)
    for name in ("long_name.png", "a.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
        images.load(tmp_path / name)
    assert opened_last(message.format(os.getpid())) == [str(tmp_path / "a.png")]
    assert opened_last("DataLoader worker (pid 1) is killed by signal: Killed. ") == []
    assert opened_last("EOFError") == [str(tmp_path / "a.png")]
