"""`deeplab export`: its options, its price in mIoU, and the commands of its page."""

import io
import re
import shlex
import shutil
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.commands import export
from deeplab_lightning.datasets.shapes import CLASS_NAMES, generate
from deeplab_lightning.description import PixelNormalization
from deeplab_lightning.export.check import Agreement, ExportError
from deeplab_lightning.palette import Palette
from tests.segmentation.models import PIXELS, write_thin_v1
from tests.thin import an_eighth_of_the_channels

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A thin model of the classes of Shapes, in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = Path("runs/demo/best.ckpt")
    path.parent.mkdir(parents=True)
    return str(write_thin_v1(path, Palette.generated(CLASS_NAMES)))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--out", "model.pb"], "model.pb"),
        (["--out", "model.onnx", "--format", "torch"], "model.onnx"),
        (["--out", "model.pt2", "--precision", "half"], "ONNX"),
        (["--out", "model.onnx", "--precision", "int8"], "--calibration"),
        (["--out", "model.onnx", "--calibration", "pictures"], "--precision int8"),
        (["--out", "model.onnx", "--data.root", "shapes"], "--data.root"),
        (["--out", "model.onnx", "--format", "torchscript"], "torchscript"),
        (["--out", "model.onnx", "--format", "html"], "model.onnx"),
        (["--out", "model.onnx", "--examples", "a.png"], "--examples"),
        (["--out", "page.html", "--outputs", "labels"], "--outputs"),
        (["--out", "page.html", "--precision", "int8"], "--calibration"),
        (["--out", "folder.onnx"], "folder.onnx is a folder"),
    ],
)
def test_options_that_cannot_work_are_refused(
    options: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.onnx").mkdir()
    assert main(["export", "best.ckpt", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        (["--out", "model.onnx"], "float32"),
        (["--out", "page.html"], "half"),
        (["--out", "page.html", "--calibration", "pictures"], "int8"),
        (["--out", "page.html", "--precision", "float32"], "float32"),
    ],
)
def test_the_precision_is_that_of_the_format_unless_it_is_given(options: list[str], precision: str) -> None:
    arguments, _ = export.parse("export", ["best.ckpt", *options])
    assert arguments.precision == precision


def test_what_is_exported_already_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "model.onnx", "--out", "other.onnx"]) == 2
    assert "model.onnx is exported already" in capsys.readouterr().err


def test_calibration_and_price_are_those_of_the_images(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(Path("shapes"), {"train": 1, "val": 2}, (40, 48))
    Path("data.yaml").write_text("data: {class_path: FolderDataModule, init_args: {root: nowhere}}\n")
    Path("pictures").mkdir()
    Image.new("RGB", (4000, 700), (200, 0, 0)).save("pictures/large.png")
    Image.new("RGB", (30, 20), (0, 200, 0)).save("pictures/small.png")
    Path("int8.onnx").write_bytes(b"")
    sizes: list[tuple[int, ...]] = []

    def write_reduced(*_: object, batches: list[torch.Tensor]) -> tuple[Agreement, Agreement]:
        sizes.extend(tuple(batch.shape) for batch in batches)
        return Agreement(1e-5, 10.0, 100, 100), Agreement(0.1, 10.0, 200, 199)

    monkeypatch.setattr(export, "write_reduced", write_reduced)
    monkeypatch.setattr(export, "open_graph", lambda *_: lambda batch: torch.zeros(batch.shape[0], *batch.shape[2:]))
    monkeypatch.setattr(export, "Session", lambda _: type("Empty", (), {"inputs": {}, "outputs": {}}))
    options = ["--out", "int8.onnx", "--precision", "int8", "--calibration", "pictures", "-c", "data.yaml"]
    with an_eighth_of_the_channels():
        assert main(["export", checkpoint, *options, "--data.root", "shapes"]) == 0
    printed = capsys.readouterr().out
    assert sizes == [(1, 3, 700, 1536), (1, 3, 20, 30)]
    assert "int8 at 2 calibration images" in printed
    assert "equal labels 99.500 % of 200 pixels" in printed
    assert "mIoU on 2 images of the val split" in printed
    Path("shapes/class_names.txt").write_text("\n".join(reversed(CLASS_NAMES)))
    with an_eighth_of_the_channels():
        assert main(["export", checkpoint, *options, "--data.root", "shapes"]) == 2
    assert "bicycle, cross" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pixels", "crf", "options", "named"),
    [
        (PIXELS, None, ["--out", "page.html", "--examples", "missing.jpg"], "missing.jpg"),
        (PIXELS, None, ["--out", "runs/demo/best.ckpt/page.html"], "runs/demo/best.ckpt"),
        (replace(PIXELS, mean=(0.5,) * 4, std=(0.2,) * 4), None, ["--out", "page.html"], "best.ckpt: a page takes"),
        (PIXELS, {"sigma": 3}, ["--out", "page.html"], "'sigma'"),
    ],
)
def test_what_no_page_can_hold_is_found_before_the_export(
    pixels: PixelNormalization,
    crf: dict[str, Any] | None,
    options: list[str],
    named: str,
    *,
    checkpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(export, "write_reduced", lambda *_, **__: pytest.fail("it was exported"))
    write_thin_v1(Path(checkpoint), Palette.generated(CLASS_NAMES), pixels, crf)
    with an_eighth_of_the_channels():
        assert main(["export", checkpoint, *options]) == 1
    assert named in capsys.readouterr().err


def test_a_fault_of_the_file_names_it(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def differs(*_: object) -> Agreement:
        raise ExportError("the graph differs")

    monkeypatch.setattr(export, "write_onnx", differs)
    with an_eighth_of_the_channels():
        assert main(["export", checkpoint, "--out", "model.onnx"]) == 1
    assert "deeplab: error: model.onnx: the graph differs" in capsys.readouterr().err


@pytest.mark.slow
def test_the_commands_of_the_page_run(checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(tmp_path / "data" / "shapes", {"train": 600, "val": 100, "test": 100}, (128, 128))
    monkeypatch.setenv("DEEPLAB_DATA", str(tmp_path / "data"))
    Path("pictures").mkdir()
    for number, path in enumerate(sorted((tmp_path / "data/shapes/JPEGImages").iterdir())[:4]):
        shutil.copy(path, f"pictures/{number or 'street'}.jpg")
    page = (ROOT / "docs" / "export.md").read_text()
    commands = re.findall(r"^deeplab (.+)$", page, re.MULTILINE)
    assert len(commands) == 10
    with an_eighth_of_the_channels():
        for command in commands:
            words = shlex.split(command)
            quick = ["--repeats", "1", "--engines", "eager", "onnxruntime"] if words[0] == "benchmark" else []
            assert main([*words, *quick]) == 0, command
    (program,) = re.findall(r"^```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(program, "export.md", "exec"), {})
    assert printed.getvalue().startswith("(1, 128, 128) ")
    assert len(list(Path("out/masks").glob("*.png"))) == 4
    assert np.asarray(Image.open("out/masks/street.png")).shape == (128, 128)
    for name in ("model.onnx", "labels.onnx", "half.onnx", "int8.onnx", "model.pt2", "page.html", "small.html"):
        assert Path(name).stat().st_size > 0, name
