"""Ctrl-C and other signals during a command."""

import csv
import json
import os
import signal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.__main__ import main
from deeplab_lightning.modules.base import SegmentationModule
from tests.forked import fork_deeplab, kill, text_of
from tests.integration.conftest import Run
from tests.patience import PATIENCE, wait_until


@pytest.mark.filterwarnings("ignore:You're resuming")  # Lightning warns about a checkpoint from the middle of an epoch
@pytest.mark.usefixtures("srun")
def test_ctrl_c_leaves_a_last_checkpoint_that_resumes(deeplab: Run, experiment: list[str], tmp_path: Path) -> None:
    options = [
        *experiment,
        "--trainer.log_every_n_steps",
        "1",
        "--trainer.max_steps",
        "100000",
        "--data.num_workers",
        "1",
    ]
    options += ["--trainer.val_check_interval", "100000"]
    log, metrics = tmp_path / "log", tmp_path / "run" / "logs" / "fit_0" / "metrics.csv"
    process = fork_deeplab(["fit", *options], log)
    try:
        wait_until(
            lambda: (metrics.exists() and metrics.read_text().count("\n") > 3) or not process.is_alive(),
            lambda: text_of(log),
        )
        assert process.is_alive(), text_of(log)
        os.killpg(process.pid or 0, signal.SIGINT)  # like a terminal, which signals the loader workers too
        process.join(PATIENCE)
    finally:
        kill(process)
    text = text_of(log)
    assert process.exitcode == 128 + signal.SIGINT
    assert "saved" in text
    assert "Traceback" not in text
    assert "srun" not in text
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


@pytest.mark.filterwarnings("ignore:You're resuming")
@pytest.mark.parametrize("by_signal", [False, True], ids=["within a batch", "between two batches"])
def test_an_interrupted_validation_is_not_scored_and_is_repeated(
    deeplab: Run, experiment: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_signal: bool
) -> None:
    step, calls = SegmentationModule.validation_step, iter(range(100))

    def interrupted(self: SegmentationModule, batch: dict[str, Any], batch_idx: int) -> Any:
        if next(calls) == 4:  # the sanity check is one batch, the first validation five
            if not by_signal:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGUSR1)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SegmentationModule, "validation_step", interrupted)
    with pytest.raises(SystemExit):
        deeplab("fit", *experiment)
    monkeypatch.setattr(SegmentationModule, "validation_step", step)
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 3
    deeplab("fit", *experiment, "--ckpt_path", "last")
    records = json.loads((tmp_path / "run" / "logs" / "fit_1" / "evaluation.json").read_text())
    assert {record["identity"]["num_images"] for record in records} == {5}
    assert {record["identity"]["weights"] for record in records} == {"of step 6"}
    rows = csv.DictReader((tmp_path / "run" / "logs" / "fit_1" / "metrics.csv").read_text().splitlines())
    assert [row["step"] for row in rows if row["val/miou"]] == ["2", "5"]


EVALUATIONS = ("validate", "test", "predict")


@pytest.mark.parametrize(
    ("command", "number"), [("fit", signal.SIGTERM), *product(EVALUATIONS, (signal.SIGINT, signal.SIGTERM))]
)
def test_a_signal_gives_its_status_and_the_seconds_are_recorded(
    command: str,
    number: signal.Signals,
    experiment: list[str],
    shapes_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = {"fit": "training", "validate": "validation"}.get(command, command) + "_step"
    step = getattr(SegmentationModule, name)

    def ended(self: SegmentationModule, *arguments: Any) -> Any:
        for _ in range(1 + (command == "fit")):  # a training gets SIGTERM from its scheduler and from `deeplab ablate`
            os.kill(os.getpid(), number)
        return step(self, *arguments)

    monkeypatch.setattr(SegmentationModule, name, ended)
    images = ["--data.predict_images", str(shapes_root / "JPEGImages")] if command == "predict" else []
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    if command == "fit":  # its own message names the saved checkpoint
        with pytest.raises(SystemExit, match=str(128 + number)):
            main([command, *experiment])
        assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 1
    else:
        assert main([command, *experiment, "--untrained", "true", *images]) == 128 + number
        assert f"deeplab: error: ended by {number.name}\n" in capsys.readouterr().err
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert json.loads((tmp_path / "run" / "logs" / f"{command}_0" / "run.json").read_text())["seconds"] > 0


def test_ctrl_c_before_the_training_begins_gives_its_status(
    experiment: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: SegmentationModule, stage: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SegmentationModule, "setup", interrupted)
    assert main(["fit", *experiment]) == 130
    assert "deeplab: error: ended by SIGINT\n" in capsys.readouterr().err
