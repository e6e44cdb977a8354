import os
import re
import signal
import sys
import threading
from pathlib import Path

import pytest
from submitit.core.utils import DelayedSubmission

from deeplab_lightning.__main__ import main
from deeplab_lightning.ablation.slurm import Task
from deeplab_lightning.run_folder import JobFolder
from tests.ablation.tables import TABLE, write_tree
from tests.patience import wait_until

OTHERS = """  - {name: slow, train: {model.init_args.lr: 0.001}, paper: 1}
  - {name: next, train: {trainer.max_steps: 9}, start_from: slow, paper: 3}
"""
SBATCH = """#!/bin/sh
cp "$1" {folder}/script
echo "Submitted batch job 123"
"""
DEEPLAB = """
import json, os, pathlib, signal, sys, time
def stop(number, frame):
    pathlib.Path("stopped").write_text("saved")
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
pathlib.Path("started").write_text(json.dumps([sys.argv[1:], "SLURM_NTASKS" in os.environ]))
if sys.argv[1] == "wait":
    os.kill(os.getpid(), signal.SIGUSR2)  # SLURM sends it to every process of the task
    while True:
        time.sleep(0.1)
sys.exit(int(sys.argv[1] == "fail"))
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder into which a fake `sbatch` copies the script that it gets."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sbatch", "srun"):
        (folder / name).write_text(SBATCH.format(folder=tmp_path))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path


def test_an_array_job_with_a_task_for_each_chain(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_tree(cluster / "experiments", cluster, TABLE + OTHERS)
    options = [str(path), "--scale", "smoke", "--seeds", "2", "--runs", str(cluster / "runs")]
    slurm = ["--launcher", "slurm", "--slurm", "partition=gpu,time=720,gpus_per_node=4,cpus_per_task=32"]
    assert main(["ablate", *options, *slurm, "--wandb", "project=mine"]) == 0
    folder = cluster / "runs" / "smoke" / "slurm"
    assert capsys.readouterr().out.splitlines()[:2] == ["123_0", "123_1"]
    script = (cluster / "script").read_text()
    for line in ("partition=gpu", "time=720", "gpus-per-node=4", "cpus-per-task=32", "array=0-1"):
        assert re.search(rf"^#SBATCH --{line}\b", script, re.MULTILINE), line
    assert f"{sys.executable} -u -m submitit.core._submit {folder}" in script
    submitted = [DelayedSubmission.load(folder / f"123_{number}_submitted.pkl").function for number in range(2)]
    tasks = [task for task in submitted if isinstance(task, Task)]
    common = ["ablate", str(path), "--scale", "smoke", "--runs", str(cluster / "runs"), "--wandb", "project=mine"]
    assert [task.options for task in tasks] == [
        [*common, "--part", "plain,flip@2"],
        [*common, "--part", "slow,next@2"],
    ]
    for task, length in zip(tasks, (1, 2), strict=True):  # the rows `slow` and `next` are two trainings
        assert len(task.folders) == length
        assert {folder.path.parent for folder in task.folders} == {cluster / "runs" / "smoke"}
    assert not (cluster / "runs" / "smoke" / "sweep.yaml").exists()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake `deeplab_lightning` that only records how it was called."""
    (tmp_path / "deeplab_lightning").mkdir()
    (tmp_path / "deeplab_lightning" / "__main__.py").write_text(DEEPLAB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_task_hides_slurm_from_lightning(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "1")
    Task(["ablate", "a.yaml"])()
    assert (package / "started").read_text() == '[["ablate", "a.yaml"], false]'
    with pytest.raises(RuntimeError, match="fail a.yaml.* 1"):
        Task(["fail", "a.yaml"])()


def test_a_task_at_its_time_limit_saves_and_is_requeued(package: Path) -> None:
    """Like in submitit, the handler of the signal calls `checkpoint` and exits."""
    task = Task(["wait", "a.yaml"])
    later: list[DelayedSubmission] = []

    def handler(number: int, frame: object) -> None:
        later.append(task.checkpoint())
        raise SystemExit

    def send() -> None:
        wait_until((package / "started").is_file)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=send)
    try:
        thread.start()
        with pytest.raises(SystemExit):
            task()
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert task.process is not None
    assert task.process.wait() == 130
    assert (package / "stopped").read_text() == "saved"
    again = later[0].function
    assert isinstance(again, Task)
    assert again.options == task.options


@pytest.mark.parametrize("done", ["last", "done", "evaluation"])
def test_a_task_without_progress_since_its_last_start_fails(package: Path, done: str) -> None:
    folder = JobFolder(package / "abc_seed0")
    evaluation = JobFolder(folder.path / "evaluations" / "def")
    evaluation.path.mkdir(parents=True)
    first = Task(["ablate", "a.yaml"], [folder])
    first()
    with pytest.raises(RuntimeError, match=r"a\.yaml.* time"):
        first.checkpoint().function()
    again = first.checkpoint().function
    {"last": folder.last, "done": folder.done, "evaluation": evaluation.done}[done].touch()
    again()
    with pytest.raises(RuntimeError, match="time"):
        again.checkpoint().function()
