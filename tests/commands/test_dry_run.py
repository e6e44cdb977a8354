"""The printed plan. The output of `deeplab ablate --dry-run` for real tables is tested in test_ablate.py."""

from pathlib import Path

import pytest
from rich.console import Console

from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.commands.dry_run import as_dict, print_plan
from tests.ablation.tables import TABLE, write_done, write_tree


def test_markup_in_a_table_is_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_tree(tmp_path, tmp_path, TABLE.replace("Two rows", "T [/x] <b>"))
    print_plan(Console(), plan_table(read_table(path), "paper"), tmp_path)
    assert "T [/x] <b>" in capsys.readouterr().out


def test_each_training_is_done_older_or_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_table(read_table(write_tree(tmp_path, tmp_path)), "paper", seeds=(0, 1, 2))
    first, second, _ = plan.trainings
    write_done(tmp_path / first.name, {"seconds": 1})
    older = {second.key: "done long ago"}
    runs = as_dict(plan, tmp_path, older)["runs"]
    assert [run["done"] for run in runs] == [True, False, False]
    assert [run["older"] for run in runs] == [None, "done long ago", None]
    print_plan(Console(width=200), plan, tmp_path, older)
    printed = capsys.readouterr().out
    rows = {line.split()[1]: line for line in printed.splitlines() if line.startswith("│ ") and "_seed" in line}
    states = [rows[training.name].rstrip("│ ").rpartition("│")[2].strip() for training in plan.trainings]
    assert states == ["done", "done under an older protocol", "not yet run"]
    assert "plain and 1 more: done long ago\n" in printed
