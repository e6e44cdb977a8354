import json
from pathlib import Path

import pytest
import yaml

from deeplab_lightning.ablation.older import accept_older, find_older, keys_by_seed
from deeplab_lightning.ablation.outcomes import Outcome, read_folder
from deeplab_lightning.ablation.plan import Plan, plan_table
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.commands.ablate import run
from deeplab_lightning.reports.compare import compare
from deeplab_lightning.reports.gallery import gather
from deeplab_lightning.run_folder import JobKey
from tests.ablation.defaults import changed_default
from tests.ablation.processes import Processes
from tests.ablation.tables import TABLE, write_tree

NEXT = "  - {name: next, train: {trainer.max_steps: 9}, start_from: plain, paper: 3}\n"


class Done:
    """The rows of a table that were run before a default in the code changed.

    Args:
        root: The folder for the table and its runs.
        monkeypatch: The fixture by which processes are replaced by ones that end at once.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.root = write_tree(root, root, TABLE + NEXT), root / "runs" / "paper"
        self._monkeypatch = monkeypatch
        assert self.ablate()[0] == 0
        (training, _) = self.plan().trainings
        self.folder = self.root / training.name
        log = next((self.folder / "logs").glob("fit_*")) / "config.yaml"
        settings = training.config["model"]["init_args"] | {"trimap_width": 3}
        log.write_text(yaml.safe_dump(training.config | {"model": training.config["model"] | {"init_args": settings}}))

    def ablate(self, *options: str) -> tuple[int, list[str]]:
        """The exit status of the command, and the jobs that it ran."""
        processes = Processes(self._monkeypatch)
        status = run("ablate", [str(self.path), "--runs", str(self.root.parent), *options])
        return status, processes.rows()

    def states(self) -> dict[str, tuple[float | None, str]]:
        """The states of the rows in a report."""
        return {line.row.name: (line.ours, line.status) for line in compare(self.plan(), read_folder(self.root)).lines}

    def plan(self) -> Plan:
        """The plan of the rows with the current code."""
        return plan_table(read_table(self.path), "paper")


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Done:
    return Done(tmp_path, monkeypatch)


def test_finished_jobs_are_not_repeated_while_the_code_is_unchanged(done: Done) -> None:
    assert done.ablate() == (0, [])
    assert done.states()["plain"] == (20.0, "")


def test_an_older_result_is_reported_and_by_default_neither_accepted_nor_repeated(
    done: Done, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    with changed_default(trimap_width=5):
        assert done.ablate() == (1, [])
        printed = capsys.readouterr().out
        assert f"{done.folder} was done under an older protocol (" in printed
        assert "model.init_args.trimap_width 3 -> 5" in printed
        assert "--older accept takes it, --older rerun does it again" in printed
        assert "it needs the training of plain and 1 more, which is of an older protocol" in printed
        assert done.ablate("--dry-run") == (0, [])
        assert "--older accept takes it" in capsys.readouterr().out


def test_a_report_shows_an_older_result_and_marks_it(done: Done) -> None:
    with changed_default(trimap_width=5):
        ours, status = done.states()["plain"]
        assert ours == 20.0
        assert "older protocol (" in status
        assert "model.init_args.trimap_width 3 -> 5" in status
        assert gather(done.plan(), read_folder(done.root), done.root).faults == []


def test_an_older_result_can_be_accepted(done: Done) -> None:
    with changed_default(trimap_width=5):
        assert done.ablate("--older", "accept") == (0, [])
        (next(done.folder.glob("evaluations/*")) / "done.json").unlink()
        status, ran = done.ablate("--older", "accept")
        assert (status, len(ran), ran[0].split()[0]) == (0, 1, "validate")  # of the older weights
        assert len([*done.root.glob("*_seed0")]) == 2


def test_an_older_result_can_be_rerun_and_is_kept(done: Done) -> None:
    with changed_default(trimap_width=5):
        status, ran = done.ablate("--older", "rerun")
        assert (status, len(ran)) == (0, 5)
        assert len([*done.root.glob("*_seed0")]) == 4
        assert done.states()["plain"] == (20.0, "")
    assert done.states()["plain"] == (20.0, "")


def test_folders_of_the_first_protocol_are_found(done: Done) -> None:
    """They are named by the hash of the table's settings, and their records have neither that hash nor a protocol."""
    for training in done.plan().trainings:
        folder = (done.root / training.name).rename(done.root / f"{training.asked[0]}_seed0")
        for digest, evaluation in training.evaluations.items():
            (folder / "evaluations" / digest).rename(folder / "evaluations" / evaluation.asked[0])
        for path in folder.rglob("done.json"):
            content = json.loads(path.read_text())
            del content["asked"], content["protocol"]
            path.write_text(json.dumps(content))
        newest = next((folder / "logs").glob("fit_*")) / "config.yaml"
        newest.write_text("model: [")  # a damaged record hides nothing
    ours, status = done.states()["plain"]
    assert ours == 20.0
    assert "older protocol (protocol 1 -> 2: data.batch_size is the total over all processes" in status
    assert done.ablate() == (1, [])
    assert done.ablate("--older", "accept") == (0, [])


def test_the_seeds_of_a_training_in_their_order(tmp_path: Path) -> None:
    (training,) = plan_table(read_table(write_tree(tmp_path, tmp_path)), "paper").trainings
    keys = [JobKey.of_training(training.digest, seed) for seed in (10, 1)]
    others = [JobKey.of_training("0123456789", 2), JobKey(training.name, "0123456789")]
    assert keys_by_seed(training, dict.fromkeys([*keys, *others], Outcome())) == {1: keys[1], 10: keys[0]}


def test_accepting_an_older_result_does_not_change_the_plan(done: Done) -> None:
    with changed_default(trimap_width=5):
        plan, outcomes = done.plan(), read_folder(done.root)
        name = plan.trainings[0].name
        (accepted,) = accept_older([plan], outcomes)
        assert plan.trainings[0].name == name != accepted.trainings[0].name == done.folder.name
        assert JobKey(name) in find_older([plan], outcomes)
        assert find_older([accepted], outcomes) == {}
