"""Two torchrun agents with one process each on one machine, which stand for two machines."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.patience import PATIENCE, wait_until


def agent(meeting: list[str], options: list[str], log: Path) -> subprocess.Popen[str]:
    """Start one of the two agents; `meeting` says how they find each other."""
    launch = ["torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1", *meeting]
    with log.open("w") as file:
        command = [sys.executable, "-m", *launch, "-m", "deeplab_lightning", *options]
        return subprocess.Popen(command, stdout=file, stderr=file, text=True)


def fixed(rank: int, port: int) -> list[str]:
    """The options of an agent that knows its rank and where the first one is."""
    return ["--node_rank", str(rank), "--master_addr", "127.0.0.1", "--master_port", str(port)]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The process IDs of an agent's workers."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def kill_with_workers(process: subprocess.Popen[str]) -> None:
    """Kill an agent and its workers, like a machine that fails."""
    for pid in (process.pid, *workers(process)):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_one_of_two_hosts_dies_and_a_restart_continues(experiment: list[str], tmp_path: Path) -> None:
    two = ["--trainer.devices", "1", "--trainer.num_nodes", "2", "--trainer.strategy", "ddp", "--data.batch_size", "4"]
    run = ["fit", *experiment, *two, "--checkpoint.every_n_steps", "1", "--ckpt_path", "last"]
    logs, last = [tmp_path / f"agent_{rank}" for rank in range(2)], tmp_path / "run" / "last.ckpt"
    port, endless = free_port(), ["--trainer.max_steps", "100000", "--trainer.val_check_interval", "100000"]
    agents = [agent(fixed(rank, port), [*run, *endless], logs[rank]) for rank in range(2)]
    wait_until(lambda: last.exists() or any(each.poll() is not None for each in agents), logs[0].read_text)
    assert all(each.poll() is None for each in agents), logs[0].read_text()
    kill_with_workers(agents[1])
    assert agents[0].wait(PATIENCE) == 1
    agents[1].wait()
    assert "deeplab: error: another process of this training has ended" in logs[0].read_text()
    step = torch.load(last, weights_only=True)["global_step"]
    port, more = free_port(), ["--trainer.max_steps", str(step + 3), "--trainer.val_check_interval", "2"]
    agents = [agent(fixed(rank, port), [*run, *more], logs[rank]) for rank in range(2)]
    assert [each.wait(PATIENCE) for each in agents] == [0, 0], logs[0].read_text()
    assert f"last: {last} (step {step + 3})" in logs[0].read_text()
    assert "5 images" in logs[0].read_text()


@pytest.mark.slow
def test_torchrun_restarts_the_workers_from_the_last_checkpoint(
    experiment: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = ["--trainer.devices", "1", "--trainer.num_nodes", "2", "--trainer.strategy", "ddp", "--data.batch_size", "4"]
    steps = ["--trainer.max_steps", "60", "--trainer.val_check_interval", "100000", "--checkpoint.every_n_steps", "1"]
    run = ["fit", *experiment, *two, *steps, "--ckpt_path", "last"]
    logs, last = [tmp_path / f"agent_{rank}" for rank in range(2)], tmp_path / "run" / "last.ckpt"
    # Agents of fixed ranks start their workers again without waiting for each other, and these may not meet. Nor may
    # those of a store that the agents keep: its keys hold each agent's own count of restarts.
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--local-addr", "127.0.0.1"]
    agents = [agent([*meeting, "--max-restarts", "1"], run, log) for log in logs]
    wait_until(lambda: last.exists() or any(each.poll() is not None for each in agents), logs[0].read_text)
    for pid in workers(agents[1]):
        os.kill(pid, signal.SIGKILL)
    assert [each.wait(PATIENCE) for each in agents] == [0, 0], logs[0].read_text() + logs[1].read_text()
    assert torch.load(last, weights_only=True)["global_step"] == 60
    starts = sorted((tmp_path / "run" / "logs").glob("fit_*/config.yaml"))
    assert len(starts) == 2  # the second start went on: the first had written a checkpoint
