import json
from pathlib import Path

from deeplab_lightning.ablation.job import jobs_of, rows_name
from deeplab_lightning.ablation.plan import Plan, plan_table
from deeplab_lightning.ablation.protocol import PROTOCOL
from deeplab_lightning.ablation.table import read_table
from tests.ablation.tables import write_tree


def plan(folder: Path, **kwargs: object) -> Plan:
    return plan_table(read_table(write_tree(folder, folder)), "paper", **kwargs)  # type: ignore[arg-type]


def test_a_training_comes_before_its_evaluations_and_what_starts_from_it(tmp_path: Path) -> None:
    jobs = jobs_of(plan(tmp_path))
    assert [job.options(tmp_path)[0] for job in jobs] == ["fit", "validate", "validate"]
    assert jobs[2].folder(tmp_path).path.parents[1] == jobs[0].folder(tmp_path).path


def test_the_names_of_its_run_in_wandb(tmp_path: Path) -> None:
    jobs = jobs_of(plan(tmp_path, wandb={"project": "mine"}))
    options = jobs[0].options(tmp_path)
    assert options[options.index("--wandb.group") :] == [
        *("--wandb.group", "tiny", "--wandb.name", "plain and 1 more", "--wandb.tags", '["tiny", "paper", "seed0"]'),
        *("--wandb.work", jobs[0].training.name, "--wandb.asked", json.dumps(jobs[0].asked)),
        *("--wandb.protocol", str(PROTOCOL), "--wandb.project", "mine"),
    ]
    assert [job.rows_name for job in jobs[1:]] == ["plain", "flip"]
    options = jobs[2].options(tmp_path)
    assert options[options.index("--wandb.paper") + 1] == '{"val/miou": {"flip": 21.0}}'
    assert "--wandb.paper" not in jobs_of(plan_table(plan(tmp_path).table, "smoke"))[2].options(tmp_path)
    assert str(jobs[1].key).startswith(f"{jobs[0].key}/evaluations/")


def test_rows_are_named_by_the_first() -> None:
    assert rows_name(["a"]) == "a"
    assert rows_name(["a", "b", "c"]) == "a and 2 more"
