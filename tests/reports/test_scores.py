from pathlib import Path

import pytest

from deeplab_lightning.reports.scores import (
    NUM_CONFUSIONS,
    class_grid,
    confusion_grid,
    metric_name,
    score_grid,
    short_label,
)
from deeplab_lightning.run_reader import read_run
from deeplab_lightning.scores import ScoreName
from tests.run_folders import record, write_classes, write_log, write_run
from tests.test_identity import IDENTITY


def test_a_column_for_each_identity(tmp_path: Path) -> None:
    grid = score_grid(read_run(write_run(tmp_path)))
    assert grid.headings == ["metric", "test + multi-scale + flip [1]", "test + multi-scale + flip + CRF [2]"]
    assert grid.rows == [["mIoU", "0.4100", "0.4300"]]
    assert "CRF (xy 67)" in grid.identities[1]


def test_missing_scores_are_shown_as_a_dash(tmp_path: Path) -> None:
    write_log(write_run(tmp_path), "test_1", [record("test/loss", 1.5)])
    assert score_grid(read_run(tmp_path)).rows[1] == ["loss", "1.5000", "-"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (ScoreName("val", "miou", refined=True), "mIoU"),
        (ScoreName("val", "iou", "person", refined=True), "IoU person"),
        (ScoreName("val", "iou", "table/desk"), "IoU table/desk"),
        (ScoreName("val", "trimap_miou", "3"), "trimap mIoU, band of 3 px"),
        (ScoreName("val", "mine"), "mine"),
    ],
)
def test_metrics_in_words(name: ScoreName, words: str) -> None:
    assert metric_name(name) == words


def test_short_labels() -> None:
    assert short_label(IDENTITY.as_dict() | {"scales": [1.0], "flip": False}) == "test"


def test_the_classes_have_all_scores_of_each_identity(tmp_path: Path) -> None:
    root = write_run(tmp_path)
    write_classes(root / "logs" / "test_0")
    write_classes(root / "logs" / "test_0", refined=True, crf="xy 67")
    grid = class_grid(read_run(root))
    kinds = ("IoU", "precision", "recall", "F1")
    assert grid.headings == ["class", "share of pixels", *(f"{kind} [{mark}]" for mark in (1, 2) for kind in kinds)]
    assert grid.rows[0] == ["road", "0.5000", *["0.7273", "0.8889", "0.8000", "0.8421"] * 2]
    assert grid.rows[2] == ["tree", "0.0000", *["-"] * 8]
    assert grid.colors == [(128, 64, 128), (0, 0, 142), (107, 142, 35)]


def test_the_classes_of_a_run_without_matrices_have_their_iou(tmp_path: Path) -> None:
    write_log(tmp_path, "test_0", [record("test/miou", 0.4), record("test/iou/road", 0.5)])
    grid = class_grid(read_run(tmp_path))
    assert (grid.headings, grid.rows, grid.colors) == (["class", "IoU [1]"], [["road", "0.5000"]], [])
    assert score_grid(read_run(tmp_path)).rows == [["mIoU", "0.4000"]]


def test_confusions_are_listed_from_the_most_frequent(tmp_path: Path) -> None:
    grid = confusion_grid(write_classes(tmp_path))
    assert grid.rows == [["road", "<car>", "10.0 %", "20.0 %"], ["<car>", "road", "5.0 %", "10.0 %"]]
    assert len(grid.rows) <= NUM_CONFUSIONS
