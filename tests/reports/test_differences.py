"""What two measurements have otherwise, planted and found again."""

from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.reports.differences import differences, read_measurement
from tests.evaluated_runs import write_evaluation

CRF = {"class_path": "deeplab_lightning.callbacks.CRFEvaluation", "init_args": {"bilateral_xy": 20.0}}
PLANTED: dict[str, Any] = {
    "model__init_args__flip": True,
    "model__init_args__scales": [0.5, 1.0],
    "model__init_args__lr": 0.1,
    "model__init_args__backbone": "resnet18",
    "data__init_args__evaluation_size": "centre_crop_513",
    "data__init_args__crop_size": [321, 321],
    "data__init_args__train_split": "trainval",
    "trainer__callbacks": [CRF],
}


def test_all_planted_differences_are_found_the_largest_of_each_kind_first(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", 0.5)
    matrix = [[80, 20, 0], [10, 80, 0], [0, 0, 0]]
    write_evaluation(tmp_path / "b", 0.6, matrix=matrix, environment={"torch": "2.14.0"}, **PLANTED)
    found = differences(*(read_measurement(str(tmp_path / run), "val") for run in "ab"))
    assert [(each.kind, each.short_name) for each in found] == [
        ("evaluation", "crf"),
        ("evaluation", "model.scales"),
        ("evaluation", "model.flip"),
        ("evaluation", "data.evaluation_size"),
        ("data", "pixels of car"),
        ("data", "data.train_split"),
        ("training", "data.crop_size"),
        ("training", "model.backbone"),
        ("training", "model.lr"),
        ("code and machine", "torch"),
    ]
    crf, scales, *_ = found
    assert (crf.first, "xy 20" in crf.second) == ("none", True)
    assert (scales.first, scales.second) == ("[1]", "[0.5, 1]")


def test_equal_runs_have_no_differences(tmp_path: Path) -> None:
    for run in "ab":
        write_evaluation(tmp_path / run, 0.5)
    assert differences(*(read_measurement(str(tmp_path / run), "val") for run in "ab")) == []


def test_the_training_counts_and_not_the_settings_of_the_evaluation(tmp_path: Path) -> None:
    for run, rate in (("a", 0.1), ("b", 0.2)):
        write_evaluation(tmp_path / run, 0.4, name="fit_0", model__init_args__lr=rate)
        write_evaluation(tmp_path / run, 0.5, model__init_args__lr=0.3)
    (found,) = differences(*(read_measurement(str(tmp_path / run), "val") for run in "ab"))
    assert (found.short_name, found.first, found.second) == ("model.lr", "0.1", "0.2")


def test_a_row_of_a_table_is_found_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_evaluation(tmp_path / "a", 0.5)
    row = read_measurement("experiments/ablations/deeplab_v3plus_table3.yaml:train16_evaluate8_d_ms_flip", "val")
    assert row.miou is not None
    assert row.miou[1] == pytest.approx(0.8057)
    names = {each.short_name for each in differences(read_measurement(str(tmp_path / "a"), "val"), row)}
    assert {"model.flip", "model.scales", "model.output_stride", "data.evaluation_size", "starts from"} <= names


@pytest.mark.parametrize("where", ["none", "empty"])
def test_what_is_not_there_is_named(where: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=where):
        read_measurement(str(tmp_path / where), "val")
