import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deeplab_lightning.reports.compare import Comparison, compare, markdown, print_comparison
from deeplab_lightning.reports.gallery import Gallery
from deeplab_lightning.reports.page import render
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.protocol import PROTOCOL
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.commands.ablate import print_plan
from deeplab_lightning.commands.report import run
from deeplab_lightning.usage import UsageError
from tests.ablation.tables import TABLE, write_tree
from tests.test_identity import IDENTITY


def write_done(folder: Path, content: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "done.json").write_text(json.dumps(content))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table, of which two seeds of the plain row are done at the paper's scale, and one at the smoke scale."""
    path = write_tree(tmp_path, tmp_path)
    for scale, scores in (("paper", (0.22, 0.24)), ("smoke", (0.1,))):
        plan = plan_table(read_table(path), scale, range(len(scores)))
        for training, score in zip(plan.trainings, scores, strict=True):
            folder = tmp_path / "runs" / scale / training.name
            write_done(folder, {"seed": training.seed, "seconds": 10})
            record = {"metric": "val/miou", "value": score, "identity": IDENTITY.as_dict()}
            write_done(folder / "evaluations" / next(iter(training.evaluations)), {"records": [record], "seconds": 2})
    return path


def compared(path: Path, scale: str = "paper") -> Comparison:
    return compare(read_table(path), scale, path.parent.parent / "runs" / scale)


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
    assert comparison.warning in markdown(comparison)
    assert "not comparable" in render([], [(comparison, Gallery())])
    assert compared(path).warning == ""


def test_what_was_not_run_or_failed(path: Path, tmp_path: Path) -> None:
    assert [line.status for line in compare(read_table(path), "paper", tmp_path / "none").lines] == [
        "",
        "not yet run",
        "not yet run",
    ]
    (training,) = plan_table(read_table(path), "paper").trainings
    folder = tmp_path / "failed" / training.name
    folder.mkdir(parents=True)
    assert compare(read_table(path), "paper", tmp_path / "failed").lines[1].status == "unfinished"
    (folder / "failed.json").write_text(json.dumps({"failure": "killed by SIGKILL"}))
    assert compare(read_table(path), "paper", tmp_path / "failed").lines[1].status == "failed: killed by SIGKILL"


def test_a_training_on_several_devices_says_so(path: Path, tmp_path: Path) -> None:
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
        ("of each process", "trained on 8 devices, batch norm on each one's images alone"),
    ],
)
def test_batch_norm_on_a_part_of_the_batch_is_said(path: Path, tmp_path: Path, batch_norm: str, status: str) -> None:
    more = {"num_devices": 8, "batch_norm": batch_norm, "protocol": PROTOCOL}
    for done in (tmp_path / "runs" / "paper").glob("*_seed*/done.json"):
        done.write_text(json.dumps(json.loads(done.read_text()) | more))
    assert compared(path).lines[1].status == status


def test_a_metric_that_the_data_do_not_have(path: Path) -> None:
    path.write_text(TABLE.replace("val/miou", "val/iou/bicycle"))
    assert compared(path).lines[1].status == "its data have no val/iou/bicycle"


def test_settings_that_a_scale_set_aside_are_named(path: Path, tmp_path: Path) -> None:
    path.write_text(f"{TABLE}  - {{name: long, train: {{trainer.max_steps: 9}}, paper: 1}}\n")
    assert compared(path, "smoke").lines[3].status == "without its own trainer.max_steps"
    assert compared(path).lines[3].status == "not yet run"


def test_markdown_holds_the_papers_columns_and_the_identity(path: Path) -> None:
    text = markdown(compared(path))
    assert "| row | size | paper | ours | difference | seeds | seconds | measured as | state | remarks |" in text
    assert "| others |  | 30.5 |  |  |  |  |  |  |  |" in text
    assert "| plain | 11M | 20 | 23.00 ± 1.41 | +3.00 | 2 | 12 | [1] |  |  |" in text
    assert f"- [1] {IDENTITY}" in text


def test_markup_in_a_table_is_text(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = TABLE.replace("Two rows", "T [/x] <b> $x$ &amp;").replace("size:", '"[/q]":')
    path.write_text(text.replace("uncertain: the side", 'uncertain: "one\\ntwo | three"'))
    comparison = compared(path)
    print_comparison(Console(), comparison)
    print_plan(Console(), plan_table(comparison.table, "paper"), path.parent)
    printed = capsys.readouterr().out
    assert printed.count("T [/x] <b> $x$ &amp;") == 2
    assert "[/q]" in printed
    page = markdown(comparison)
    assert page.startswith("## T [/x] &lt;b> \\$x\\$ &amp;amp;, and")
    assert "| uncertain: one two \\| three |" in page


def test_runs_that_are_not_there_and_damaged_ones(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothere/paper: no such folder"):
        run("report", [str(path), "--runs", str(tmp_path / "nothere")])
    log = next((tmp_path / "runs" / "paper").glob("*_seed0")) / "logs" / "fit_0"
    log.mkdir(parents=True, exist_ok=True)
    (log / "metrics.csv").write_text("step,train/loss\n0,1.5\n1,0.x")
    options = [str(path), "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "page.html")]
    assert run("report", options) == 0
    said = f"{log / 'metrics.csv'}: line 3, train/loss '0.x' at step '1' is left out: no numbers"
    assert capsys.readouterr().err == f"deeplab: warning: {said}\n"
    assert "metrics.csv: line 3" in (tmp_path / "page.html").read_text()


def test_the_report_of_a_table_and_of_a_folder(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = ["--runs", str(tmp_path / "runs")]
    assert run("report", [str(path), *runs, "--json"]) == 0
    (content,) = json.loads(capsys.readouterr().out)
    assert [row["ours"] for row in content["rows"]] == [None, pytest.approx(23.0), None]
    assert [row["seconds"] for row in content["rows"]] == [None, 12, None]
    assert content["rows"][1]["columns"] == {"size": "11M"}
    assert run("report", [str(path.parent), *runs, "--output", str(tmp_path / "out" / "page.html")]) == 0
    printed = capsys.readouterr().out
    assert "23.00 ± 1.41" in printed
    assert "flip: uncertain: the side" in printed
    assert "23.00 ± 1.41" in (tmp_path / "out" / "page.html").read_text()
    assert "23.00 ± 1.41" in (tmp_path / "out" / "page.md").read_text()


def test_options_that_take_no_effect(path: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "logs").mkdir(parents=True)
    table, folder = str(path), str(tmp_path / "run")
    for options in ([table, folder], [folder, "--scale", "smoke"], [folder, "--wandb", "mine"]):
        with pytest.raises(UsageError):
            run("report", options)
    with pytest.raises(UsageError):
        run("report", [table, "--runs", ".", "--wandb", "mine"])
