import fcntl
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from deeplab_lightning.ablation import runner
from deeplab_lightning.ablation.job import Job, jobs_of
from deeplab_lightning.ablation.outcomes import Outcome, State, read_folder
from deeplab_lightning.ablation.plan import Plan, plan_table
from deeplab_lightning.ablation.resources import Resources
from deeplab_lightning.ablation.runner import log_tail, run_jobs
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.run_folder import JobFolder
from tests.ablation.processes import Processes
from tests.ablation.tables import TABLE, write_tree
from tests.patience import PATIENCE

OTHERS = """  - {name: slow, train: {model.init_args.lr: 0.001}, paper: 1}
  - {name: next, train: {trainer.max_steps: 9}, start_from: slow, paper: 3}
"""
TWO = (Resources(3), Resources(4))
DONE = (State.DONE, "")


def plan(folder: Path, more: str = "", **kwargs: object) -> Plan:
    return plan_table(read_table(write_tree(folder, folder, TABLE + more)), "paper", **kwargs)  # type: ignore[arg-type]


def quiet(job: Job, state: State, reason: str) -> None:
    pass


class Said(dict[str, tuple[State, str]]):
    """The last state of each job and its reason, by command and rows."""

    def __call__(self, job: Job, state: State, reason: str) -> None:
        self[f"{job.command} {job.rows_name}"] = state, reason


def test_a_job_of_two_tables_is_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(monkeypatch)
    first = plan(tmp_path)
    other = first.table.path.with_name("other.yaml")
    other.write_text(first.table.path.read_text())
    jobs = jobs_of(first, plan_table(read_table(other), "paper"))
    assert run_jobs(jobs, tmp_path / "runs", quiet, TWO) == 0
    assert processes.rows() == ["fit plain and 1 more", "validate plain", "validate flip"]
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "done.json").read_text())["seconds"] == 1.5


def test_jobs_run_simultaneously_on_separate_resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the two evaluations ends before both have started."""
    barrier = threading.Barrier(2, timeout=PATIENCE)
    processes = Processes(monkeypatch, lambda options: 0 if options[0] == "fit" else 0 * barrier.wait())
    assert run_jobs(jobs_of(plan(tmp_path)), tmp_path / "runs", quiet, TWO) == 0
    assert {environment["OMP_NUM_THREADS"] for environment in processes.environments[1:]} == {"3", "4"}


def test_needed_jobs_come_first_and_a_failure_stops_only_what_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = Processes(monkeypatch, lambda options: int(options[options.index("--wandb.name") + 1] == "slow"))
    said = Said()
    jobs = jobs_of(plan(tmp_path, OTHERS))
    assert run_jobs(jobs, tmp_path / "runs", said, TWO) == 4
    assert sorted(processes.rows()) == ["fit plain and 1 more", "fit slow", "validate flip", "validate plain"]
    assert said["fit next"] == (State.LACKING, "it needs the training of slow, which failed")
    assert said["validate next"] == (State.LACKING, "it needs the training of next, which was not run")
    assert said["validate flip"] == DONE
    state, reason = said["fit slow"]
    assert state is State.FAILED
    assert reason.startswith("ended with status 1\n")
    assert "--wandb.name slow" in reason  # the end of its log
    again = Processes(monkeypatch)
    assert run_jobs(jobs, tmp_path / "runs", said, TWO) == 0
    assert again.rows()[0] == "fit slow"
    assert "validate flip" not in again.rows()
    assert said["validate flip"] == DONE
    assert list((tmp_path / "runs").rglob("failed.json")) == []


def test_ctrl_c_waits_until_all_have_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted, saved = threading.Event(), []

    def wait(options: list[str]) -> int:
        if "slow" in options:
            assert interrupted.wait(PATIENCE)
            saved.append("slow")
        return 0

    def tell(job: Job, state: State, reason: str) -> None:
        if state is State.DONE:
            interrupted.set()
            raise KeyboardInterrupt

    processes = Processes(monkeypatch, wait)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs_of(plan(tmp_path, OTHERS)), tmp_path / "runs", tell, TWO)
    assert saved == ["slow"]
    assert processes.rows() == ["fit plain and 1 more", "fit slow"]
    assert len(list((tmp_path / "runs").rglob("done.json"))) == 1  # not of what was interrupted


def test_sigterm_stops_the_processes_and_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def wait(options: list[str]) -> int:
        if "slow" in options:
            assert processes.terminated.wait(PATIENCE)
            ended.append("slow")
        return 0

    def tell(job: Job, state: State, reason: str) -> None:
        if state is State.DONE:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    processes = Processes(monkeypatch, wait)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs_of(plan(tmp_path, OTHERS)), tmp_path / "runs", tell, TWO)
    assert ended == ["slow"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_status_0_without_its_records_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes, said = Processes(monkeypatch), Said()
    monkeypatch.setattr(processes, "run", lambda options: 0)
    jobs = jobs_of(plan(tmp_path, names=["plain"]))
    folder = jobs[0].folder(tmp_path)
    assert run_jobs(jobs, tmp_path, said) == 2
    failure = f"ended with status 0, but there is no record in {folder.log_root}"
    assert said["fit plain"][1].startswith(failure)
    assert json.loads((folder.path / "failed.json").read_text()) == {"failure": failure}
    assert read_folder(tmp_path)[jobs[0].key] == Outcome(State.FAILED, failure)
    assert not (folder.path / "done.json").exists()


def test_the_seconds_of_a_training_include_all_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first was killed by SIGKILL, the second interrupted. An evaluation by hand is not an attempt."""
    Processes(monkeypatch)
    jobs = jobs_of(plan(tmp_path, names=["plain"]))
    folder = jobs[0].folder(tmp_path).path
    for log, record in {
        "fit_0": "{}",
        "fit_1": '{"seconds": 40.0}',
        "fit_2": "",
        "validate_0": '{"seconds": 9}',
    }.items():
        (folder / "logs" / log).mkdir(parents=True)
        (folder / "logs" / log / "run.json").write_text(record)
    assert run_jobs(jobs, tmp_path, quiet) == 0
    outcomes = read_folder(tmp_path)
    assert [outcomes[job.key].seconds for job in jobs] == [41.5, 1.5]


def test_a_job_with_an_unreadable_record_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(monkeypatch)
    jobs = jobs_of(plan(tmp_path, names=["plain"]))
    run_jobs(jobs, tmp_path, quiet)
    jobs[0].folder(tmp_path).done.write_text("{")
    assert run_jobs(jobs, tmp_path, quiet) == 0
    assert processes.rows() == ["fit plain", "validate plain", "fit plain"]
    assert {outcome.state for outcome in read_folder(tmp_path).values()} == {State.DONE}


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IO[str]]:
    """The lock on the training of "plain", which another process is running."""
    monkeypatch.setattr(runner, "PAUSE", 0.001)
    folder = jobs_of(plan(tmp_path))[0].folder(tmp_path)
    folder.path.mkdir()
    with folder.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def test_a_job_of_another_process_does_not_stop_others(
    held: IO[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PATIENCE", 0.0)
    processes, said = Processes(monkeypatch), Said()
    assert run_jobs(jobs_of(plan(tmp_path, OTHERS)), tmp_path, said) == 3
    assert said["fit plain and 1 more"] == (State.ELSEWHERE, f"{Path(held.name).parent}: in progress elsewhere")
    reason = "it needs the training of plain and 1 more, which is in progress elsewhere"
    assert said["validate flip"] == (State.LACKING, reason)
    assert processes.rows() == ["fit slow", "validate slow", "fit next", "validate next"]


def test_a_slowly_released_lock_does_not_delay_other_jobs(
    held: IO[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes, said = Processes(monkeypatch), Said()

    def tell(job: Job, state: State, reason: str) -> None:
        said(job, state, reason)
        if said.get("validate next") == DONE:
            fcntl.flock(held, fcntl.LOCK_UN)

    assert run_jobs(jobs_of(plan(tmp_path, OTHERS)), tmp_path, tell) == 0
    assert processes.rows()[-3:] == ["fit plain and 1 more", "validate plain", "validate flip"]


def test_run_variables_of_a_wandb_agent_are_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "one")
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    processes = Processes(monkeypatch)
    run_jobs(jobs_of(plan(tmp_path)), tmp_path / "runs", quiet)
    for environment in processes.environments:
        assert "WANDB_RUN_ID" not in environment
        assert environment["WANDB_SWEEP_ID"] == "sweep"


def test_the_end_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("".join(f"{number}\n" for number in range(100)))
    assert log_tail(JobFolder(tmp_path)).splitlines() == [str(number) for number in range(88, 100)]
