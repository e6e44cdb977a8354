"""What is written down of a piece of work: by its process into its logs, and of how it ended."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deeplab_lightning.ablation.report import check_records
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.datasets.submission import TARBALL

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

    Of a training it is {seconds, num_devices, batch_norm}, of a prediction for the VOC server {seconds, submission},
    the tarball's place in the folder, which may be moved. A training's seconds are those of all its attempts. An
    attempt that was killed outright (SIGKILL) left no seconds.

    Raises:
        ValueError: the newest log has no record of the run, or one that cannot be read, or no tarball for the server.
    """
    paths = sorted(folder.glob(f"logs/{command}_*/run.json"), key=lambda path: path.stat().st_mtime_ns)
    if not paths:
        raise ValueError(f"there is no record in {folder / 'logs'}")
    *earlier, newest = paths
    with _reading(newest) as run:
        seconds, num_devices = float(run["seconds"]), int(run["environment"]["num_devices"])
        batch_norm = str(run.get("batch", {}).get("batch_norm", ""))
    if command == "fit":
        seconds = round(seconds + sum(map(_seconds, earlier)), 1)
        return {"seconds": seconds, "num_devices": num_devices, "batch_norm": batch_norm}
    if command == "predict":
        if not (tarballs := list(newest.parent.glob(TARBALL.format("*")))):
            raise ValueError(f"there are no label maps for the server in {newest.parent}")
        return {"seconds": seconds, "submission": tarballs[0].relative_to(folder).as_posix()}
    with _reading(newest.with_name("evaluation.json")) as records:
        return {"seconds": seconds, "records": check_records(records)}


def _seconds(path: Path) -> float:
    """Of an attempt; 0 where they are not known."""
    try:
        with _reading(path) as run:
            return float(run["seconds"])
    except ValueError:
        return 0.0


def read_done(path: Path) -> dict[str, Any]:
    """What is known of a piece of work that is done, by the names of an `Outcome`.

    What was done under the first protocol is named by the hash of what the table asks for.

    Raises:
        ValueError: the file cannot be read.
    """
    with _reading(path) as done:
        return {
            "seconds": float(done["seconds"]),
            "records": check_records(done.get("records", [])),
            "num_devices": int(done.get("num_devices", 1)),
            "batch_norm": str(done.get("batch_norm", "")),
            "submission": str(path.parent / done["submission"]) if done.get("submission") else "",
            "protocol": int(done.get("protocol", 1)),
            "asked": [str(each) for each in done.get("asked", [path.parent.name.partition("_")[0]])],
        }


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
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"unreadable: {path}") from error


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    write_atomically(path, json.dumps(content, indent=1))
