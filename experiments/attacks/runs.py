"""Attacks on trainings: kills at any moment, full disks, two trainings in one folder, moved folders.

`python experiments/attacks/runs.py [KIND ...] [--kills 30] [--seed 0]` first trains a small network on Shapes without
an attack, then attacks the same training and resumes it. In every case three things are checked: the process ends with
a one-sentence error and the right status, the checkpoints on the disk can be read, and the resumed training ends with
the weights, the optimizer and the best score of the undisturbed one, bit for bit. The program prints a table, and its
exit status is 1 if a check failed. The attacks on disks need Linux and the right to mount (root, or user namespaces).
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from laboratory import PATIENCE, PAUSE, STEPS, Laboratory, Tally, check_disk
from rich.console import Console
from rich.progress import track


def kills(laboratory: Laboratory, count: int) -> Iterator[Tally]:
    """SIGKILL at random moments after the start of training; three in a row, then an undisturbed run to the end."""
    tally = Tally()
    run = laboratory.folder
    for number in range(count):
        if number % 3 == 0:
            run = laboratory.folder / f"killed_{number // 3}"
        before = len([*run.glob("logs/*")])
        process = laboratory.start(run)
        while process.poll() is None and len([*run.glob("logs/*")]) == before:
            time.sleep(PAUSE)
        time.sleep(laboratory.draw.uniform(0, laboratory.seconds))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        tally.attacked += 1
        check_disk(run, tally)
        if number % 3 == 2 or number == count - 1:
            laboratory.finish(run, tally)
        yield tally


def together(laboratory: Laboratory, _: int) -> Iterator[Tally]:
    """Two trainings in one folder at once: one trains, the other names the process that does."""
    tally, run = Tally(attacked=2), laboratory.folder / "together"
    processes = [laboratory.start(run) for _ in range(2)]
    num_checks = 0
    while any(process.poll() is None for process in processes):
        num_checks += 1
        check_disk(run, tally)
        time.sleep(PAUSE)
    statuses = sorted(process.returncode for process in processes)
    tally.check(statuses == [0, 1], f"{run.name}: ended with statuses {statuses}, not 0 and 1")
    tally.check(num_checks > 1, f"{run.name}: the disk was never checked")
    laboratory.check_sentence(run, status=statuses[-1], expected=1, words="deeplab: error: ", tally=tally)
    laboratory.finish(run, tally)
    yield tally


def killed_moves(laboratory: Laboratory, _: int) -> Iterator[Tally]:
    """SIGKILL as soon as a step is saved, and the folder is moved: between every two steps."""
    yield from _moved(laboratory, "moved_killed", -signal.SIGKILL, lambda process, *_: _end(process, signal.SIGKILL))


def signalled_moves(laboratory: Laboratory, _: int) -> Iterator[Tally]:
    """SIGUSR1 as soon as a step is saved, and the folder is moved when the training has ended."""
    yield from _moved(laboratory, "moved_signalled", 138, lambda process, *_: _end(process, signal.SIGUSR1))


def live_moves(laboratory: Laboratory, _: int) -> Iterator[Tally]:
    """The folder is moved as soon as a step is saved, while the training runs."""
    yield from _moved(laboratory, "moved_live", 1, lambda _, run, elsewhere: run.rename(elsewhere))


def _moved(
    laboratory: Laboratory, name: str, status: int, attack: Callable[["subprocess.Popen[bytes]", Path, Path], object]
) -> Iterator[Tally]:
    """Attack a training after its first save and resume it in another folder, until it has reached its last step."""
    tally, run, ended = Tally(), laboratory.folder / f"{name}_0", status
    while ended != 0 and tally.attacked <= STEPS:
        tally.attacked += 1
        elsewhere = laboratory.folder / f"{name}_{tally.attacked}"
        process = laboratory.start(run)
        before = _saved(run / "last.ckpt")
        while process.poll() is None and _saved(run / "last.ckpt") == before:
            time.sleep(PAUSE)
        if process.poll() is None:
            attack(process, run, elsewhere)
        ended = process.wait(PATIENCE)
        tally.check(ended in (status, 0), f"{run.name}: ended with status {ended}, see {laboratory.log(run)}")
        tally.check(not (run.exists() and elsewhere.exists()), f"{run.name}: it was written to after its move")
        run = elsewhere if elsewhere.exists() else run.rename(elsewhere)
        yield tally
    laboratory.finish(run, tally)
    yield tally


def _end(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    os.killpg(process.pid, number)


def _saved(checkpoint: Path) -> float:
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


def disks(laboratory: Laboratory, _: int) -> Iterator[Tally]:
    """Full disks: no room, little room, room for one checkpoint, no inodes, filled by others, files too large."""
    tally = Tally()
    size = laboratory.checkpoint_size
    mounts = {
        "no_room": "size=4k",
        "little_room": "size=64k",
        "room_for_one": f"size={int(1.6 * size)}",
        "no_inodes": "nr_inodes=4",
        "filled_by_others": f"size={4 * size}",
    }
    for kind, options in mounts.items():
        run = laboratory.folder / kind
        run.mkdir()
        (laboratory.folder / f"{kind}_kept").mkdir()
        fill = f"(until [ -e {run}/last.ckpt ]; do sleep 0.01; done; cat /dev/zero > {run}/filler) 2>&- & "
        script = (
            f"mount -t tmpfs -o {options} tmpfs {run} && {{ {fill if kind == 'filled_by_others' else ''}"
            f'"$@"; status=$?; cp -a {run}/logs {run}/*.ckpt {laboratory.folder}/{kind}_kept/ 2>&-; exit $status; }}'
        )
        prefix = ("unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh")
        status = laboratory.start(run, prefix=prefix).wait(PATIENCE)
        _check_full(laboratory, run, status=status, kept=laboratory.folder / f"{kind}_kept", tally=tally)
        yield tally
    run = laboratory.folder / "file_size"
    limit = ("sh", "-c", f'ulimit -f {size // 2 // 512}; exec "$@"', "sh")
    status = laboratory.start(run, prefix=limit).wait(PATIENCE)
    _check_full(laboratory, run, status=status, kept=run, tally=tally)
    yield tally


def _check_full(laboratory: Laboratory, run: Path, *, status: int, kept: Path, tally: Tally) -> None:
    """Check that a full disk ends a training with an error that names a file, and that it resumes with free space."""
    tally.attacked += 1
    laboratory.check_sentence(run, status=status, expected=1, words="deeplab: error: ", tally=tally)
    errors = [line for line in laboratory.log(run).read_text().splitlines() if line.startswith("deeplab: error: ")]
    named = len(errors) == 1 and errors[0].startswith(f"deeplab: error: {run}/")
    tally.check(named, f"{run.name}: the error does not name a file, see {laboratory.log(run)}")
    check_disk(kept, tally)
    laboratory.finish(kept, tally)


ATTACKS: dict[str, Callable[[Laboratory, int], Iterator[Tally]]] = {
    "kills": kills,
    "disks": disks,
    "together": together,
    "killed_moves": killed_moves,
    "signalled_moves": signalled_moves,
    "live_moves": live_moves,
}


def main() -> int:
    """Run the attacks, print the table, and return whether a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="*", help=f"some of {', '.join(ATTACKS)}; default: all")
    parser.add_argument("--kills", type=int, default=30, help="number of trainings to kill; default: 30")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random times; default: 0")
    arguments = parser.parse_args()
    if unknown := set(arguments.kind) - ATTACKS.keys():
        parser.error(f"there is no attack {', '.join(sorted(unknown))}; choose from {', '.join(ATTACKS)}")
    folder = Path(tempfile.mkdtemp(prefix="attacks_"))
    console = Console(stderr=True)
    laboratory = Laboratory(folder, arguments.seed)
    print("| attack | processes attacked | faults |\n|---|---|---|")
    faults = []
    for kind in arguments.kind or ATTACKS:
        attack = ATTACKS[kind]
        *_, tally = track(attack(laboratory, arguments.kills), kind, console=console)
        print(f"| {attack.__doc__} | {tally.attacked} | {len(tally.faults)} |", flush=True)
        faults += tally.faults
    print("\n".join(faults), file=sys.stderr)
    if not faults:
        shutil.rmtree(folder)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
