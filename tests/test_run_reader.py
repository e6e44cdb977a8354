import json
from pathlib import Path

import pytest
from PIL import Image

from deeplab_lightning.run_reader import RunRecord, read_record, read_run, read_scores, read_seconds
from tests.run_folders import record, write_classes, write_log, write_run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run <1>")


def test_the_newest_number_of_an_identity_counts(root: Path) -> None:
    values = {(str(score.name), score.value) for score in read_run(root).scores}
    assert values == {("test/miou", 0.41), ("test/miou_crf", 0.43)}


def test_curves_and_panels(root: Path) -> None:
    run = read_run(root)
    assert run.curves["train/loss"] == [(9, 1.5), (19, 1.0)]
    assert run.curves["val/miou"] == [(19, 0.4)]
    assert [path.stem for path in run.panels] == ["test_0"]


def test_the_newest_confusion_matrix_of_an_identity_counts(root: Path) -> None:
    old, new = write_log(root, "test_1", []), root / "logs" / "test_0"
    write_classes(old)
    newest = write_classes(new, crf="xy 67")
    (old / "classes_val.json").write_text('{"matrix": []}')
    run = read_run(root)
    assert {record.identity["crf"] for record in run.classes} == {None, "xy 67"}
    assert newest in run.classes
    assert ["classes_val.json" in fault for fault in run.faults] == [True]


def test_a_resumed_run_has_one_curve(root: Path) -> None:
    write_log(root, "fit_1", [], "epoch,step,train/loss\n0,19,0.9\n0,29,0.8\n")
    assert read_run(root).curves["train/loss"] == [(9, 1.5), (19, 0.9), (29, 0.8)]


def test_runs_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"deeplab validate"):
        read_run(tmp_path)
    write_log(tmp_path, "fit_0", [])
    (tmp_path / "logs/fit_0/evaluation.json").write_text("{")
    with pytest.raises(ValueError, match=r"evaluation\.json.*Expecting"):
        read_run(tmp_path)


BAD_RECORDS = ("", "[{", "{}", "[1]", "[{}]", '[{"metric": "val/miou", "value": null}]', '[{"metric": 1, "value": 1}]')


@pytest.mark.parametrize("content", BAD_RECORDS)
def test_scores_that_cannot_be_read_are_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=str(path)):
        read_scores(path)


def test_a_score_with_a_damaged_name_is_left_out(root: Path) -> None:
    expected = read_run(root)
    log = write_log(root, "validate_0", [record("miou", 0.5)])
    read = read_run(root)
    assert read.scores == expected.scores
    assert [fault.partition(": ")[0] for fault in read.faults] == [str(log / "evaluation.json")]


@pytest.mark.parametrize("left_out", record("test/miou", 0.5)["identity"])
def test_a_score_with_an_incomplete_identity_is_left_out(root: Path, left_out: str) -> None:
    damaged = record("test/miou", 0.5)
    del damaged["identity"][left_out]
    log = write_log(root, "validate_0", [damaged])
    (fault,) = read_run(root).faults
    assert str(log / "evaluation.json") in fault
    assert left_out in fault


def test_the_record_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    content = {"seconds": 2.5, "environment": {"num_devices": 4}, "batch": {"batch_norm": "of the batch"}}
    path.write_text(json.dumps(content))
    assert read_record(path) == RunRecord(2.5, 4, "of the batch")
    path.write_text(json.dumps({"seconds": 2.5, "environment": {"num_devices": 1}}))
    assert read_record(path) == RunRecord(2.5, 1, "")
    path.write_text('{"seconds": 2.5}')  # damaged, or of an attempt of which no more is known
    assert read_seconds(path) == 2.5
    with pytest.raises(ValueError, match=str(path)):
        read_record(path)
    assert read_seconds(tmp_path / "nothing") == 0


def test_a_panel_that_links_out_of_the_run_is_not_embedded(root: Path, tmp_path: Path) -> None:
    """A page may be shared, so it must not contain private files that a foreign run folder links to."""
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


def test_scores_under_a_name_of_the_users_are_read(root: Path) -> None:
    num_scores = len(read_run(root).scores)
    write_log(root, "validate_0", [record("test/trimap_of_mine", 0.5), record("test/iou", 0.5)])
    assert len(read_run(root).scores) == num_scores + 2
    assert read_run(root).faults == []
