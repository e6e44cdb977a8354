"""A run of two processes, one of which is stopped and would keep the other waiting."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.patience import PATIENCE, wait_until


def launched(pid: int) -> list[int]:
    """The training processes that a process has started."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # a short-lived one may have ended since
            if b"deeplab_lightning" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [1, 0])
def test_a_stopped_process_ends_the_run_with_an_error(experiment: list[str], tmp_path: Path, stopped: int) -> None:
    endless = ["--trainer.max_steps", "100000", "--trainer.val_check_interval", "100000"]
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--heartbeat.minutes", "0.15"]
    log, metrics = tmp_path / "log", tmp_path / "run" / "logs" / "fit_0" / "metrics.csv"
    command = [sys.executable, "-m", "deeplab_lightning", "fit", *experiment, *endless, *two]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        wait_until(
            lambda: (metrics.exists() and metrics.read_text().count("\n") > 3) or process.poll() is not None,
            log.read_text,
        )
        assert process.poll() is None, log.read_text()
        (other,) = launched(process.pid)
        os.kill((process.pid, other)[stopped], signal.SIGSTOP)
        status = process.wait(PATIENCE)
        wait_until(lambda: not Path(f"/proc/{other}").exists(), log.read_text)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert status == (1 if stopped else -signal.SIGKILL), log.read_text()
    sentence = f"deeplab: error: rank {stopped} has given no sign of life for 0.15 minutes"
    assert log.read_text().count(sentence) == 1
    assert not any("draft" in path.name for path in tmp_path.rglob("*"))
