import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deeplab_lightning.ablation.page import render
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
    with pytest.raises(ValueError, match=r"evaluation\.json: it cannot be read as JSON"):
        read_run(tmp_path)
