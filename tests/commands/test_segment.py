import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
import tifffile
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.commands.segment import shard_of_job
from tests.segmentation.models import describe_small, write_checkpoint

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_checkpoint(tmp_path_factory.mktemp("model") / "best.ckpt", describe_small()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        Path("in").mkdir(exist_ok=True)
        values = np.random.default_rng(number).integers(0, 256, (24, 30, 3), np.uint8)
        Image.fromarray(values).save(f"in/{number}.png")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "masks").glob("*.png"))


def test_a_folder_is_segmented_by_shards(model: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in (1, 0):
        command = ["segment", model, "in", "--out", "out", "--shard", f"{index}/2", "--csv", "--device", "cpu"]
        assert main(command) == 0
    assert "2 segmented into out" in capsys.readouterr().out
    assert names(folder / "out") == ["0", "1", "2", "3"]
    rows = Path("out/areas.csv").read_text().splitlines()
    assert {row.split(",")[0] for row in rows[1:]} == {"0", "1", "2", "3"}


def test_a_list_is_read_from_stdin_and_a_failure_is_the_status(
    model: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("in/0.png\nin/missing.png\nin/2.png\n"))
    assert main(["segment", model, "-", "--out", "out", "--tile", "none", "--scales", "0.5", "1"]) == 1
    printed = capsys.readouterr()
    assert "in/missing.png" in printed.err
    assert "2 segmented into out, 1 failed" in printed.out
    assert names(folder / "out") == ["0", "2"]


def test_tiles_that_are_too_small_are_refused_once(
    model: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", model, "in", "--out", "out", "--tile", "100"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "256 pixels, got 100" in line
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ((0, 1), None)),
        (
            {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"},
            ((2, 4), "SLURM_ARRAY_TASK_ID"),
        ),
        ({"RANK": "1", "WORLD_SIZE": "3"}, ((1, 3), "RANK")),
    ],
)
def test_the_shard_is_that_of_the_job(
    environment: dict[str, str], expected: tuple[tuple[int, int], str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert shard_of_job() == expected


def test_a_shard_that_nobody_asked_for_is_said(
    model: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"ID": "1", "MIN": "0", "COUNT": "3"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    command = ["segment", model, "in", "--device", "cpu", "--out"]
    assert main([*command, "part"]) == 0
    printed = capsys.readouterr()
    assert all(words in printed.err for words in ("1/3", "SLURM_ARRAY_TASK_ID", "1 of 4 files", "--shard 0/1"))
    assert "1/3" in printed.out
    assert names(folder / "part") == ["1"]
    assert main([*command, "whole", "--shard", "0/1"]) == 0
    printed = capsys.readouterr()
    assert "shard" not in printed.err + printed.out
    assert names(folder / "whole") == ["0", "1", "2", "3"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["in", "--out", "out", "--shard", "2/2"], "2/2"),
        (["in", "--out", "out", "--batch_size", "0"], "0"),
        (["in", "--out", "out", "--crf", "checkpoint"], "crf-search"),
        (["*.webp", "--out", "out"], "webp"),
        (["in"], "--out"),
    ],
)
def test_mistakes_are_named(model: str, options: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", model, *options]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("deeplab: error: ")
    assert named in line


@pytest.fixture
def pictures(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the pages name, in the working directory."""
    av = pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    Path("runs/demo").mkdir(parents=True)
    shutil.copy(model, "runs/demo/best.ckpt")
    Path("pictures/sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in {"street.jpg": (24, 30), "pictures/street.jpg": (24, 30), "pictures/sub/a.png": (20, 20)}.items():
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(name)
    Image.new("RGB", (520, 64)).save("pictures/large.png")
    tifffile.imwrite("pictures/scan.tif", rng.integers(0, 4096, (16, 20, 3)).astype(np.uint16))
    with av.open("pictures/clip.mp4", "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (24, 32, 3), np.uint8), format="rgb24")
        file.mux(stream.encode(frame))
        file.mux(stream.encode())


@pytest.mark.slow
@pytest.mark.usefixtures("pictures")
def test_the_commands_of_the_page_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, but for Ray: it starts others, and leaves warnings."""
    pytest.importorskip("ray")
    fsspec.filesystem("memory").pipe_file("/pictures/street.jpg", Path("street.jpg").read_bytes())
    page = (ROOT / "docs" / "segment.md").read_text()
    commands = re.findall(r"^(?:ls \S+ \| )?deeplab (.+)$", page, re.MULTILINE)
    assert len(commands) == 13
    for command in commands:
        monkeypatch.setattr("sys.stdin", io.StringIO("pictures/street.jpg\n"))
        words = [*shlex.split(command), *(["--device", "cpu"] if command.startswith("segment") else [])]
        # Only a stated range makes the scan readable, which has 16 bits.
        refused = "pictures" in words and "--value_range" not in words
        other = [sys.executable, "-m", "deeplab_lightning", *words]
        status = subprocess.run(other, check=False).returncode if "ray" in words else main(words)
        assert status == int(refused), command
    for made in ("masks/sub/a.png", "masks/clip.mkv", "overlays/clip.mp4", "polygons/large.json", "areas.csv"):
        assert Path("out", made).is_file(), made


@pytest.mark.usefixtures("pictures")
def test_the_lines_of_the_readme_run() -> None:
    block = re.search(r"^```python\n(from deeplab_lightning import load\n.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert block is not None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block[1], "README.md", "exec"), {})
    assert "(3, 24, 30)" in printed.getvalue()
    assert Path("out/masks/street.png").is_file()
