"""The record of finished images, from which an interrupted segmentation goes on: one JSON line an image."""

import csv
import hashlib
import io
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from deeplab_lightning.atomic import naming, write_atomically
from deeplab_lightning.folder_lock import hold
from deeplab_lightning.segmentation.addresses import Address, Place

PATTERN = "manifest*.jsonl"
CHUNK = 1 << 20  # bytes read at once
ORIGIN = ("sha256", "model", "settings")
"""The parts of a record that say what its files were made of."""
SECONDS, SHARE = 20.0, 0.05
"""The shortest time between two uploads of a record, and the largest share of the time that uploads take."""


@contextmanager
def open_manifest(folder: Place, shard: tuple[int, int]) -> Iterator["Manifest"]:
    """Yield the record of an output folder, for as long as it is used, and keep other processes from writing it.

    At an address nothing can be locked.

    Raises:
        OSError: It cannot be written, or the address cannot be reached.
        UsageError: The protocol of the address is unknown or lacks its package.
        ValueError: Another process writes it.
    """
    if isinstance(folder, Path):
        path = path_of(folder, shard)
        try:
            lock = hold(path.with_name(f".{path.name}.lock"))
        except BlockingIOError as error:
            raise ValueError(f"{error}; wait for its end, or set another --out") from None
        with lock:
            yield Manifest(folder, shard)
        return
    with tempfile.TemporaryDirectory() as kept:
        yield ManifestAtAddress(folder, Path(kept), shard)


class Manifest:
    """The finished images in an output folder. A line is written after the files that it names.

    Lines are appended as images finish; `tidy` brings them into the order of their names, each name once.

    Args:
        folder: The output folder.
        shard: Index of this shard and number of shards, each of which writes a file of its own.

    Raises:
        OSError: The file cannot be written.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] = (0, 1)) -> None:
        self.folder, self.path = folder, path_of(folder, shard)
        self._own, self._done = _read(self.path), _newest(folder)
        self.tidy()  # without a half line at the end, and known to be writable before anything is segmented

    def origin(self, name: str) -> dict[str, Any] | None:
        """Return what the files of an image were made of, if all of them are there."""
        record = self._done.get(name)
        if record is None or not all(self.holds(output) for output in record["outputs"]):
            return None
        return {key: record.get(key) for key in ORIGIN}

    def holds(self, output: str) -> bool:
        """Whether the folder has a file."""
        return (self.folder / output).is_file()

    def add(self, record: dict[str, Any]) -> None:
        """Append the record of a finished image to the disk.

        Raises:
            OSError: It cannot be written.
        """
        self._own[record["name"]] = self._done[record["name"]] = record
        with naming(self.path), self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def tidy(self) -> None:
        """Write the lines in the order of the names, each name once.

        Raises:
            OSError: They cannot be written.
        """
        write_atomically(self.path, "".join(json.dumps(record) + "\n" for _, record in sorted(self._own.items())))

    def write_areas(self) -> Path:
        """Write the areas of the classes in all finished images, of all shards, as areas.csv."""
        rows = io.StringIO()
        writer = csv.writer(rows)
        writer.writerow(("image", "class", "pixels", "share"))
        for name, record in sorted(_newest(self.folder).items()):
            total = sum(record["areas"].values())
            for class_name, pixels in record["areas"].items():
                writer.writerow((name, class_name, pixels, f"{pixels / total:.6f}"))
        path = self.folder / "areas.csv"
        write_atomically(path, rows.getvalue())
        return path


class ManifestAtAddress(Manifest):
    """The record of an output folder at an address: kept in a folder here, and uploaded every so often.

    What a killed process had not uploaded is segmented again.

    Args:
        address: The output folder.
        kept: The folder here.
        shard: Index of this shard and number of shards, each of which writes a file of its own.

    Raises:
        OSError: The address cannot be reached, or not be written.
        UsageError: Its protocol is unknown or lacks its package.
    """

    def __init__(self, address: Address, kept: Path, shard: tuple[int, int] = (0, 1)) -> None:
        self.address, self._due = address, 0.0
        self._there = set(address.files())
        self._fetch(kept)
        super().__init__(kept, shard)

    def holds(self, output: str) -> bool:
        """Whether the folder had a file when it was listed, or has it since."""
        return output in self._there

    def add(self, record: dict[str, Any]) -> None:
        """Append the record of a finished image, and upload all records if it is time."""
        super().add(record)
        self._there.update(record["outputs"])
        if time.monotonic() >= self._due:
            self._upload(self.path)

    def tidy(self) -> None:
        """Upload the lines in the order of the names, each name once."""
        super().tidy()
        self._upload(self.path)

    def write_areas(self) -> Path:
        """Write and upload the areas of the classes in all finished images, of all shards, as areas.csv."""
        self._there.update(self.address.files())
        self._fetch(self.folder)
        path = super().write_areas()
        self._upload(path)
        return path

    def _fetch(self, kept: Path) -> None:
        for name in self._there:
            if fnmatch(name, PATTERN):
                (self.address / name).get(kept / name)

    def _upload(self, path: Path) -> None:
        start = time.monotonic()
        (self.address / path.name).put(path)
        end = time.monotonic()
        self._due = end + max(SECONDS, (end - start) / SHARE)


def path_of(folder: Path, shard: tuple[int, int]) -> Path:
    """Return the path of the file that a shard writes."""
    index, count = shard
    return folder / ("manifest.jsonl" if count == 1 else f"manifest-{index}-of-{count}.jsonl")


def matches(recorded: Mapping[str, Any] | None, origin: Mapping[str, Any]) -> bool:
    """Whether files were made of the same input, model and settings."""
    return recorded is not None and all(recorded.get(key) == value for key, value in origin.items())


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


def _newest(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the newest record of each image, by name: other numbers of shards may have left older ones."""
    records = [record for path in sorted(folder.glob(PATTERN)) for record in _read(path).values()]
    return {record["name"]: record for record in sorted(records, key=lambda record: str(record.get("time", "")))}


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
