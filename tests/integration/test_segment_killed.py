"""`deeplab segment`, killed at random points and started again, ends with the same files as if it had never been."""

import contextlib
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.segmentation.models import describe_small, write_checkpoint

IMAGES, KILLS = 60, 20

pytestmark = pytest.mark.slow


def start(model: Path, images: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "deeplab_lightning", "segment", str(model), str(images), "--out", str(out)]
    options = ["--overlays", "--probabilities", "--csv", "--batch_size", "2", "--device", "cpu"]
    return subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ended(process: subprocess.Popen[bytes]) -> int | None:
    """The exit status of a process, after a moment in which it may end."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(0.01)
    return None


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".jsonl", ".lock")
    }


def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "model.ckpt", describe_small())
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(rng.integers(0, 256, (240 + number % 3, 320, 3), np.uint8)).save(images / f"{number}.png")
    assert start(model, images, tmp_path / "whole").wait() == 0
    out, chance, kills = tmp_path / "killed", random.Random(0), 0
    manifest = out / "manifest.jsonl"
    while kills < KILLS:
        process = start(model, images, out)
        seen = len(manifest.read_text().splitlines()) if manifest.exists() else 0
        more = chance.randint(1, 2)  # killed once so many more images are recorded
        while ended(process) is None:
            done = len(manifest.read_text().splitlines()) if manifest.exists() else 0
            if done >= min(seen + more, IMAGES):
                process.kill()
                kills += 1
                break
        if process.wait() == 0:  # it ended before it was killed: once more from the beginning
            assert contents(out) == contents(tmp_path / "whole")
            shutil.rmtree(out)
    assert start(model, images, out).wait() == 0
    assert contents(out) == contents(tmp_path / "whole")
    names = [json.loads(line)["name"] for line in manifest.read_text().splitlines()]
    assert sorted(names) == sorted(str(number) for number in range(IMAGES))
