import fcntl
from pathlib import Path

import pytest

from deeplab_lightning.ablation import runner
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.runner import Work, log_tail, run_plan, work_of
from deeplab_lightning.ablation.table import read_table
from tests.ablation.tables import write_tree


def test_a_training_comes_before_its_evaluations_and_what_starts_from_it(tmp_path: Path) -> None:
    table = read_table(write_tree(tmp_path, tmp_path))
    works = work_of(plan_table(table, "paper"))
    assert [work.options(tmp_path)[0] for work in works] == ["fit", "validate", "validate"]
    assert works[0].options(tmp_path)[-4:] == ["--wandb.group", "tiny", "--wandb.name", "plain and 1 more"]
    assert works[2].folder(tmp_path).parent.parent == works[0].folder(tmp_path)


def test_a_folder_that_another_process_is_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PATIENCE", 0.0)
    plan = plan_table(read_table(write_tree(tmp_path, tmp_path)), "paper", names=["plain"])
    folder = tmp_path / plan.trainings[0].name
    folder.mkdir()
    said: list[str] = []

    def tell(work: Work, what: str) -> None:
        said.append(what)

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_plan(plan, tmp_path, tell) == 2
    assert said == [
        "starts",
        f"{folder}: another process is at it",
        "it needs the training of plain, which failed",
    ]


def test_the_end_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("".join(f"{number}\n" for number in range(100)))
    assert log_tail(tmp_path).splitlines() == [str(number) for number in range(88, 100)]
