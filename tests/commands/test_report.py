import json
import os
from pathlib import Path

import pytest

from deeplab_lightning.commands.report import run
from deeplab_lightning.reports.scores import score_grid
from deeplab_lightning.run_reader import read_run
from deeplab_lightning.usage import UsageError
from tests.ablation.tables import write_scored_tree
from tests.run_folders import write_log, write_run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run <1>")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_scored_tree(tmp_path)


def test_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", [str(root), "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert all(set(each) == {"run", "split", "metric", "value", "identity"} for each in records)
    assert {each["run"] for each in records} == {"run <1>"}


def test_terminal_and_page(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", [str(root)]) == 0
    printed = capsys.readouterr().out
    assert "0.4300" in printed
    assert "with flip" in printed
    assert (root / "report.html").is_file()


UNREADABLE = (
    "",
    "[{",
    "{}",
    "[1]",
    "[{}]",
    '[{"metric": "val/miou", "value": null}]',
    '[{"metric": 1, "value": 1}]',
    "\xff",
)


def test_unreadable_files_are_named_and_others_are_still_read(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = score_grid(read_run(root))
    metrics = root / "logs" / "fit_0" / "metrics.csv"
    times_said = {metrics: 2}
    for number, content in enumerate(UNREADABLE):
        log = write_log(root, f"validate_{number}", [], "")
        (log / "evaluation.json").write_bytes(content.encode("latin-1"))
        times_said[log / "evaluation.json"] = 1
    picture = log / "panels" / "test" / f"{log.name}.png"
    picture.write_bytes(b"no picture")
    times_said[picture] = 1
    before = metrics.stat()
    metrics.write_bytes(metrics.read_bytes() + b"0,2x,0.9\n0,39,0.\xff\n")
    os.utime(metrics, (before.st_atime, before.st_mtime))
    assert run("report", [str(root)]) == 0
    printed = capsys.readouterr()
    lines, page = printed.err.splitlines(), (root / "report.html").read_text()
    assert len(lines) == sum(times_said.values())
    for path, times in times_said.items():
        assert sum(f"{path}: " in line for line in lines) == times
        assert f"{path}: ".replace("<", "&lt;").replace(">", "&gt;") in page
    assert score_grid(read_run(root)) == expected
    assert "0.4300" in printed.out


def test_missing_and_damaged_runs(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError, match="nothere/paper"):
        run("report", [str(path), "--runs", str(tmp_path / "nothere")])
    log = next((tmp_path / "runs" / "paper").glob("*_seed0")) / "logs" / "fit_0"
    log.mkdir(parents=True, exist_ok=True)
    (log / "metrics.csv").write_text("step,train/loss\n0,1.5\n1,0.x")
    options = [str(path), "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "page.html")]
    assert run("report", options) == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"deeplab: warning: {log / 'metrics.csv'}: line 3, train/loss '0.x'")
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


def test_options_without_effect_are_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "logs").mkdir(parents=True)
    table, folder = str(path), str(tmp_path / "run")
    for options in ([table, folder], [folder, "--scale", "smoke"], [folder, "--wandb", "mine"]):
        with pytest.raises(UsageError):
            run("report", options)
    with pytest.raises(UsageError):
        run("report", [table, "--runs", ".", "--wandb", "mine"])
