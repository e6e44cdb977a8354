"""What is left of a loader worker that died."""

import os
from pathlib import Path

import pytest
from PIL import Image

from deeplab_lightning.datamodules.workers import name_what_was_read, new_notes
from deeplab_lightning.datasets import images


@pytest.mark.parametrize(
    "said",
    [
        "DataLoader worker (pid {}) is killed by signal: Segmentation fault. ",
        "DataLoader worker (pid(s) 1, {}) exited unexpectedly",
    ],
)
def test_the_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    idle, note = new_notes(2)
    monkeypatch.setattr(images, "_note", note)
    for name in ("long_name.png", "a.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
        images.load(tmp_path / name)
    error = RuntimeError(said.format(os.getpid()))
    name_what_was_read(error, [idle, note])
    assert str(error).endswith(f"; the last image that it opened is {tmp_path / 'a.png'}")
    other = RuntimeError("it is another error")
    name_what_was_read(other, [idle, note])
    assert str(other) == "it is another error"
