"""Tables and trainings on a real SLURM cluster: two nodes on this machine. Each test takes minutes."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch

from deeplab_lightning.__main__ import main
from deeplab_lightning.ablation.outcomes import Outcomes, State, read_folder
from tests.ablation.tables import TABLE, write_tree
from tests.integration.conftest import ROOT, experiment_in
from tests.patience import wait_until
from tests.slurm_cluster import NODES, Cluster, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=f"no SLURM: {missing()}")]

CHAIN = """  - {name: slow, train: {model.init_args.lr: 0.001}, paper: 1}
  - {name: next, train: {trainer.max_steps: 9}, start_from: slow, paper: 3}
"""
LONG = """
table: "One long training"
metric: val/miou
configs: [base.yaml, data/shapes.yaml, model/tiny.yaml]
rows:
  - {name: long, train: {trainer.max_steps: STEPS, trainer.val_check_interval: 100000}, paper: 20.0}
"""
STEPS = 200
LIMIT_OF_TABLES, LIMIT_OF_SCRIPT = "USR2", "USR1"
"""The signals that SLURM sends before a time limit. The tests send them, as SLURM counts time in minutes."""
Submit = Callable[[Path, Path, str], list[str]]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


@pytest.fixture
def submit(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Submit:
    """A function that submits a table with settings of sbatch, and returns the IDs of the tasks."""
    for name in ("SLURM_CONF", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, cluster.environment[name])

    def submit(table: Path, runs: Path, settings: str) -> list[str]:
        options = ["--runs", str(runs), "--launcher", "slurm", "--slurm", settings]
        assert main(["ablate", str(table), *options, "--wandb", "mode=disabled"]) == 0
        return re.findall(r"^\d+(?:_\d+)?$", capsys.readouterr().out, re.MULTILINE)

    return submit


def weights(last: Path) -> Mapping[str, torch.Tensor]:
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["global_step"] == STEPS
    state: Mapping[str, torch.Tensor] = checkpoint["state_dict"]
    return state


def assert_equal(first: Path, second: Path) -> None:
    """Assert that two checkpoints hold the same weights, bit for bit."""
    one, two = weights(first), weights(second)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def outcomes(runs: Path) -> Outcomes:
    return read_folder(runs / "paper")


def has_begun(runs: Path) -> bool:
    """Whether the training has logged a step."""
    return any(path.stat().st_size for path in (runs / "paper").glob("*/logs/fit_0/metrics.csv"))


def last(runs: Path) -> Path:
    return next(iter((runs / "paper").glob("*/last.ckpt")), runs / "none")


@pytest.fixture(scope="module")
def long_table(tmp_path_factory: pytest.TempPathFactory, shapes_root: Path) -> Path:
    """A table with one training of several minutes."""
    return write_tree(tmp_path_factory.mktemp("long"), shapes_root, LONG.replace("STEPS", str(STEPS)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, long_table: Path) -> Path:
    """The last checkpoint of the long training, run without SLURM."""
    runs = tmp_path_factory.mktemp("undisturbed")
    assert main(["ablate", str(long_table), "--runs", str(runs), "--wandb", "mode=disabled"]) == 0
    return last(runs)


def test_a_table_with_shared_trainings_runs_on_both_nodes(
    cluster: Cluster, submit: Submit, tmp_path: Path, shapes_root: Path
) -> None:
    table = write_tree(tmp_path / "experiments", shapes_root, TABLE + CHAIN)
    tasks = submit(table, tmp_path / "runs", "time=20")
    assert len(tasks) == 2
    wait_until(lambda: all(cluster.job(task)["JobState"] != "PENDING" for task in tasks), cluster.logs)
    assert {cluster.job(task)["NodeList"] for task in tasks} == set(NODES)
    cluster.wait_for_jobs()
    found = outcomes(tmp_path / "runs")
    assert [outcome.state for outcome in found.values()] == [State.DONE] * 7  # three trainings, four evaluations


def test_a_task_whose_time_is_up_is_requeued_and_ends_like_an_undisturbed_one(
    cluster: Cluster, submit: Submit, tmp_path: Path, long_table: Path, undisturbed: Path
) -> None:
    (task,) = submit(long_table, tmp_path, "time=20")
    wait_until(lambda: has_begun(tmp_path), cluster.logs)
    cluster.run("scancel", f"--signal={LIMIT_OF_TABLES}", task, check=True)
    cluster.wait_for_jobs()
    assert int(cluster.job(task)["Restarts"]) >= 1
    assert {outcome.state for outcome in outcomes(tmp_path).values()} == {State.DONE}
    assert_equal(last(tmp_path), undisturbed)


def test_a_time_that_is_too_short_is_noticed(
    cluster: Cluster, submit: Submit, tmp_path: Path, long_table: Path
) -> None:
    (task,) = submit(long_table, tmp_path, "time=20")
    wait_until(lambda: bool(list((tmp_path / "paper").glob("*/config.yaml"))), cluster.logs)
    cluster.run("scancel", f"--signal={LIMIT_OF_TABLES}", task, check=True)
    cluster.wait_for_jobs()
    assert cluster.job(task)["JobState"] == "FAILED"
    assert cluster.job(task)["Restarts"] == "1"
    (log,) = (tmp_path / "paper" / "slurm").glob("*_log.err")
    assert "longer time" in log.read_text()
    assert not last(tmp_path).exists()


def test_a_cancelled_task_saves_and_another_one_continues_it(
    cluster: Cluster, submit: Submit, tmp_path: Path, long_table: Path, undisturbed: Path
) -> None:
    (task,) = submit(long_table, tmp_path, "time=20")
    wait_until(lambda: has_begun(tmp_path), cluster.logs)
    cluster.run("scancel", task, check=True)
    cluster.wait_for_jobs()
    assert cluster.job(task)["JobState"] == "CANCELLED"
    assert 0 < torch.load(last(tmp_path), weights_only=True)["global_step"] < STEPS
    submit(long_table, tmp_path, "time=20")
    cluster.wait_for_jobs()
    assert_equal(last(tmp_path), undisturbed)


def test_the_task_of_a_node_that_dies_continues_on_the_other_one(
    cluster: Cluster, submit: Submit, tmp_path: Path, long_table: Path, undisturbed: Path
) -> None:
    (task,) = submit(long_table, tmp_path, "time=20")
    wait_until(lambda: has_begun(tmp_path), cluster.logs)
    node = cluster.job(task)["NodeList"]
    cluster.kill_node(node)
    try:
        cluster.wait_for_jobs()
        assert cluster.job(task)["NodeList"] != node
        assert cluster.job(task)["JobState"] == "COMPLETED"
    finally:
        cluster.start_node(node)
    assert_equal(last(tmp_path), undisturbed)


SBATCH = ["sbatch", "--gpus-per-node=0", "--ntasks-per-node=1", "--cpus-per-task=1", f"--chdir={ROOT}", "--time=60"]
"""The options that fit the script of four GPUs a node to this cluster."""


def sbatch(cluster: Cluster, run: Path, options: list[str]) -> str:
    """Submit the script for a run folder and return the ID of the job."""
    cluster.environment["RUN"] = str(run)
    output = [f"--output={run}.txt"]
    script = str(ROOT / "experiments" / "slurm.sbatch")
    return cluster.run(*SBATCH, *output, script, *options, check=True).split()[-1]


def test_the_script_trains_over_two_nodes_and_continues_after_its_time(
    cluster: Cluster, tmp_path: Path, shapes_root: Path
) -> None:
    options = [
        *experiment_in(tmp_path, shapes_root)[:-2],
        "--wandb.mode",
        "disabled",
        "--trainer.max_steps",
        str(STEPS),
    ]
    options += ["--trainer.limit_val_batches", "0"]
    short, long = tmp_path / "short", tmp_path / "long"
    job = sbatch(cluster, short, options)
    wait_until(lambda: (short / "logs" / "fit_0" / "metrics.csv").exists(), cluster.logs)
    cluster.run("scancel", f"--signal={LIMIT_OF_SCRIPT}", job, check=True)
    cluster.wait_for_jobs()
    assert cluster.job(job)["Restarts"] == "1"
    other = sbatch(cluster, long, options)
    cluster.wait_for_jobs()
    for each in (job, other):
        assert (cluster.job(each)["JobState"], cluster.job(each)["NumNodes"]) == ("COMPLETED", "2"), cluster.logs()
    assert_equal(short / "last.ckpt", long / "last.ckpt")


def test_the_script_does_not_repeat_a_start_for_ever(cluster: Cluster, tmp_path: Path, shapes_root: Path) -> None:
    run = tmp_path / "run"
    job = sbatch(cluster, run, [*experiment_in(tmp_path, shapes_root)[:-2], "--trainer.max_steps", "100000"])
    wait_until(lambda: (run / ".fit.lock").exists(), cluster.logs)
    cluster.run("scancel", f"--signal={LIMIT_OF_SCRIPT}", job, check=True)
    cluster.wait_for_jobs()
    assert (cluster.job(job)["JobState"], cluster.job(job)["Restarts"]) == ("FAILED", "0")
