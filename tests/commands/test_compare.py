"""Planted parts of an evaluation are attributed, by a stand-in for `deeplab validate` and by the command itself."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import deeplab_lightning.cli
from deeplab_lightning.__main__ import main
from tests.evaluated_runs import write_evaluation
from tests.integration.conftest import experiment_in

POINTS = {"flip": 0.01, "scales": 0.02, "evaluation_size": -0.04, "callbacks": 0.08}
"""What each part brings in the stand-in."""


def validate(command: str, options: list[str]) -> int:
    """Write an evaluation whose score follows from the settings."""
    settings: dict[str, Any] = yaml.safe_load(Path(options[options.index("-c") + 1]).read_text())
    if settings["model"]["init_args"].get("output_stride") == 32:
        raise ValueError("output_stride must be 8 or 16")
    crf = settings["trainer"]["callbacks"]
    model, data = (settings[part]["init_args"] for part in ("model", "data"))
    miou = 0.5 + POINTS["flip"] * model["flip"] + POINTS["scales"] * (len(model["scales"]) - 1)
    miou += POINTS["evaluation_size"] * (data["evaluation_size"] != "whole_image") + POINTS["callbacks"] * len(crf)
    run = Path(options[options.index("--trainer.default_root_dir") + 1])
    number = len(list(run.glob("logs/*")))
    log = write_evaluation(run, miou, name=f"validate_{number}")
    if crf:
        scores = json.loads((log / "evaluation.json").read_text())
        (log / "evaluation.json").write_text(json.dumps([scores[0] | {"metric": "val/miou_crf"}]))
    return 0


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(deeplab_lightning.cli, "run", validate)
    monkeypatch.chdir(tmp_path)

    def compare(*options: str) -> dict[str, Any]:
        assert main(["compare", *options, "--json"]) == 0
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    return compare


def points(printed: dict[str, Any]) -> dict[str, float | None]:
    return {each["part"]: each["points"] and round(each["points"], 9) for each in printed["rescored"]}


def test_each_part_explains_its_points(compared: Any) -> None:
    write_evaluation(Path("a"), 0.5)
    crf = {"class_path": "CRFEvaluation", "init_args": {"bilateral_xy": 20.0}}
    theirs: dict[str, Any] = {
        "model__init_args__flip": True,
        "model__init_args__scales": [0.5, 1.0],
        "model__init_args__output_stride": 32,
        "data__init_args__evaluation_size": "centre_crop_513",
        "trainer__callbacks": [crf],
    }
    write_evaluation(Path("b"), 0.6, **theirs)
    printed = compared("a", "b", "--attribute")
    assert points(printed) == {
        "as measured": 0.0,
        "counted otherwise: absent classes as 0": pytest.approx(-100 * (80 / 110 + 90 / 120) / 2 / 3, abs=1e-6),
        "size of the images": -4.0,
        "output stride": None,
        "scales": 2.0,
        "flip": 1.0,
        "dense CRF": 8.0,
        "all of them together": 7.0,
    }
    (failed,) = [each for each in printed["rescored"] if each["miou"] is None]
    assert "8 or 16" in failed["remark"]


def test_protocols_of_other_projects(compared: Any) -> None:
    write_evaluation(Path("a"), 0.5)
    printed = compared("a", "--attribute", "--as", "centre_crop_513")
    assert points(printed)["centre_crop_513"] == -4.0


def test_the_table_says_what_remains(compared: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_evaluation(Path("a"), 0.5)
    write_evaluation(Path("b"), 0.6, model__init_args__flip=True)
    assert main(["compare", "a", "b", "--attribute"]) == 0
    printed = capsys.readouterr().out
    assert "+9.00" in printed  # 60 - 51
    assert "0.32 (v3, Table 6" in printed


@pytest.mark.parametrize(
    ("options", "named"),
    [(["a"], "--attribute"), (["a", "b", "--as", "centre_crop_513"], "--as"), (["a", "--attribute"], "short_side_520")],
)
def test_wrong_usage(options: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *options]) == 2
    assert named in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_run(shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment, run = experiment_in(tmp_path, shapes_root), tmp_path / "run"
    assert main(["fit", *experiment]) == 0
    best = ["--ckpt_path", str(run / "best.ckpt")]
    for extra in ([], ["--model.flip", "true", "--data.void_as", "0", "--model.output_stride", "8"]):
        assert main(["validate", *experiment, *best, *extra]) == 0
    capsys.readouterr()
    logs = [str(run / "logs" / f"validate_{number}") for number in range(2)]
    assert main(["compare", *logs, "--attribute", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    by_part = {each["part"]: each for each in printed["rescored"] if not each["part"].startswith("counted")}
    assert {*by_part} == {"as measured", "void", "output stride", "flip", "all of them together"}
    scores = [100 * side["scores"]["val/miou"] for side in printed["sides"]]
    assert by_part["as measured"]["miou"] == pytest.approx(scores[0])
    assert by_part["all of them together"]["miou"] == pytest.approx(scores[1])
