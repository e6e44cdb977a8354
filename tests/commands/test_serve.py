"""The mistakes of `deeplab serve`; tests/serving/test_page.py runs it."""

import re
import shlex
import socket
from dataclasses import asdict
from pathlib import Path

import pytest

from deeplab_lightning.__main__ import main
from deeplab_lightning.commands.serve import limits_of, names_of, parse


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], "MODEL"),
        (["no.ckpt", "--port", "0"], "no.ckpt"),
        (["no.ckpt", "--port", "65536"], "65536"),
        (["no.ckpt", "--seconds", "0"], "seconds must be above 0"),
        (["no.ckpt", "--examples", "no.jpg"], "no.jpg"),
        (["no.ckpt", "--examples", "text.jpg", "--port", "0"], "text.jpg"),
        (["no.ckpt", "--device", "cuda:99", "--port", "0"], "cuda:99"),
        (["no.ckpt", "--host", "192.0.2.1", "--port", "0"], "192.0.2.1"),
    ],
)
def test_mistakes_are_named(
    options: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.jpg").write_text("no picture")
    assert main(["serve", *options]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("deeplab: error: ")
    assert named in line


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["serve", "no.ckpt", "--port", port]) == 2
    assert port in capsys.readouterr().err


def test_models_are_named_by_their_folder_and_told_apart(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "best.ckpt" for folder in ("a/run", "b/run", "b/other")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.touch()
    names = names_of([*map(str, paths), "torchvision/x"])
    assert names == ["run/best.ckpt (1)", "run/best.ckpt (2)", "other/best.ckpt", "torchvision/x"]


def test_the_limits_are_those_of_the_options() -> None:
    options = ["a.ckpt", "--megabytes", "1.5", "--megapixels", "2", "--seconds", "3", "--waiting", "4"]
    limits = limits_of(parse("serve", options))
    assert (limits.num_bytes, limits.megapixels, limits.seconds, limits.waiting) == (1_500_000, 2, 3, 4)
    assert "1.5 MB" in str(limits)


def test_the_commands_and_the_numbers_of_the_page_exist() -> None:
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()
    commands = re.findall(r"^deeplab serve (.+)$", page, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert parse("serve", shlex.split(command)).models
    given = parse("serve", ["a.ckpt"])
    limits = re.findall(r"`--(megabytes|megapixels|seconds|waiting)` \((\d+)", page)
    assert {name: float(value) for name, value in limits} == asdict(limits_of(given))
