"""A short run of the program that gives mutated inputs to the readers."""

import importlib
import os
import signal
import threading
import warnings
from pathlib import Path

import pytest

from tests.patience import PATIENCE

ATTACKS = Path(__file__).parents[1] / "experiments" / "attacks"
KINDS = [
    *("image", "picture", "mask", "MATLAB file", "COCO annotations", "id list", "class file", "table", "checkpoint"),
    "model",
]


def test_mutated_inputs_are_read_or_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ATTACKS)
    inputs = importlib.import_module("inputs")
    assert inputs.main(["--count", "20", "--kinds", *KINDS, "--out", str(tmp_path / "kept")]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[:2] for row in rows] == [[f"| {name}", "20"] for name in KINDS]
    assert not (tmp_path / "kept").exists()


def test_faults_are_counted_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The readers die, hang, take too much memory, omit the file's name, or give a warning."""
    monkeypatch.syspath_prepend(ATTACKS)
    inputs = importlib.import_module("inputs")
    monkeypatch.setattr(inputs, "MEMORY", 1 << 26)

    def forget(path: Path) -> None:
        raise ValueError("it is damaged")

    def wait(path: Path) -> None:
        threading.Event().wait()

    del bytearray(1 << 24)[:]  # mallopt(3): malloc takes no mapping of its own for blocks below what was freed once
    blocks = [bytearray(1 << 20) for _ in range(400)]
    del blocks[:-1]  # malloc keeps their memory, as the last lies above it

    readers = {
        "crash": lambda path: os.kill(os.getpid(), signal.SIGKILL),
        "hang": wait,
        "memory": lambda path: bytearray(3 << 26),
        "no file's name": forget,
        "warning": lambda path: warnings.warn("damaged", UserWarning, stacklevel=1),
    }
    found = {
        name: inputs.Kind([("file.txt", b"content")], lambda rng, content: content, read)
        for name, read in readers.items()
    }
    monkeypatch.setattr(inputs, "kinds", lambda root, real: found)
    options = ["--count", "1", "--out", str(tmp_path / "kept"), "--kinds"]
    monkeypatch.setattr(inputs, "SECONDS", PATIENCE)  # a loaded machine is no fault
    assert inputs.main([*options, *(readers.keys() - {"hang"})]) == 1
    monkeypatch.setattr(inputs, "SECONDS", 0.1)
    assert inputs.main([*options, "hang"]) == 1
    printed = [row.strip("| ").split(" | ") for row in capsys.readouterr().out.splitlines()]
    rows = [row for row in printed if row[0] in readers]
    assert len(rows) == len(readers)
    for name, *numbers in rows:
        assert numbers == ["1", *("1" if name == outcome else "0" for outcome in inputs.OUTCOMES)]
    assert len(list((tmp_path / "kept").iterdir())) == len(readers)
