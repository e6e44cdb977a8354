"""Events that end a training early: it reports them, loses no progress, and never hangs."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from torch import Tensor

import deeplab_lightning.cli
from deeplab_lightning.__main__ import main
from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO
from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.modules.base import SegmentationModule
from tests.integration.conftest import Run
from tests.patience import PATIENCE, wait_until

LONG = ["--trainer.max_steps", "100000", "--trainer.val_check_interval", "100000"]


@pytest.mark.parametrize(
    ("number", "status", "num_processes"),
    [
        pytest.param(signal.SIGUSR1, 138, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, 138, 2, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, 2, marks=pytest.mark.slow),
    ],
)
def test_signals_save_and_exit_with_their_status(
    experiment: list[str], tmp_path: Path, number: signal.Signals, status: int, num_processes: int
) -> None:
    options = [*experiment, *LONG, "--checkpoint.every_n_steps", "1", "--data.num_workers", "1"]
    options += ["--trainer.devices", str(num_processes)] + (["--trainer.strategy", "ddp"] if num_processes > 1 else [])
    command = [sys.executable, "-m", "deeplab_lightning", "fit", *options]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        last = tmp_path / "run" / "last.ckpt"
        try:
            wait_until(lambda: last.exists() or process.poll() is not None, (tmp_path / "log").read_text)
            assert process.poll() is None, (tmp_path / "log").read_text()
            os.killpg(process.pid, number)  # like SLURM, which signals the loader workers too
            assert process.wait(PATIENCE) == status
        finally:
            if process.poll() is None:  # otherwise it would train on during all other tests
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    text = (tmp_path / "log").read_text()
    assert "Traceback" not in text
    assert f"{number.name} at step {torch.load(last, weights_only=True)['global_step']}; saved {last}" in text


def failing_at(call: int, failure: Callable[[], Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """A method that calls `failure` at one call, and `original` at all others."""
    calls = iter(range(1, 10_000))

    def method(self: Any, *arguments: Any) -> Any:
        return failure() if next(calls) == call else original(self, *arguments)

    return method


def nan_loss() -> Tensor:
    return torch.tensor(float("nan"), requires_grad=True)


def test_a_nan_loss_ends_the_training_before_it_reaches_the_weights(
    experiment: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(SegmentationModule, "training_loss", failing_at(5, nan_loss, SegmentationModule.training_loss))
    assert main(["fit", *experiment, "--checkpoint.every_n_steps", "2"]) == 1
    assert "the loss of step 4 is not finite; the ids of its images are in " in capsys.readouterr().err
    record = json.loads((tmp_path / "run" / "logs" / "fit_0" / "nan_batch_step_4_rank_0.json").read_text())
    assert record["loss"] == "nan"
    assert len(record["image_ids"]) == 4
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    assert all(bool(tensor.isfinite().all()) for tensor in saved["state_dict"].values())


@pytest.mark.filterwarnings("ignore:the loss of step 4 is not finite")
def test_a_batch_with_a_nan_loss_can_be_skipped(
    deeplab: Run, experiment: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(self: SegmentationModule, images: Tensor, target: Tensor) -> Tensor:
        value = training_loss(self, images, target)
        return value * float("nan") if self.global_step == 4 else value

    training_loss = SegmentationModule.training_loss
    monkeypatch.setattr(SegmentationModule, "training_loss", loss)
    deeplab("fit", *experiment, "--finite_loss.max_skipped", 1)
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 6
    assert all(bool(tensor.isfinite().all()) for tensor in saved["state_dict"].values())


def too_much() -> Tensor:
    return torch.empty(2**50)


def test_a_batch_that_does_not_fit_into_memory(
    experiment: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(SegmentationModule, "training_loss", failing_at(5, too_much, SegmentationModule.training_loss))
    assert main(["fit", *experiment, "--checkpoint.every_n_steps", "2"]) == 1
    error = capsys.readouterr().err
    assert "deeplab: error: out of memory (" in error
    assert "lower data.batch_size, data.crop_size or data.num_workers" in error
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 4


def test_checkpoints_by_time(deeplab: Run, experiment: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[tuple[str, int]] = []

    def save(self: AtomicCheckpointIO, checkpoint: dict[str, Any], path: str | Path, **_: Any) -> None:
        saved.append((Path(path).name, checkpoint["global_step"]))

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", save)
    options = ["fit", *experiment, "--trainer.max_steps", 3]
    deeplab(*options, "--checkpoint.every_n_minutes", 1e-9)
    assert saved == [("last.ckpt", 1), ("last.ckpt", 2), ("best.ckpt", 3), ("last.ckpt", 3)]
    saved.clear()
    deeplab(*options, "--checkpoint.every_n_minutes", 60)
    assert saved == [("best.ckpt", 3), ("last.ckpt", 3)]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_becomes_unreadable(
    experiment: list[str],
    shapes_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    num_workers: int,
) -> None:
    root = Path(copytree(shapes_root, tmp_path / "data"))

    def break_it(self: SegmentationModule, *arguments: Any) -> Tensor:
        for path in (root / "JPEGImages").glob("train_*.jpg"):
            path.write_bytes(path.read_bytes()[:300])
        return training_loss(self, *arguments)

    training_loss = SegmentationModule.training_loss
    monkeypatch.setattr(SegmentationModule, "training_loss", break_it)
    options = [*LONG, "--data.root", str(root), "--data.num_workers", str(num_workers)]
    assert main(["fit", *experiment, *options]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert ".jpg: cannot be read as an image" in error
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] >= 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loader_worker_that_dies(
    experiment: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(SegmentationDataset, "__getitem__", failing_at(43, die, SegmentationDataset.__getitem__))
    assert main(["fit", *experiment, *LONG, "--data.num_workers", "1", "--checkpoint.every_n_steps", "1"]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "a loader worker was killed" in error
    (opened,) = re.findall(r"opened is (.*?);", error)
    assert re.search(r"/train_\d+\.jpg( or |$)", opened)  # of the other loader's worker too, if the pipe told of it
    assert "--ckpt_path last" in error
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] >= 1


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_checkpoint_that_would_execute_something_is_refused(
    experiment: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Malicious()}, tmp_path / "evil.ckpt")
    assert main([command, *experiment, "--ckpt_path", str(tmp_path / "evil.ckpt")]) == 1
    assert "evil.ckpt: it holds more than tensors and plain values" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()
    pickle.loads(pickle.dumps(Malicious()))
    assert (tmp_path / "executed").exists()  # it would have


def test_a_worker_that_dies_while_a_checkpoint_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Torch raises its error in the middle of what the program is doing, which takes it for its own."""

    def write(command: str, options: list[str]) -> int:
        try:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
        except RuntimeError as error:
            raise OSError("last.ckpt: the checkpoint cannot be written") from error

    monkeypatch.setattr(deeplab_lightning.cli, "run", write)
    assert main(["fit"]) == 1
    assert "a loader worker was killed" in capsys.readouterr().err
