from pathlib import Path

import pytest

from deeplab_lightning.reports.scores import metric_name, score_grid, short_label
from deeplab_lightning.run_reader import read_run
from deeplab_lightning.scores import ScoreName
from tests.run_folders import record, write_log, write_run
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
