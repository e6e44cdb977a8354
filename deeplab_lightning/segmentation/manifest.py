"""The record of finished images, from which an interrupted segmentation goes on: one JSON line an image."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from deeplab_lightning.atomic import write_atomically

PATTERN = "manifest*.jsonl"
CHUNK = 1 << 20  # bytes read at once


class Manifest:
    """The finished images in an output folder. A line is written after the files that it names.

    Args:
        folder: The output folder.
        shard: Index of this shard and number of shards, each of which writes a file of its own.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] = (0, 1)) -> None:
        index, count = shard
        self.folder = folder
        self.path = folder / ("manifest.jsonl" if count == 1 else f"manifest-{index}-of-{count}.jsonl")
        self._own = _read(self.path)
        self._done = {name: record for path in sorted(folder.glob(PATTERN)) for name, record in _read(path).items()}
        if self.path.exists():  # without a half line at the end, and without lines that later ones replaced
            self._rewrite()

    def finished(self, name: str, origin: Mapping[str, Any]) -> bool:
        """Whether an image is finished: by the same input, model and settings, and with all its files still there."""
        record = self._done.get(name)
        return (
            record is not None
            and all(record.get(key) == value for key, value in origin.items())
            and all((self.folder / output).is_file() for output in record["outputs"])
        )

    def add(self, record: dict[str, Any]) -> None:
        """Append the record of a finished image to the disk."""
        is_new = record["name"] not in self._own
        self._own[record["name"]] = self._done[record["name"]] = record
        if not is_new:
            self._rewrite()
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def write_areas(self) -> Path:
        """Write the areas of the classes in all finished images, of all shards, as areas.csv."""
        rows = io.StringIO()
        writer = csv.writer(rows)
        writer.writerow(("image", "class", "pixels", "share"))
        for name, record in sorted({**self._done, **self._on_disk()}.items()):
            total = sum(record["areas"].values())
            for class_name, pixels in record["areas"].items():
                writer.writerow((name, class_name, pixels, f"{pixels / total:.6f}"))
        path = self.folder / "areas.csv"
        write_atomically(path, rows.getvalue())
        return path

    def _on_disk(self) -> dict[str, dict[str, Any]]:
        return {name: record for path in sorted(self.folder.glob(PATTERN)) for name, record in _read(path).items()}

    def _rewrite(self) -> None:
        write_atomically(self.path, "".join(json.dumps(record) + "\n" for record in self._own.values()))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the records of a file by their names; lines that are not whole are left out."""
    records: dict[str, dict[str, Any]] = {}
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            with suppress(ValueError, TypeError, KeyError):
                record = json.loads(line)
                if isinstance(record["outputs"], list) and isinstance(record["areas"], dict):
                    records[record["name"]] = record
    return records
