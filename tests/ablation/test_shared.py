"""Tables that machines divide among them. Each run root stands for a machine, and stand-ins for its processes."""

import signal
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from deeplab_lightning.ablation import claims, runner
from deeplab_lightning.ablation.claims import Claims
from deeplab_lightning.ablation.job import Job, jobs_of
from deeplab_lightning.ablation.outcomes import Outcome, State, read_folder
from deeplab_lightning.ablation.runner import run_jobs
from deeplab_lightning.ablation.shared import SharedResults
from deeplab_lightning.run_folder import JobFolder
from deeplab_lightning.segmentation.addresses import Address, address_of
from tests.ablation.processes import Processes
from tests.ablation.test_runner import OTHERS, Said, plan, quiet
from tests.patience import PATIENCE


@pytest.fixture(params=["memory", "folder"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield address_of("memory://results" if request.param == "memory" else f"file://{tmp_path / 'results'}")
    files.store.clear()


class Trainings(Processes):
    """Processes that write a checkpoint where they train. An evaluation needs the checkpoint that it names."""

    def run(self, options: list[str]) -> int:
        root = Path(options[2]).parent
        if options[0] == "fit":
            (root / "last.ckpt").write_text("weights")
        elif not Path(options[options.index("--ckpt_path") + 1]).is_file():
            return 1
        return super().run(options)


Machine = Callable[..., list[str]]


@pytest.fixture
def machine(folder: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A function that runs jobs on a machine and returns those that were started there."""

    def run(name: str, jobs: list[Job], failures: int = 0) -> list[str]:
        processes = Trainings(monkeypatch)
        root = tmp_path / name
        assert run_jobs(jobs, root, quiet, shared=SharedResults(folder, root)) == failures
        return processes.rows()

    return run


def test_what_one_machine_has_finished_is_copied_by_another(machine: Machine, folder: Address, tmp_path: Path) -> None:
    jobs = jobs_of(plan(tmp_path, OTHERS))
    training, evaluation = jobs[:2]
    assert machine("one", [training, evaluation]) == ["fit plain and 1 more", "validate plain"]
    (JobFolder.of(tmp_path / "two", training.key).path).mkdir(parents=True)
    unfinished = JobFolder.of(tmp_path / "two", training.key)
    unfinished.best.write_text("of an unfinished training")
    assert machine("two", [training, evaluation]) == []
    one, two = (read_folder(tmp_path / name) for name in ("one", "two"))
    assert one == two
    assert two[evaluation.key].scores == one[evaluation.key].scores != []
    assert not unfinished.last.exists()  # no job needs the checkpoint
    assert not unfinished.best.exists()
    assert str(tmp_path / "two") in unfinished.config.read_text()  # and nothing of the other machine's paths
    assert str(tmp_path / "one") not in unfinished.config.read_text()
    assert unfinished.logs("fit")
    assert machine("two", jobs) == [
        "validate flip",
        *("fit slow", "validate slow", "fit next", "validate next"),
    ]
    assert unfinished.last.read_text() == "weights"
    assert machine("one", jobs) == []
    assert not [name for name in folder.files() if name.startswith("claims") or "draft" in name]


def test_results_of_before_are_put_there(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(plan(tmp_path))
    Trainings(monkeypatch)
    assert run_jobs(jobs, tmp_path / "one", quiet) == 0
    assert machine("one", jobs) == []
    assert machine("two", jobs) == []


def test_a_failed_job_is_tried_by_another_machine(
    machine: Machine, folder: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(plan(tmp_path))
    Trainings(monkeypatch, lambda options: 1)
    assert run_jobs(jobs, tmp_path / "one", quiet, shared=SharedResults(folder, tmp_path / "one")) == 3
    assert machine("two", jobs) == ["fit plain and 1 more", "validate plain", "validate flip"]
    assert machine("one", jobs) == []
    assert {outcome.state for outcome in read_folder(tmp_path / "one").values()} == {State.DONE}


def test_two_machines_at_once_divide_the_jobs(folder: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first training of each machine ends when both have begun one."""
    monkeypatch.setattr(runner, "POLL", 0.001)
    monkeypatch.setattr(runner, "PAUSE", 0.001)
    monkeypatch.setattr(claims, "SETTLING", 0.001)
    handlers = SimpleNamespace(SIGTERM=signal.SIGTERM, signal=lambda *_: None)  # which threads may not set
    monkeypatch.setattr(runner, "signal", handlers)
    both, started = threading.Barrier(2, timeout=PATIENCE), []

    def wait(options: list[str]) -> int:
        started.append(options[options.index("--wandb.name") + 1])
        if options[0] == "fit" and len(set(started)) <= 2 and started[-1] in ("plain and 1 more", "slow"):
            both.wait()
        return 0

    processes, jobs = Trainings(monkeypatch, wait), jobs_of(plan(tmp_path, OTHERS))
    roots = [tmp_path / name for name in ("one", "two")]
    threads = [
        threading.Thread(target=run_jobs, args=(jobs, root, quiet), kwargs={"shared": SharedResults(folder, root)})
        for root in roots
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(processes.rows()) == sorted(f"{job.command} {job.rows_name}" for job in jobs)  # each job once
    for root in roots:
        assert [outcome.state for outcome in read_folder(root).values()] == [State.DONE] * len(jobs)


def test_the_job_of_a_dead_machine_is_taken_over(
    folder: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "POLL", 0.0)
    monkeypatch.setattr(runner, "PAUSE", 0.001)
    jobs, said = jobs_of(plan(tmp_path, names=["plain"])), Said()
    dead = Claims(folder / "claims", tmp_path / "dead")
    assert dead.claim(jobs[0].key) == ""

    def tell(job: Job, state: State, reason: str) -> None:
        if state is State.WAITING:
            assert reason == dead.holder
            monkeypatch.setattr(claims, "EXPIRY", -1.0)  # its time is over
        said(job, state, reason)

    processes = Trainings(monkeypatch)
    assert run_jobs(jobs, tmp_path / "two", tell, shared=SharedResults(folder, tmp_path / "two")) == 0
    assert processes.rows() == ["fit plain", "validate plain"]


@pytest.mark.parametrize("content", [b"no archive", "outside", "empty"])
def test_a_damaged_result_is_named(machine: Machine, folder: Address, tmp_path: Path, content: bytes | str) -> None:
    jobs = jobs_of(plan(tmp_path, names=["plain"]))
    path, there = tmp_path / "made.zip", folder / f"{jobs[0].key}.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            if content == "outside":
                archive.writestr("done.json", "{}")
                archive.writestr("../../outside.txt", "text")
    there.replace(path)
    with pytest.raises(ValueError, match=f"{jobs[0].key}.zip"):
        machine("one", jobs)
    assert not list(tmp_path.rglob("outside.txt"))
    assert not Outcome.read(JobFolder.of(tmp_path / "one", jobs[0].key)).is_done


def test_an_address_that_cannot_be_reached_is_named_before_a_job_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    processes, shared = Processes(monkeypatch), SharedResults(address_of(str(tmp_path / "file")), tmp_path / "one")
    with pytest.raises(OSError, match="file"):
        run_jobs(jobs_of(plan(tmp_path)), tmp_path / "one", quiet, shared=shared)
    assert processes.started == []


def test_a_result_that_cannot_be_put_there_is_put_there_at_the_end(
    machine: Machine, folder: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, put, tried = jobs_of(plan(tmp_path)), SharedResults.put, []

    def fail_at_first(shared: SharedResults, key: object) -> None:
        tried.append(key)
        if len(tried) <= len(jobs):
            raise OSError("no network")
        put(shared, key)  # type: ignore[arg-type]

    monkeypatch.setattr(SharedResults, "put", fail_at_first)
    assert len(machine("one", jobs)) == 3
    assert tried == [job.key for job in jobs] * 2
    assert machine("two", jobs) == []
