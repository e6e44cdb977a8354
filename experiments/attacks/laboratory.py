"""A small training, its undisturbed result, and the checks of the same training after an attack."""

import random
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

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
PATIENCE, PAUSE = 1200.0, 0.005
"""The longest duration of a process, and the time between two looks at the disk, in seconds."""


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


def check_disk(run: Path, tally: Tally) -> None:
    """Check that every checkpoint in a run folder can be read."""
    for checkpoint in run.glob("*.ckpt"):
        tally.check(_is_whole(checkpoint), f"{run.name}: {checkpoint.name} cannot be read")
