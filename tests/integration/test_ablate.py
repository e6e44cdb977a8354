"""`deeplab ablate` on a tiny table: completed, killed and continued, and with a row that fails."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.__main__ import main
from tests.ablation.tables import TABLE, write_tree
from tests.patience import PATIENCE, wait_until

LAUNCHER = ["--launcher", "local", "--jobs", "2"]
ROWS = """  - {name: start, stage: of another, train: {model.init_args.lr: 0.001}}
  - {name: after, train: {trainer.max_steps: 3}, start_from: start, paper: 22.0, metric: test/miou}
"""


def scores(path: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["report", str(path), "--runs", str(runs), "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    return [{key: row[key] for key in ("name", "ours", "status")} for row in table["rows"]]


def start(path: Path, runs: Path, log: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "deeplab_lightning", "ablate", str(path), "--runs", str(runs), *LAUNCHER]
    with log.open("a") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)


def stop(process: "subprocess.Popen[bytes]", number: signal.Signals, event: Callable[[], bool], log: Path) -> None:
    """Send a signal to a process group after the event has happened."""
    try:
        wait_until(lambda: event() or process.poll() is not None, log.read_text)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, number)
    process.wait(PATIENCE)


@pytest.mark.slow
def test_a_killed_table_continues_to_the_same_scores(
    tmp_path: Path, shapes_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is ended by Ctrl-C after the first checkpoint, and by SIGKILL after the first finished training."""
    path = write_tree(tmp_path / "experiments", shapes_root)
    whole, broken, log = tmp_path / "whole", tmp_path / "broken", tmp_path / "log"
    assert main(["ablate", str(path), "--runs", str(whole), *LAUNCHER]) == 0
    expected = scores(path, whole, capsys)
    assert [row["name"] for row in expected if row["ours"] is not None] == ["plain", "flip"]
    for number, event in ((signal.SIGINT, "paper/*/last.ckpt"), (signal.SIGKILL, "paper/*/done.json")):
        stop(start(path, broken, log), number, lambda: any(broken.glob(event)), log)  # noqa: B023 (it is called at once)
    assert main(["ablate", str(path), "--runs", str(broken), *LAUNCHER]) == 0
    assert scores(path, broken, capsys) == expected
    done = {file: file.stat().st_mtime_ns for file in broken.rglob("done.json")}
    assert len(done) == 3
    assert main(["ablate", str(path), "--runs", str(broken), *LAUNCHER]) == 0
    assert {file: file.stat().st_mtime_ns for file in broken.rglob("done.json")} == done  # nothing was done again


@pytest.mark.slow
def test_a_row_starts_from_another_and_a_failing_row_stops_no_other(
    tmp_path: Path, shapes_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = "  - {name: wrong, train: {model.init_args.backbone: resnet19}, paper: 1}\n"
    path = write_tree(tmp_path / "experiments", shapes_root, TABLE + wrong + ROWS)
    runs = tmp_path / "runs"
    assert main(["ablate", str(path), "--runs", str(runs), "--rows", "wrong,after"]) == 1
    printed = capsys.readouterr().out
    assert "training of wrong, seed 0 not done" in printed
    assert "resnet19" in printed
    assert "it needs the training of wrong, which failed" in printed
    found = {row["name"]: row for row in scores(path, runs, capsys)}
    assert found["after"]["ours"] > 0
    assert "resnet19" in found["wrong"]["status"]
    assert found["plain"]["status"] == "not yet run"
    text = next(log for log in runs.glob("paper/*/log.txt") if "--wandb.name after" in log.read_text()).read_text()
    assert "Started from" in text
