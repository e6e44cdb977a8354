"""Runs that earlier code made (tests/runs_of_before) are still reported, counted as done, scored and resumed.

`table` is the run folder of `deeplab ablate experiments/ablations/tiny.yaml` at commit c7f771b. `half` is a training
with a CRF as layers and `CRFEvaluation` that was killed in the fifth of its six steps. Both lack best.ckpt, panels and
logs. Their data are Shapes of 12, 5 and 3 images of 48x64, in a folder `shapes`. They are never made again.
"""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.__main__ import main

RUNS = Path(__file__).parents[1] / "runs_of_before"
TABLE = "experiments/ablations/tiny.yaml"
ACROSS_MACHINES = 1e-3

pytestmark = pytest.mark.filterwarnings("ignore:You're resuming")


@pytest.fixture(autouse=True)
def before(tmp_path: Path, shapes_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a copy of the old runs."""
    monkeypatch.chdir(shutil.copytree(RUNS, tmp_path / "before"))
    shutil.copytree(shapes_root, "shapes")  # a link would give the data set another name


def scores(file: Path | str) -> dict[str, float]:
    return {each["metric"]: each["value"] for each in json.loads(Path(file).read_text())}


def rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["report", TABLE, "--runs", "table", "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    return [{key: row[key] for key in ("name", "ours", "status")} for row in table["rows"]]


def test_the_old_table_is_done_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    logs = sorted(Path("table").rglob("logs/*"))
    found = rows(capsys)
    assert [row["name"] for row in found] == ["plain", "crf"]
    (done,) = (scores_of(file) for file in Path("table").rglob("18220ed7c7/done.json"))
    assert found[0]["ours"] == pytest.approx(100 * done["val/miou"])
    assert main(["ablate", TABLE, "--runs", "table"]) == 0
    assert rows(capsys) == found
    assert sorted(Path("table").rglob("logs/*")) == logs  # nothing ran
    assert main(["report", "half"]) == 0


def scores_of(done: Path) -> dict[str, float]:
    return {each["metric"]: each["value"] for each in json.loads(done.read_text())["records"]}


@pytest.mark.slow
def test_an_old_training_gets_a_new_evaluation() -> None:
    path = Path(TABLE)
    path.write_text(
        path.read_text() + "  - {name: half, train: {}, evaluate: {model.init_args.scales: [0.5]}, paper: 1}\n"
    )
    before = set(Path("table").rglob("done.json"))
    checkpoint = next(Path("table").rglob("last.ckpt")).stat().st_mtime_ns
    assert main(["ablate", TABLE, "--runs", "table", "--launcher", "local", "--jobs", "1"]) == 0
    (added,) = set(Path("table").rglob("done.json")) - before
    assert "val/miou" in scores_of(added)
    assert next(Path("table").rglob("last.ckpt")).stat().st_mtime_ns == checkpoint


def test_an_old_checkpoint_gets_the_old_scores() -> None:
    before = scores("half/logs/fit_0/evaluation.json")
    assert main(["validate", "-c", "half/logs/fit_0/config.yaml", "--ckpt_path", "half/last.ckpt"]) == 0
    after = scores("half/logs/validate_0/evaluation.json")
    names = {name for name in before if "seconds" not in name}
    assert names == {name for name in after if "seconds" not in name}
    for name in names:
        assert after[name] == pytest.approx(before[name], rel=ACROSS_MACHINES, nan_ok=True), name


def test_an_old_training_continues() -> None:
    assert main(["fit", "-c", "half/logs/fit_0/config.yaml", "--ckpt_path", "last"]) == 0
    losses: list[dict[int, float]] = []
    for run in ("fit_0", "fit_1"):
        with Path("half", "logs", run, "metrics.csv").open() as file:
            losses.append(
                {int(row["step"]): float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]}
            )
    assert list(losses[0]) == [0, 1, 2, 3]
    assert list(losses[1]) == [3, 4, 5]
    assert losses[1][3] == pytest.approx(losses[0][3], rel=ACROSS_MACHINES)
