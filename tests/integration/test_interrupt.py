"""Ctrl-C in the middle of a training."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.integration.conftest import Run


@pytest.mark.filterwarnings("ignore:You're resuming")  # Lightning's word on a checkpoint from within an epoch
def test_ctrl_c_leaves_a_last_checkpoint_that_resumes(deeplab: Run, experiment: list[str], tmp_path: Path) -> None:
    options = [*experiment, "--trainer.log_every_n_steps", "1", "--trainer.max_steps", "100000"]
    options += ["--trainer.val_check_interval", "100000"]
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-m", "deeplab_lightning", "fit", *options]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        metrics = tmp_path / "run" / "logs" / "fit_0" / "metrics.csv"
        while not (metrics.exists() and len(metrics.read_text().splitlines()) > 3):
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        process.wait()
    text = (tmp_path / "log").read_text()
    assert process.returncode == 1
    assert "saved" in text
    assert "Traceback" not in text
    step = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"]
    assert step > 0
    deeplab(
        "fit",
        *experiment,
        "--ckpt_path",
        "last",
        "--trainer.max_steps",
        step + 2,
        "--trainer.val_check_interval",
        "100",
    )
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == step + 2
