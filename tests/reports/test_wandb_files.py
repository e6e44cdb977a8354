"""Files of Weights & Biases: records in pieces over several blocks, unfinished ends, damaged files."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

from deeplab_lightning.ablation.outcomes import State
from deeplab_lightning.reports.wandb_files import BLOCK, read_files
from deeplab_lightning.reports.wandb_runs import read_wandb

WORK = "0123456789_seed0/evaluations/abcdef0123"


def item(update: Any, key: str, value: Any) -> None:
    """Add a value to the updates of a record; a key with a point leads into a nested dictionary."""
    own = update.add(value_json=json.dumps(value))
    if "." in key:
        own.nested_key.extend(key.split("."))
    else:
        own.key = key


def log(records: list[Any]) -> bytes:
    """The file of records: pieces that do not cross the blocks, each with checksum (not checked), length and kind."""
    content = bytearray(b":W&B" + bytes(3))
    for record in records:
        rest, first = record.SerializeToString(), True
        while True:
            if BLOCK - len(content) % BLOCK < 7:
                content += bytes(BLOCK - len(content) % BLOCK)
            room = BLOCK - len(content) % BLOCK - 7
            piece, rest = rest[:room], rest[room:]
            kind = (1 if not rest else 2) if first else (4 if not rest else 3)
            content += struct.pack("<IHB", 0, len(piece), kind) + piece
            first = False
            if not rest:
                break
    return bytes(content)


def records(size: int, code: int) -> list[Any]:
    """The records of a run: settings, a large value of a given size, a summary, and the end with its status."""
    start, large, summary, end = Record(), Record(), Record(), Record()
    item(start.run.config.update, "wandb", {"work": WORK, "asked": ["0123456789"], "protocol": 3})
    item(large.config.update, "environment.note", "x" * size)
    item(summary.summary.update, "seconds", 5.0)
    item(summary.summary.update, "evaluations", [])
    end.exit.exit_code = code
    return [start, large, summary, end]


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / f"offline-run-{name}" / f"run-{name.rpartition('-')[2]}.wandb"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", [0, BLOCK - 150, 3 * BLOCK])
def test_a_run_is_read_as_it_was_written(tmp_path: Path, size: int) -> None:
    for size_of in (size, *range(BLOCK - 160, BLOCK - 90, 7)) if size == 0 else (size,):
        write(tmp_path / str(size_of), "20260101_120000-abc", log(records(size_of, 0)))
        (run,) = read_files(tmp_path / str(size_of))
        assert (run.id, run.state, run.summary_metrics["seconds"]) == ("abc", "finished", 5.0)
        assert run.config["environment"] == {"note": "x" * size_of}
    outcomes = read_wandb(str(tmp_path / str(size)))
    assert {str(key): outcome.seconds for key, outcome in outcomes.items()} == {WORK: 5.0}


def test_runs_are_in_their_order_with_their_states(tmp_path: Path) -> None:
    whole = log(records(0, 0))
    write(tmp_path, "20260102_000000-b", log(records(0, 1)))
    write(tmp_path, "20260101_000000-c", whole)
    write(tmp_path, "20260103_000000-a", whole[:-3])
    assert [(run.id, run.state) for run in read_files(tmp_path)] == [
        ("c", "finished"),
        ("b", "failed"),
        ("a", "running"),
    ]
    (outcome,) = read_wandb(str(tmp_path)).values()
    assert outcome.state is State.DONE


@pytest.mark.parametrize(
    "content", [b"", b"something else", b":W&B" + bytes(3) + struct.pack("<IHB", 0, 2, 1) + b"\xff\xff"]
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, "20260101_000000-a", content)
    with pytest.raises(ConnectionError, match=str(path)):
        read_files(tmp_path)


def test_a_folder_without_runs(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=str(tmp_path)):
        read_files(tmp_path)
