import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deeplab_lightning.reports.page import render
from deeplab_lightning.ablation.report import metric_name, read_run, short_label, tabulate
from deeplab_lightning.commands.report import run
from tests.test_identity import IDENTITY


def record(metric: str, value: float, **changes: Any) -> dict[str, Any]:
    return {"split": "test", "metric": metric, "value": value, "identity": IDENTITY.as_dict() | changes}


def write_log(root: Path, name: str, records: list[dict[str, Any]], metrics: str = "") -> Path:
    log = root / "logs" / name
    (log / "panels" / "test").mkdir(parents=True)
    (log / "evaluation.json").write_text(json.dumps(records))
    (log / "metrics.csv").write_text(metrics)
    Image.new("RGB", (20, 10)).save(log / "panels" / "test" / f"{name}.png")
    return log


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "run <1>"
    metrics = "epoch,step,train/loss,val/miou,lr-SGD\n0,9,1.5,,0.1\n0,19,1.0,,0.05\n0,19,,0.4,\n"
    write_log(root, "fit_0", [record("test/miou", 0.40)], metrics)
    write_log(root, "test_0", [record("test/miou", 0.41), record("test/miou_crf", 0.43, crf="xy 67")])
    return root


def test_the_newest_number_of_an_identity_counts(root: Path) -> None:
    values = {(each["metric"], each["value"]) for each in read_run(root).records}
    assert values == {("test/miou", 0.41), ("test/miou_crf", 0.43)}


def test_curves_and_panels(root: Path) -> None:
    run = read_run(root)
    assert run.curves["train/loss"] == [(9, 1.5), (19, 1.0)]
    assert run.curves["val/miou"] == [(19, 0.4)]
    assert [path.stem for path in run.panels] == ["test_0"]


def test_a_resumed_run_has_one_curve(root: Path) -> None:
    write_log(root, "fit_1", [], "epoch,step,train/loss\n0,19,0.9\n0,29,0.8\n")
    assert read_run(root).curves["train/loss"] == [(9, 1.5), (19, 0.9), (29, 0.8)]


def test_a_column_for_each_identity(root: Path) -> None:
    table = tabulate(read_run(root))
    assert table.columns == ["test + multi-scale + flip [1]", "test + multi-scale + flip + CRF [2]"]
    assert table.rows == [("mIoU", [0.41, 0.43])]
    assert "CRF (xy 67)" in table.identities[1]


def test_names() -> None:
    assert metric_name("val/miou_crf") == "mIoU"
    assert metric_name("val/iou_crf/person") == "IoU person"
    assert metric_name("val/iou/table/desk") == "IoU table/desk"
    assert metric_name("val/trimap_miou/3") == "trimap mIoU, band of 3 px"
    assert short_label(IDENTITY.as_dict() | {"scales": [1.0], "flip": False}) == "test"


def test_the_page_needs_no_network_and_escapes_names(root: Path) -> None:
    page = render([read_run(root)])
    assert "run &lt;1&gt;" in page
    assert page.count("<svg") == 3  # loss, scores, learning rate
    assert page.count("data:image/png;base64,") == 1
    assert "0.4100" in page
    assert 'src="http' not in page
    assert "<link" not in page
    assert "<script" not in page


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


def test_runs_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such run folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nothing was evaluated in this run; `deeplab validate`"):
        read_run(tmp_path)
    write_log(tmp_path, "fit_0", [])
    (tmp_path / "logs/fit_0/evaluation.json").write_text("{")
    with pytest.raises(ValueError, match=r"evaluation\.json: left out, for it cannot be read \(Expecting"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["", "[{", "{}", "[1]", "[{}]", '[{"metric": "val/miou", "value": null}]', "\xff", '[{"metric": 1, "value": 1}]'],
)
def test_a_file_that_cannot_be_read_is_named_and_hides_nothing_else(
    root: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tabulate(read_run(root))
    log = write_log(root, "validate_0", [], "")
    for path in (log / "evaluation.json", log / "panels" / "test" / "validate_0.png"):
        path.write_bytes(content.encode("latin-1"))
    metrics = root / "logs" / "fit_0" / "metrics.csv"
    before = metrics.stat()
    metrics.write_bytes(metrics.read_bytes() + b"0,2x,0.9\n0,39,0.\xff\n")
    os.utime(metrics, (before.st_atime, before.st_mtime))
    assert run("report", [str(root)]) == 0
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert len(lines) == 4
    for path, times_said in (
        (log / "evaluation.json", 1),
        (log / "panels" / "test" / "validate_0.png", 1),
        (metrics, 2),
    ):
        assert sum(f"{path}: " in line for line in lines) == times_said
        assert f"{path}: ".replace("<", "&lt;").replace(">", "&gt;") in (root / "report.html").read_text()
    assert tabulate(read_run(root)) == expected
    assert "0.4300" in printed.out


@pytest.mark.parametrize("metric", ["miou", "test/iou", "test/trimap_miou"])
def test_a_score_of_a_damaged_name_is_left_out(root: Path, metric: str) -> None:
    expected = tabulate(read_run(root))
    log = write_log(root, "validate_0", [record(metric, 0.5)])
    read = read_run(root)
    assert tabulate(read) == expected
    assert [fault.partition(": ")[0] for fault in read.faults] == [str(log / "evaluation.json")]


def test_a_panel_that_is_a_link_out_of_the_run_is_not_embedded(root: Path, tmp_path: Path) -> None:
    """A page is shown to others: what a foreign run folder links to is not for them."""
    panels = root / "logs" / "test_0" / "panels"
    Image.new("RGB", (5, 5)).save(tmp_path / "private.png")
    (panels / "test" / "a.png").symlink_to(tmp_path / "private.png")
    (panels / "test" / "b.png").symlink_to(panels / "test" / "test_0.png")
    (panels / "test" / "c.png").symlink_to(tmp_path / "nothing.png")
    (panels / "test" / "d.png").write_text("no picture")
    read = read_run(root)
    assert [path.stem for path in read.panels] == ["b", "test_0"]
    assert [fault.partition(": ")[0].rpartition("/")[2] for fault in read.faults] == ["a.png", "c.png", "d.png"]
    assert f"it is a link to {tmp_path / 'private.png'}" in read.faults[0]
    (tmp_path / "moved").symlink_to(root)  # a folder that its owner reaches by a link is the folder
    assert [path.stem for path in read_run(tmp_path / "moved").panels] == ["b", "test_0"]
