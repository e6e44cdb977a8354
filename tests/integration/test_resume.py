"""A training that is killed and resumed equals one that was never killed, bit for bit."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.__main__ import main
from tests.forked import fork, status_of, text_of
from tests.integration.conftest import Run
from tests.integration.killed import kill_at
from tests.patience import PATIENCE

STEPS, BATCHES_PER_EPOCH = 15, 6
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
SETTINGS = [
    *("--trainer.max_steps", str(STEPS), "--trainer.val_check_interval", "4", "--checkpoint.every_n_steps", "3"),
    *("--data.color_jitter", "0.3", "--model.dropout", "0.5", "--trainer.num_sanity_val_steps", "0"),
    *("--data.transforms", "[{torchvision.transforms.v2.RandomAffine: {degrees: 20}}]"),
]


def options(experiment: list[str], root: Path, num_processes: int, num_workers: int) -> list[str]:
    """The options of a run of 15 steps with 1 or 2 processes; an epoch has 12 images."""
    several = TWO if num_processes > 1 else []
    batch = ["--data.batch_size", "2", "--data.num_workers", str(num_workers)]
    return ["fit", *experiment, *SETTINGS, *several, *batch, "--trainer.default_root_dir", str(root)]


def start(module: list[str], arguments: list[str]) -> int:
    """Run a module in a process of its own, kill what it leaves running, and return its status."""
    command = [sys.executable, "-m", *module, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        text, _ = process.communicate(timeout=PATIENCE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode in (0, -signal.SIGKILL), text
    return process.returncode


def curve(root: Path) -> dict[tuple[str, int], str]:
    """Every logged value by name and step; for a step that ran twice, the later value."""
    found: dict[tuple[str, int], str] = {}
    for folder in sorted((root / "logs").iterdir()):
        if not (folder / "metrics.csv").exists():
            continue
        for row in csv.DictReader((folder / "metrics.csv").read_text().splitlines()):
            for name, value in row.items():
                if value and name not in ("step", "epoch") and "seconds" not in name:
                    found[name, int(row["step"])] = value
    return found


def assert_same(one: Any, other: Any, where: str) -> None:
    """Assert that nested dicts, lists and tensors are equal, bit for bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def assert_same_run(whole: Path, resumed: Path) -> None:
    """Assert that weights, optimizer, schedule, progress, logged curves and scores are equal."""
    ours, theirs = (torch.load(root / "last.ckpt", weights_only=True) for root in (whole, resumed))
    assert ours["global_step"] == STEPS
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
        assert_same(ours[part], theirs[part], part)
    losses = {key for key in curve(whole) if key[0] == "train/loss"}
    assert losses == {("train/loss", step) for step in range(STEPS)}
    assert curve(whole) == curve(resumed)
    scores = []
    for root in (whole, resumed):
        records = json.loads(max((root / "logs").glob("*/evaluation.json")).read_text())
        scores.append([record for record in records if "seconds" not in record["metric"]])
    assert scores[0] == scores[1]
    bests = [torch.load(root / "best.ckpt", weights_only=True) for root in (whole, resumed)]
    assert_same(bests[0]["state_dict"], bests[1]["state_dict"], "best")


@pytest.mark.parametrize(("where", "count"), [("training_step", 12)])
def test_a_killed_training_continues_exactly(
    deeplab: Run, experiment: list[str], tmp_path: Path, where: str, count: int
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert deeplab(*options(experiment, whole, 1, 0)) == 0

    def killed() -> int:
        kill_at(where, count)
        return main(options(experiment, cut, 1, 0))

    log = tmp_path / "log"
    assert status_of(fork(killed, log)) == -signal.SIGKILL, text_of(log)
    step = torch.load(cut / "last.ckpt", weights_only=True)["global_step"]
    assert step % BATCHES_PER_EPOCH, "the kill must fall into the middle of an epoch"
    assert deeplab(*options(experiment, cut, 1, 0), "--ckpt_path", "last") == 0
    assert_same_run(whole, cut)


@pytest.mark.slow
@pytest.mark.parametrize(("num_processes", "num_workers"), [(1, 0), (1, 2), (1, 4), (2, 0), (2, 2), (2, 4)])
def test_random_kills(experiment: list[str], tmp_path: Path, num_processes: int, num_workers: int) -> None:
    draw = random.Random(f"{num_processes} {num_workers}")
    whole = tmp_path / "whole"
    assert start(["deeplab_lightning"], options(experiment, whole, num_processes, num_workers)) == 0
    most = {"training_step": STEPS, "optimizer_step": STEPS, "validation_step": 15 // num_processes, "save": 8}
    for attempt in range(4):
        cut = tmp_path / f"cut_{attempt}"
        run = [*options(experiment, cut, num_processes, num_workers), "--ckpt_path", "last"]
        where = draw.choice(list(most))
        count = draw.randint(1, most[where])
        status = start(["tests.integration.killed", where, str(count)], run)
        assert status == -signal.SIGKILL, (where, count)
        assert start(["deeplab_lightning"], run) == 0
        assert_same_run(whole, cut)
