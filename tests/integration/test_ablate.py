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


QUICK = """
import sys
from deeplab_lightning.ablation import claims
claims.BEAT, claims.EXPIRY = 0.5, float(sys.argv.pop(1))
from deeplab_lightning.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def machine(root: Path, path: Path, results: str, expiry: float) -> "subprocess.Popen[bytes]":
    """Start a process with a run root of its own, which stands for a machine."""
    command = [sys.executable, "-c", QUICK, str(expiry), "ablate", str(path), "--results", results, "--runs", str(root)]
    with (root.parent / f"{root.name}.log").open("a") as file:
        return subprocess.Popen(
            [*command, "--wandb", "mode=disabled"], stdout=file, stderr=file, start_new_session=True
        )


@pytest.mark.slow
def test_two_machines_share_a_table_and_one_dies(
    tmp_path: Path, shapes_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first is killed by SIGKILL with all its processes while it trains; the second runs what the first had."""
    path = write_tree(tmp_path / "experiments", shapes_root, TABLE + ROWS)
    whole, one, two, results = (tmp_path / name for name in ("whole", "one", "two", "results"))
    first = machine(one, path, f"file://{results}", 60)
    stop(first, signal.SIGKILL, lambda: any(one.glob("paper/*/last.ckpt")), tmp_path / "one.log")
    assert len(list(results.glob("paper/claims/*/*"))) == 1
    machines = [machine(root, path, str(results), 5) for root in (two, tmp_path / "three")]
    assert [each.wait(PATIENCE) for each in machines] == [0, 0], (tmp_path / "two.log").read_text()
    assert main(["ablate", str(path), "--runs", str(whole), "--wandb", "mode=disabled"]) == 0
    expected = scores(path, whole, capsys)
    assert [row["name"] for row in expected if row["ours"] is not None] == ["plain", "flip", "after"]
    for root in (two, tmp_path / "three"):
        assert scores(path, root, capsys) == expected
    assert main(["ablate", str(path), "--runs", str(one), "--results", str(results), "--wandb", "mode=disabled"]) == 0
    assert scores(path, one, capsys) == expected
    files = [file for file in results.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".zip", ".ckpt"}  # neither claims nor drafts
    assert len(files) == 3 + 3 + 3  # trainings with their checkpoints, and evaluations
