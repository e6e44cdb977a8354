import json
from pathlib import Path

import pytest

from deeplab_lightning.ablation.outcomes import read_folder
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.protocol import PROTOCOL
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.reports.compare import Comparison, compare
from deeplab_lightning.reports.gallery import Gallery
from deeplab_lightning.reports.markdown import comparison_section
from deeplab_lightning.reports.page import render
from tests.ablation.tables import TABLE, write_scored_tree


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_scored_tree(tmp_path)


def compared(path: Path, scale: str = "paper", runs: str = "runs") -> Comparison:
    return compare(plan_table(read_table(path), scale), read_folder(path.parents[1] / runs / scale))


def test_mean_spread_and_difference(path: Path) -> None:
    others, plain, flip = compared(path).lines
    assert (others.ours, others.status) == (None, "")
    assert plain.scores == pytest.approx({0: 22.0, 1: 24.0})
    assert (plain.ours, plain.difference, plain.seconds) == pytest.approx((23.0, 3.0, 12))
    assert plain.spread == pytest.approx(2**0.5)
    assert (flip.ours, flip.status) == (None, "trained, evaluation not yet run")


def test_another_scale_gives_no_difference_and_says_why(path: Path) -> None:
    comparison = compared(path, "smoke")
    assert comparison.lines[1].ours == pytest.approx(10.0)
    assert comparison.lines[1].difference is None
    assert "not comparable" in comparison.warning
    assert comparison.warning in comparison_section(comparison)
    assert "not comparable" in render([], [(comparison, Gallery())])
    assert compared(path).warning == ""


def test_what_was_not_run_or_failed(path: Path, tmp_path: Path) -> None:
    assert [line.status for line in compared(path, runs="none").lines] == ["", "not yet run", "not yet run"]
    (training,) = plan_table(read_table(path), "paper").trainings
    folder = tmp_path / "failed" / "paper" / training.name
    folder.mkdir(parents=True)
    assert compared(path, runs="failed").lines[1].status == "unfinished"
    (folder / "failed.json").write_text(json.dumps({"failure": "killed by SIGKILL"}))
    assert compared(path, runs="failed").lines[1].status == "failed: killed by SIGKILL"


def test_a_training_on_several_devices_is_reported(path: Path, tmp_path: Path) -> None:
    assert compared(path).lines[1].status == ""
    for done in (tmp_path / "runs" / "paper").glob("*_seed*/done.json"):
        done.write_text(json.dumps(json.loads(done.read_text()) | {"num_devices": 8}))
    line = compared(path).lines[1]
    assert line.ours is not None
    assert line.status == "trained on 8 devices, each with the table's batch size"


@pytest.mark.parametrize(
    ("batch_norm", "status"),
    [
        ("of the batch, synchronised", ""),
        ("of each process", "trained on 8 devices, without sharing batch norm statistics"),
    ],
)
def test_unshared_batch_norm_statistics_are_reported(path: Path, tmp_path: Path, batch_norm: str, status: str) -> None:
    more = {"num_devices": 8, "batch_norm": batch_norm, "protocol": PROTOCOL}
    for done in (tmp_path / "runs" / "paper").glob("*_seed*/done.json"):
        done.write_text(json.dumps(json.loads(done.read_text()) | more))
    assert compared(path).lines[1].status == status


def test_a_metric_that_the_data_do_not_have(path: Path) -> None:
    path.write_text(TABLE.replace("val/miou", "val/iou/bicycle"))
    assert compared(path).lines[1].status == "val/iou/bicycle was not measured on these data"


def test_settings_that_a_scale_overrides_are_named(path: Path, tmp_path: Path) -> None:
    path.write_text(f"{TABLE}  - {{name: long, train: {{trainer.max_steps: 9}}, paper: 1}}\n")
    assert compared(path, "smoke").lines[3].status == "without its own trainer.max_steps"
    assert compared(path).lines[3].status == "not yet run"


def test_a_plan_with_several_seeds_has_one_line_for_each_row(path: Path, tmp_path: Path) -> None:
    outcomes = read_folder(tmp_path / "runs" / "paper")
    several = plan_table(read_table(path), "paper", seeds=(1, 0, 5))
    assert compare(several, outcomes) == compared(path)
