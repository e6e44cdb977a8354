"""`deeplab` in processes of its own, on the device that is measured, within the time of a piece."""

import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import torch
from session import Session, Unfinished

from deeplab_lightning.run_folder import RunFolder
from deeplab_lightning.run_reader import read_scores

EXPERIMENTS = Path(__file__).parents[1]
PATIENCE = 30.0
"""Seconds in which a training that is asked to end saves its last checkpoint."""


def configs(*names: str) -> list[str]:
    """The options for files of experiments/."""
    return [word for name in names for word in ("-c", str(EXPERIMENTS / name))]


def on_device(session: Session, run: Path) -> list[str]:
    """The options for one process on the device, with a run folder."""
    accelerator = "gpu" if session.on_gpu else "cpu"
    options = ["--trainer.accelerator", accelerator, "--trainer.devices", "1", "--trainer.default_root_dir", str(run)]
    return [*options, "--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]


def small_training(session: Session, run: Path, steps: int, smoke_steps: int) -> list[str]:
    """The options of a small DeepLabv3+ on Shapes (scale/smoke.yaml), which validates once, after its last step."""
    number = str(smoke_steps if session.smoke else steps)
    options = configs("base.yaml", "data/shapes.yaml", "model/deeplab_v3plus.yaml", "scale/smoke.yaml")
    options += [*on_device(session, run), "--trainer.max_steps", number, "--trainer.val_check_interval", number]
    options += ["--data.root", str(session.folder / "shapes")]
    if session.smoke:
        options += ["--data.num_train", "8", "--data.num_val", "3", "--data.image_size", "[48, 64]"]
        options += ["--data.batch_size", "2", "--data.crop_size", "[33, 33]", "--data.num_workers", "0"]
    return options


def deeplab(session: Session, *options: str) -> None:
    """Run `deeplab`, and wait for its end.

    Raises:
        Unfinished: The time is up. A training has saved last.ckpt.
        RuntimeError: The command failed; the message is its error.
    """
    together(session, [[sys.executable, "-m", "deeplab_lightning", *options]])


def two_processes(session: Session, *options: str) -> None:
    """Run `deeplab` in two processes on the one device, which torchrun takes for two machines.

    Raises:
        Unfinished: The time is up.
        RuntimeError: A process failed; the message is its error.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"]
    launch += ["--master_addr", "127.0.0.1", "--master_port", port, "--node_rank"]
    words = ["-m", "deeplab_lightning", *options, "--trainer.num_nodes", "2"]
    together(session, [[*launch, str(rank), *words] for rank in range(2)])


def together(session: Session, commands: list[list[str]]) -> None:
    """Run commands at the same time, until all have ended.

    Raises:
        Unfinished: The time is up.
        RuntimeError: A command failed.
    """
    logs = [session.folder / f"process_{rank}.txt" for rank in range(len(commands))]
    processes = [start(command, log) for command, log in zip(commands, logs, strict=True)]
    try:
        for process in processes:
            process.wait(session.seconds_left)
    except subprocess.TimeoutExpired:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            for process in processes:
                process.wait(PATIENCE)
        raise Unfinished("its time is up; the next start goes on from the last checkpoint") from None
    finally:
        for process in processes:
            process.kill()
    for process, log in zip(processes, logs, strict=True):
        if process.returncode:
            raise RuntimeError(error_in(log.read_text(), process.returncode))


def start(command: list[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a command, whose output goes to a file."""
    with log.open("w") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


def error_in(text: str, status: int) -> str:
    """The error in the output of `deeplab`, or else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("deeplab: error: ")]
    return f"status {status}: {(errors or lines or ['no output'])[-1].removeprefix('deeplab: error: ')}"


def step_of(run: Path) -> int:
    """The step of a run's last checkpoint; 0 without one."""
    last = RunFolder(run).last
    return int(torch.load(last, weights_only=True, map_location="cpu")["global_step"]) if last.is_file() else 0


def newest_scores(run: Path, command: str) -> dict[str, float]:
    """The scores of the newest run of a command, by their names."""
    log = RunFolder(run).recorded_logs(command)[-1]
    return {str(score.name): score.value for score in read_scores(log.evaluation)}
