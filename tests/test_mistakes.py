"""Every mistake of the list gives its message."""

from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.__main__ import main
from deeplab_lightning.cli import DeepLabCLI  # at its first import, Lightning's log handler keeps the standard error
from tests.mistakes import error_lines, mistakes, options, prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes")
    prepare(folder)
    return folder


def trains(*_: object, **__: object) -> None:
    raise AssertionError("the command is no mistake: it would train")


def test_there_are_fifty_mistakes() -> None:
    assert len({item["command"] for item in mistakes()}) >= 50


@pytest.mark.parametrize("item", mistakes(), ids=lambda item: item["command"])
def test_a_mistake_gives_its_message(
    item: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DEEPLAB_DATA", raising=False)
    monkeypatch.setattr(DeepLabCLI, "fit", trains)
    status = main(options(item["command"]))
    printed = capsys.readouterr().err
    assert (error_lines(printed), status) == ([item["prints"]], item["status"])
    assert status in (1, 2)
    assert "Traceback" not in printed
    assert len(item["prints"]) <= len("deeplab: error: ") + 250
    assert not any(word in item["prints"] for word in ("Union", "<class", "NestedArg", "Parser key"))
