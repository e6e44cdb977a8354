"""What is written down of a piece of work: by its process into its logs, and of how it ended."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.datasets.submission import TARBALL
from deeplab_lightning.identity import Record

OWN_WORDS = "deeplab: error:"  # a log that ends with a line of this says why


def describe_failure(status: int, log: str) -> str:
    """How a process ended, with 128 and a signal's number as by that signal; its own last words if they say why."""
    number = -status if status < 0 else status - 128
    names = {each.value: each.name for each in signal.Signals}
    ending = f"killed by {names[number]}" if number in names else f"ended with status {status}"
    last = log.rpartition("\n")[2]
    return f"{ending}: {last}" if last.startswith(OWN_WORDS) else ending


def read_results(folder: Path, command: str) -> dict[str, Any]:
    """What a process that ended well left in its logs: {seconds, records}.

    Of a training it is {seconds, num_devices}, of a prediction for the VOC server {seconds, submission}. A
    training's seconds are those of all its attempts. An attempt that was killed outright (SIGKILL) left no seconds.

    Raises:
        ValueError: the newest log has no record of the run, or one that cannot be read, or no tarball for the server.
    """
    paths = sorted(folder.glob(f"logs/{command}_*/run.json"), key=lambda path: path.stat().st_mtime_ns)
    if not paths:
        raise ValueError(f"there is no record in {folder / 'logs'}")
    *earlier, newest = paths
    with _reading(newest) as run:
        seconds, num_devices = float(run["seconds"]), int(run["environment"]["num_devices"])
    if command == "fit":
        return {"seconds": round(seconds + sum(map(_seconds, earlier)), 1), "num_devices": num_devices}
    if command == "predict":
        if not (tarballs := list(newest.parent.glob(TARBALL.format("*")))):
            raise ValueError(f"there are no label maps for the server in {newest.parent}")
        return {"seconds": seconds, "submission": str(tarballs[0])}
    with _reading(newest.with_name("evaluation.json")) as records:
        return {"seconds": seconds, "records": list(records)}


def _seconds(path: Path) -> float:
    """Of an attempt; 0 where they are not known."""
    try:
        with _reading(path) as run:
            return float(run["seconds"])
    except ValueError:
        return 0.0


def read_done(path: Path) -> tuple[float, list[Record], int, str]:
    """The seconds that a piece of work took, its scores, the devices that it trained on, its tarball for the server.

    Raises:
        ValueError: the file cannot be read.
    """
    with _reading(path) as done:
        seconds, records = float(done["seconds"]), list(done.get("records", []))
        return seconds, records, int(done.get("num_devices", 1)), str(done.get("submission", ""))


def read_failure(path: Path) -> str:
    """Why a piece of work failed.

    Raises:
        ValueError: the file cannot be read.
    """
    with _reading(path) as failed:
        return str(failed["failure"])


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """What a JSON file holds, to look something up in it.

    Raises:
        ValueError: it cannot be read, or what is looked up is not in it.
    """
    try:
        yield json.loads(path.read_text())
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"unreadable: {path}") from error


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    write_atomically(path, json.dumps(content, indent=1))
