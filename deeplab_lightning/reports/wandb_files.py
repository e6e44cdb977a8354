"""Runs of Weights & Biases, read from the files that it writes on this machine, also offline and without an account."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER, BLOCK = 7, 32768
"""Number of bytes of a file's header, and of a block of LevelDB's log format, in which W&B writes its records. The
wandb package has no reader of them in Python."""
PREFIX = 7  # checksum (4 bytes), length (2) and kind (1) before each piece of a record
WHOLE, LAST = 1, 4
"""The kinds of pieces that end a record; the others continue in the next block."""


@dataclass
class OfflineRun:
    """A run as its file has it, with the names that a run of `wandb.Api` has.

    Args:
        id: ID of the run.
        config: The settings.
        summary_metrics: The last value of each metric.
        state: "finished", "failed" or, as long as the file has no end, "running".
    """

    id: str
    config: dict[str, Any] = field(default_factory=dict)
    summary_metrics: dict[str, Any] = field(default_factory=dict)
    state: str = "running"


def read_files(folder: Path) -> list[OfflineRun]:
    """The runs in a folder `wandb`, oldest first.

    Raises:
        ConnectionError: The folder holds no run, or a file cannot be read.
    """
    paths = sorted(folder.glob("*run-*/run-*.wandb"), key=lambda path: path.parent.name.partition("run-")[2])
    if not paths:
        raise ConnectionError(f"{folder} holds no run of W&B, such as offline-run-20260101_120000-abc/run-abc.wandb")
    return [_read(path) for path in paths]


def _read(path: Path) -> OfflineRun:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    run = OfflineRun(path.stem.removeprefix("run-"))
    try:
        for content in _records(path.read_bytes()):
            record = Record.FromString(content)
            _update(run.config, [*record.run.config.update, *record.config.update])
            _update(run.summary_metrics, [*record.run.summary.update, *record.summary.update])
            if record.HasField("exit"):
                run.state = "failed" if record.exit.exit_code else "finished"
    except (OSError, ValueError, DecodeError) as error:
        raise ConnectionError(f"{path} cannot be read ({' '.join(str(error).split())})") from error
    return run


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a file. An unfinished one at its end, of a run that goes on or was killed, is left out."""
    if content[:4] != b":W&B":
        raise ValueError("it is not a file of W&B")
    position, pieces = HEADER, b""
    while position + PREFIX <= len(content):
        if BLOCK - position % BLOCK < PREFIX:  # too short for a piece, and filled with zeros
            position += BLOCK - position % BLOCK
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        position += PREFIX + length
        if position > len(content):
            return
        pieces += content[position - length : position]
        if kind in (WHOLE, LAST):
            yield pieces
            pieces = b""


def _update(values: dict[str, Any], items: list[Any]) -> None:
    """Set values by their keys, which may lead into nested dictionaries."""
    for item in items:
        *outer, name = list(item.nested_key) or [item.key]
        own = values
        for key in outer:
            own = own.setdefault(key, {})
        own[name] = json.loads(item.value_json)
