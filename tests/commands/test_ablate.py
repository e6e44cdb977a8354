import json
from pathlib import Path

import pytest
import yaml

from deeplab_lightning.__main__ import main
from deeplab_lightning.ablation.job import jobs_of
from deeplab_lightning.ablation.outcomes import Outcome, State
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.table import read_table
from tests.ablation.tables import write_tree
from tests.integration.conftest import ROOT

TABLES = ROOT / "experiments" / "ablations"


def printed(capsys: pytest.CaptureFixture[str], *options: object) -> str:
    assert main(["ablate", *map(str, options)]) == 0
    return capsys.readouterr().out


def test_dry_run_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("deeplab_v3_table4", "deeplab_v3_table7")
    files = [TABLES / f"{name}.yaml" for name in names]
    inference, leaderboard = map(json.loads, printed(capsys, *files, "--dry-run", "--json").splitlines())
    assert inference["table"] == str(files[0])
    assert [row["paper"] for row in inference["rows"]] == [76.66, 78.05, 78.93, 79.35]
    (training,) = inference["runs"]
    assert {row["run"] for row in inference["rows"]} == {training["run"]}
    assert [row["evaluate"].get("model", {}).get("init_args", {}).get("flip") for row in inference["rows"]] == [
        *[None] * 3,
        True,
    ]
    assert [command[1] for command in training["commands"]] == ["fit", *["validate"] * 4]
    assert [row["run"] for row in leaderboard["rows"]].count(None) == 16
    coco, trainaug, stage2 = leaderboard["runs"]
    assert (coco["start_from"], trainaug["start_from"]) == (None, coco["run"])
    assert stage2["start_from"] == trainaug["run"]


def test_dry_run_in_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = printed(capsys, TABLES / "deeplab_v3_table9.yaml", "--dry-run", "--scale", "smoke", "--runs", tmp_path)
    assert "scale smoke overrides data.init_args.batch_size of batch8\n" in text
    assert text.count("deeplab fit ") == text.count("deeplab validate ") == 1
    assert list(tmp_path.iterdir()) == []


def test_rows_and_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--rows", "mg121_block7,mg111_block4", "--seeds", "0,3", "--dry-run", "--json")
    found = json.loads(printed(capsys, TABLES / "deeplab_v3_table3.yaml", *options))
    assert [(row["name"], row["seed"]) for row in found["rows"]] == [
        ("mg111_block4", 0),
        ("mg111_block4", 3),
        ("mg121_block7", 0),
        ("mg121_block7", 3),
    ]
    assert len(found["runs"]) == 4
    part = ("--part", "mg121_block7,mg111_block4@3", "--dry-run", "--json")
    found = json.loads(printed(capsys, TABLES / "deeplab_v3_table3.yaml", *part))
    assert [(row["name"], row["seed"]) for row in found["rows"]] == [("mg111_block4", 3), ("mg121_block7", 3)]


def test_a_folder_stands_for_its_tables(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_tree(tmp_path, tmp_path)
    assert json.loads(printed(capsys, path.parent, "--dry-run", "--json"))["table"] == str(path)


def test_faults_are_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_tree(tmp_path, tmp_path)
    assert main(["ablate", str(path), "--rows", "plan", "--dry-run"]) == 1
    assert "'plan'" in capsys.readouterr().err
    assert main(["ablate", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().err
    assert main(["ablate", str(path), "--json"]) == 2
    assert "--dry-run" in capsys.readouterr().err
    assert main(["ablate", str(path), "--seeds", "0,a"]) == 2
    assert "'0,a'" in capsys.readouterr().err
    assert main(["ablate", str(path), "--part", "plain@"]) == 2
    assert "'plain@'" in capsys.readouterr().err
    assert main(["ablate", str(path), "--part", "plain@0", "--seeds", "1"]) == 2
    assert "--seeds" in capsys.readouterr().err
    assert main(["ablate", str(path), "--wandb", "project=mine,work=1,paper={}"]) == 2
    assert "paper, work" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--jobs", "2"), "--jobs"),
        (("--launcher", "local", "--jobs", "0"), "got 0"),
        (("--launcher", "slurm"), "--slurm"),
        (("--slurm", "time=60"), "--slurm"),
        (("--launcher", "slurm", "--slurm", "partition=gpu"), "time=720"),
        (("--launcher", "slurm", "--slurm", "time=12:00:00"), "got 12:00:00"),
        (("--launcher", "slurm", "--slurm", "gpu"), "'gpu'"),
        (("--launcher", "wandb", "--dry-run"), "--launcher"),
        (("--results", "there", "--dry-run"), "--results"),
        (("--only", "done"), "'done'"),
    ],
)
def test_options_without_their_launcher_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    path = write_tree(tmp_path, tmp_path)
    assert main(["ablate", str(path), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_row_of_one_of_several_tables(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_tree(tmp_path, tmp_path)
    other = path.with_name("other.yaml")
    other.write_text(path.read_text())
    (plan,) = printed(capsys, path, other, "--rows", "other/flip", "--dry-run", "--json").splitlines()
    assert json.loads(plan)["table"] == str(other)
    assert [row["name"] for row in json.loads(plan)["rows"]] == ["flip"]


def test_only_the_failed_rows_are_left(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path, runs = write_tree(tmp_path, tmp_path), tmp_path / "runs"
    options = (path, "--runs", runs, "--only", "failed", "--dry-run", "--json")
    assert printed(capsys, *options) == ""
    plan = plan_table(read_table(path), "paper")
    (flip,) = (job for job in jobs_of(plan) if job.rows_name == "flip")
    Outcome(State.FAILED, "killed").write(flip.folder(runs / "paper"), flip.command, {})
    found = json.loads(printed(capsys, *options))
    assert [row["name"] for row in found["rows"]] == ["flip"]
    assert [command[1] for command in found["runs"][0]["commands"]] == ["fit", "validate"]


def test_a_sweep_passes_the_folder_of_results_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path, runs = write_tree(tmp_path, tmp_path), tmp_path / "runs"
    printed(capsys, path, "--runs", runs, "--launcher", "wandb", "--results", "s3://bucket/results")
    (sweep,) = runs.rglob("*.yaml")
    command = yaml.safe_load(sweep.read_text())["command"]
    assert command[command.index("--results") + 1] == "s3://bucket/results"
