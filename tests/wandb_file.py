"""A reader of offline runs of Weights & Biases, whose file is a LevelDB log of protocol buffers."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as messages

FILE_HEADER, BLOCK, RECORD_HEADER = 7, 32768, 7
FULL, LAST = 1, 4


@dataclass
class OfflineRun:
    """A run with the attributes that `wandb.Api` would show, and its files."""

    folder: Path
    state: str = "running"
    name: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary_metrics: dict[str, Any] = field(default_factory=dict)
    artifacts: list[Any] = field(default_factory=list)
    started: int = 0  # in nanoseconds since 1970

    def media(self, entry: dict[str, Any]) -> Path:
        """The file of a table or an image in the summary."""
        return self.folder / "files" / str(entry["path"])


def read_offline_runs(root: Path) -> list[OfflineRun]:
    """All offline runs under a folder, oldest first."""
    runs = [read_offline_run(path) for path in root.rglob("offline-run-*/run-*.wandb")]
    return sorted(runs, key=lambda run: run.started)


def read_offline_run(path: Path) -> OfflineRun:
    """Combine the records of a run, like the server."""
    run = OfflineRun(path.parent)
    for content in _contents(path.read_bytes()):
        record = messages.Record.FromString(content)  # type: ignore[attr-defined]
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.name, run.project, run.group = record.run.display_name, record.run.project, record.run.run_group
            run.job_type, run.tags = record.run.job_type, list(record.run.tags)
            run.started = record.run.start_time.ToNanoseconds()
            _update(run.config, record.run.config.update)
        elif kind == "config":
            _update(run.config, record.config.update)
        elif kind == "summary":
            _update(run.summary_metrics, record.summary.update)
        elif kind == "history":
            _update(run.summary_metrics, record.history.item)
        elif kind == "artifact":
            run.artifacts.append(record.artifact)
        elif kind == "exit":
            run.state = "failed" if record.exit.exit_code else "finished"
    return run


def _update(values: dict[str, Any], items: Any) -> None:
    for item in items:
        *outer, last = item.nested_key or [item.key]
        inner = values
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = json.loads(item.value_json)


def _contents(data: bytes) -> Iterator[bytes]:
    """The records of the log, each joined from its fragments."""
    position, whole = FILE_HEADER, b""
    while position + RECORD_HEADER <= len(data):
        if BLOCK - position % BLOCK < RECORD_HEADER:  # the rest of the block is padding
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        start = position + RECORD_HEADER
        whole += data[start : start + length]
        position = start + length
        if kind in (FULL, LAST):
            yield whole
            whole = b""
