import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeplab_lightning.__main__ import main
from deeplab_lightning.ablation.failed import only_failed
from deeplab_lightning.ablation.job import jobs_of
from deeplab_lightning.ablation.outcomes import Outcome, State
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.sweep import common_options, parts_of, write_sweep
from deeplab_lightning.ablation.table import read_table
from tests.ablation.tables import TABLE, write_tree
from tests.integration.conftest import ROOT

TABLES = sorted((ROOT / "experiments" / "ablations").glob("*.yaml"))
OTHERS = """  - {name: slow, train: {model.init_args.lr: 0.001}, paper: 1}
  - {name: next, train: {trainer.max_steps: 9}, start_from: slow, paper: 3}
"""


def planned(capsys: pytest.CaptureFixture[str], command: list[str]) -> tuple[list[tuple[str, str, int]], set[str]]:
    """The (table, row, seed) of each trained row that a command would run, and the trainings."""
    capsys.readouterr()
    assert main([*command, "--dry-run", "--json"]) == 0
    plans = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = [(plan["table"], row["name"], row["seed"]) for plan in plans for row in plan["rows"] if row["run"]]
    return rows, {run["run"] for plan in plans for run in plan["runs"]}


def test_rows_with_connected_trainings_form_a_part(tmp_path: Path) -> None:
    plan = plan_table(read_table(write_tree(tmp_path, tmp_path, TABLE + OTHERS)), "paper", (0, 7))
    parts = parts_of([plan])
    assert [(part.rows, part.seed) for part in parts] == [
        *((("plain", "flip"), seed) for seed in (0, 7)),
        *((("slow", "next"), seed) for seed in (0, 7)),
    ]
    assert [len(part.trainings) for part in parts] == [1, 1, 2, 2]


def test_the_parts_of_tables_that_share_trainings_run_every_row_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    paths = [path for path in TABLES if path.stem.startswith("deeplab_v1")]
    plans = [plan_table(read_table(path), "smoke") for path in paths]
    every, trainings = planned(capsys, ["ablate", *map(str, paths), "--scale", "smoke"])
    assert sum(len(plan.trainings) for plan in plans) > len(trainings)
    found: list[tuple[str, str, int]] = []
    seen: set[str] = set()
    for part in parts_of(plans):
        rows, own = planned(capsys, part.options(common_options(plans, tmp_path)))
        assert own == part.trainings
        assert not own & seen  # no training belongs to two parts
        found, seen = found + rows, seen | own
    assert sorted(found) == sorted(every)
    assert seen == trainings


def substituted(sweep: dict[str, object], values: dict[str, object]) -> list[str]:
    """The words of an agent's command line after `-m deeplab_lightning`."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args  # a second of imports

    macros = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    macros |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [sweep["program"]]}
    command: list[str] = []
    for part in sweep["command"]:  # type: ignore[attr-defined]
        command += macros[part[2:-1]] if part.startswith("${") else [part]
    assert command[:4] == ["/usr/bin/env", "python", "-m", "deeplab_lightning"]
    return command[4:]


def commands_of(sweep: dict[str, Any]) -> list[list[str]]:
    """The command lines of the agents of a sweep that tries all combinations of its parameters."""
    parameters = {name: each["values"] for name, each in sweep["parameters"].items()}
    return [substituted(sweep, dict(zip(parameters, values, strict=True))) for values in product(*parameters.values())]


@pytest.mark.parametrize("names", [["deeplab_v3_table7"], ["deeplab_v3_table6", "deeplab_v3_table4"]])
def test_the_agents_of_a_sweep_run_every_row_once(
    names: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = [*(str(path) for path in TABLES if path.stem in names), "--scale", "smoke", "--seeds", "0,3"]
    options += ["--runs", str(tmp_path), "--wandb", "project=mine,entity=team"]
    every, trainings = planned(capsys, ["ablate", *options])
    assert main(["ablate", *options, "--launcher", "wandb"]) == 0
    path = tmp_path / "smoke" / "sweep.yaml"
    assert capsys.readouterr().out.splitlines()[0].startswith(f"wandb sweep {path} ")
    sweep = yaml.safe_load(path.read_text())
    assert (sweep["method"], sweep["entity"], sweep["project"]) == ("grid", "team", "mine")
    found: list[tuple[str, str, int]] = []
    seen: set[str] = set()
    for command in commands_of(sweep):
        own_rows, own = planned(capsys, command)
        assert not own & seen
        found, seen = found + own_rows, seen | own
        assert "--scale smoke" in " ".join(command)
    assert len(found) > 4
    assert sorted(found) == sorted(every)
    assert seen == trainings


def test_the_agents_of_a_sweep_run_only_what_failed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    whole = plan_table(read_table(write_tree(tmp_path, tmp_path, TABLE + OTHERS)), "paper", (0, 1))
    wanted = [("flip", 0), ("slow", 1)]
    failed = {
        job.key: Outcome(State.FAILED)
        for job in jobs_of(whole)
        if job.command == "validate" and (job.rows_name, job.training.seed) in wanted
    }
    assert len(failed) == 2
    sweep = yaml.safe_load(write_sweep(only_failed([whole], failed), tmp_path / "runs").read_text())
    found = [planned(capsys, command)[0] for command in commands_of(sweep)]
    assert [(row, seed) for rows in found for _, row, seed in rows] == wanted


@pytest.mark.parametrize("launcher", [["wandb"], ["slurm", "--slurm", "time=60"]])
def test_rows_without_a_training_are_not_in_a_part(
    launcher: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, runs = write_tree(tmp_path, tmp_path), tmp_path / "runs"
    assert main(["ablate", str(path), "--rows", "others", "--runs", str(runs), "--launcher", *launcher]) == 1
    assert "others" in capsys.readouterr().err
    assert not runs.exists()
