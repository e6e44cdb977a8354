"""Attacks on trainings: kills at any moment, full disks, two trainings in one folder, moved folders.

`python experiments/attacks/runs.py [KIND ...] [--kills 30] [--seed 0]` first trains a small network on Shapes without
an attack, then attacks the same training and resumes it. In every case three things are checked: the process ends with
a one-sentence error and the right status, the checkpoints on the disk can be read, and the resumed training ends with
the weights, the optimizer and the best score of the undisturbed one, bit for bit. The program prints a table, and its
exit status is 1 if a check failed. The attacks on disks need Linux and the right to mount (root, or user namespaces).
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

ROOT = Path(__file__).parents[2]
NETWORK = """
model:
  class_path: DeepLabV3PlusModule
  init_args: {backbone: resnet18, pretrained: false, dropout: 0.5, lr: 0.01}
data: {class_path: ShapesDataModule, init_args: {root: %s, batch_size: 4, crop_size: [65, 65], num_workers: 0}}
trainer: {accelerator: cpu, devices: 1, max_steps: %d, val_check_interval: 4, limit_val_batches: 4, logger: true}
checkpoint: {every_n_steps: 1}
"""
STEPS = 12
PATIENCE = 1200.0  # longest duration of a process in seconds
PAUSE = 0.005
MEGABYTES = 2**20


@dataclass
class Tally:
    """The result of an attack: the number of attacked processes, and the failed checks."""

    attacked: int = 0
    faults: list[str] = field(default_factory=list)

    def check(self, holds: bool, fault: str) -> None:
        """Record a fault if a condition does not hold."""
        if not holds:
            self.faults.append(fault)


class Laboratory:
    """An undisturbed training, its result, and methods to start the same training under attack.

    Args:
        folder: Folder of all runs and logs.
        seed: Seed of the random times of the attacks.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.config = folder / "attack.yaml"
        self.config.write_text(NETWORK % (folder / "shapes", STEPS))
        whole = folder / "whole"
        process = self.start(whole)
        self.seconds = _seconds_of_training(process, whole)
        if process.returncode != 0:
            raise SystemExit(f"the undisturbed training failed: {self.log(whole).read_text()}")
        self.whole = _result(whole)
        self.checkpoint_size = (whole / "last.ckpt").stat().st_size

    def start(self, run: Path, *options: str, prefix: tuple[str, ...] = ()) -> "subprocess.Popen[bytes]":
        """Start the training in a folder, or resume it."""
        command = [*prefix, sys.executable, "-m", "deeplab_lightning", "fit", "-c", str(ROOT / "experiments/base.yaml")]
        command += ["-c", str(self.config), "--trainer.default_root_dir", str(run), "--ckpt_path", "last", *options]
        command += ["--wandb.mode", "disabled", "--trainer.enable_progress_bar", "false"]
        with self.log(run).open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=ROOT)

    def log(self, run: Path) -> Path:
        """The file with the output of a run folder's processes."""
        return self.folder / f"{run.name}.log"

    def finish(self, run: Path, tally: Tally) -> None:
        """Resume a training to its end, and compare it with the undisturbed one."""
        status = self.start(run).wait(PATIENCE)
        has_both = all((run / name).is_file() for name in ("last.ckpt", "best.ckpt"))
        tally.check(status == 0, f"{run.name}: resumed and ended with status {status}, see {self.log(run)}")
        tally.check(has_both, f"{run.name}: it has no last.ckpt or no best.ckpt at the end")
        if status == 0 and has_both:
            for part, same in _compare(self.whole, _result(run)).items():
                tally.check(same, f"{run.name}: its {part} differ from the undisturbed training's")

    def check_sentence(self, run: Path, *, status: int, expected: int, words: str, tally: Tally) -> None:
        """Check that a process ended with the expected status and a one-sentence error."""
        text = self.log(run).read_text()
        tally.check(status == expected, f"{run.name}: ended with status {status}, not {expected}")
        tally.check("Traceback" not in text, f"{run.name}: a traceback, see {self.log(run)}")
        tally.check(words in text, f"{run.name}: its output lacks {words!r}, see {self.log(run)}")


def _seconds_of_training(process: "subprocess.Popen[bytes]", run: Path) -> float:
    """The seconds from the creation of a training's log folder to the end of its process."""
    while process.poll() is None and not (run / "logs").exists():
        time.sleep(PAUSE)
    start = time.monotonic()
    process.wait(PATIENCE)
    return time.monotonic() - start


def _result(run: Path) -> dict[str, Any]:
    last, best = (torch.load(run / name, weights_only=True) for name in ("last.ckpt", "best.ckpt"))
    scores = [state["best_model_score"] for state in last["callbacks"].values() if "best_model_score" in state]
    return {
        "weights": last["state_dict"],
        "optimizer's states": last["optimizer_states"],
        "steps": last["global_step"],
        "best score": scores,
        "best weights": best["state_dict"],
    }


def _compare(one: dict[str, Any], other: dict[str, Any]) -> dict[str, bool]:
    return {part: _same(one[part], other[part]) for part in one}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _is_whole(checkpoint: Path) -> bool:
    """Whether the checksums of a checkpoint hold."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def _check_disk(run: Path, tally: Tally) -> None:
    for checkpoint in run.glob("*.ckpt"):
        tally.check(_is_whole(checkpoint), f"{run.name}: {checkpoint.name} cannot be read")


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
        _check_disk(run, tally)
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
        _check_disk(run, tally)
        time.sleep(PAUSE)
    statuses = sorted(process.returncode for process in processes)
    tally.check(statuses == [0, 1], f"{run.name}: ended with statuses {statuses}, not 0 and 1")
    tally.check(num_checks > 1, f"{run.name}: the disk was never checked")
    laboratory.check_sentence(run, status=statuses[-1], expected=1, words="deeplab: error: ", tally=tally)
    laboratory.finish(run, tally)
    yield tally


def moves(laboratory: Laboratory, _: int) -> Iterator[Tally]:
    """SIGUSR1 as soon as a step is saved; the folder is moved before the training resumes."""
    tally = Tally()
    run = laboratory.folder / "moved_0"
    for number in range(STEPS):
        last, before = run / "last.ckpt", _step(run / "last.ckpt")
        process = laboratory.start(run)
        while process.poll() is None and _step(last) == before:
            time.sleep(PAUSE)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGUSR1)
        status = process.wait(PATIENCE)
        tally.attacked += 1
        tally.check(status in (138, 0), f"{run.name}: ended with status {status}")
        elsewhere = laboratory.folder / f"moved_{number + 1}"
        run = run.rename(elsewhere)
        yield tally
        if status == 0:
            break
    laboratory.finish(run, tally)
    yield tally


def _step(checkpoint: Path) -> float:
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


def disks(laboratory: Laboratory, _: int) -> Iterator[Tally]:
    """Five kinds of full disks: no room, room for one checkpoint, no inodes, filled by others, files too large."""
    tally = Tally()
    size = laboratory.checkpoint_size
    mounts = {
        "no_room": "size=64k",
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
    tally.check(str(run) in laboratory.log(run).read_text(), f"{run.name}: no file is named, see {laboratory.log(run)}")
    _check_disk(kept, tally)
    laboratory.finish(kept, tally)


ATTACKS: dict[str, Callable[[Laboratory, int], Iterator[Tally]]] = {
    "kills": kills,
    "disks": disks,
    "together": together,
    "moves": moves,
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
