from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.ablation.outcomes import read_folder
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.reports.gallery import PANEL_IMAGES, Gallery, gather
from tests.ablation.tables import CLASSES, TABLE, write_runs, write_tree

CRF_ROW = "  - {name: crf, train: {}, metric: val/miou_crf, paper: 22}\n"
OTHER_ROW = "  - {name: other, configs: [model/other.yaml], train: {}, paper: 23}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table with CRF scores. Its runs, with two seeds each, are in runs/paper."""
    path = write_tree(tmp_path, tmp_path, TABLE + CRF_ROW)
    write_runs(path, tmp_path / "runs" / "paper", num_seeds=2, num_bands=3)
    path.write_text(TABLE + CRF_ROW + OTHER_ROW)  # not run
    return path


def gathered(path: Path, root: Path, scale: str) -> Gallery:
    return gather(plan_table(read_table(path), scale), read_folder(root), root)


def test_iou_by_class_is_the_mean_over_seeds_of_the_rows_own_metric(path: Path, tmp_path: Path) -> None:
    ious = gathered(path, tmp_path / "runs" / "paper", "paper").ious
    assert list(ious) == ["plain", "flip", "crf"]
    assert list(ious["plain"]) == list(CLASSES)
    assert [ious[row][CLASSES[0]] for row in ious] == pytest.approx([0.205, 0.305, 0.255])


def test_precision_recall_and_f1_are_the_means_over_seeds_and_have_colours(path: Path, tmp_path: Path) -> None:
    """Seed 0 has 60 of 80 right and 80 of 100, seed 1 has 60 of 80 and 100 of 120. The third class has no pixel."""
    gallery = gathered(path, tmp_path / "runs" / "paper", "paper")
    assert list(gallery.more) == ["precision", "recall", "F1"]
    for rows in gallery.more.values():
        assert list(rows) == ["plain", "flip", "crf"]
        assert rows["crf"] == pytest.approx({CLASSES[0]: 0.75, CLASSES[1]: (80 / 100 + 100 / 120) / 2})
    assert list(gallery.colors) == list(CLASSES)
    grid = gallery.class_grids()["recall"]
    assert grid.rows == [[CLASSES[0], *["75.00"] * 3], [CLASSES[1], *["81.67"] * 3], [CLASSES[2], "", "", ""]]
    assert grid.colors == list(gallery.colors.values())


def test_a_curve_for_each_seed_of_a_training(path: Path, tmp_path: Path) -> None:
    curves = gathered(path, tmp_path / "runs" / "paper", "paper").curves
    assert list(curves) == ["train/loss", "val/miou"]
    assert list(curves["train/loss"]) == ["plain and 2 more"]
    assert len(curves["train/loss"]["plain and 2 more"]) == 2
    assert curves["val/miou"]["plain and 2 more"][0][3] == (3, 0.03)


def test_trimap_curves_and_panels_once_for_each_evaluation(path: Path, tmp_path: Path) -> None:
    gallery = gathered(path, tmp_path / "runs" / "paper", "paper")
    kinds = [f"{row}, {how} CRF" for row in ("plain", "flip") for how in ("without", "with")]
    assert list(gallery.trimaps) == kinds
    assert np.array(gallery.trimaps[kinds[1]]) == pytest.approx(np.array([(1, 0.26), (2, 0.27), (3, 0.28)]))
    assert list(gallery.panels) == ["a", "b"][:PANEL_IMAGES]  # neither all images nor the picture of the trimap curve
    assert [row for row, _ in gallery.panels["a"]] == ["plain", "flip"]


def test_unfinished_and_narrow_evaluations_have_no_scores(tmp_path: Path) -> None:
    path = write_tree(tmp_path, tmp_path)
    write_runs(path, tmp_path / "runs", num_seeds=1, num_bands=1)
    assert gathered(path, tmp_path / "runs", "paper").trimaps == {}
    (training,) = plan_table(read_table(path), "paper").trainings
    for digest in training.evaluations:
        (tmp_path / "runs" / training.name / "evaluations" / digest / "done.json").unlink()
    assert gathered(path, tmp_path / "runs", "paper").ious == {}
    assert gathered(path, tmp_path / "runs", "smoke").curves == {"train/loss": {}, "val/miou": {}}


def test_outcomes_without_folders_show_their_scores(path: Path, tmp_path: Path) -> None:
    """Outcomes from Weights & Biases have no curves and no panels, but the same scores."""
    root = tmp_path / "runs" / "paper"
    in_folder = gathered(path, root, "paper")
    read = gather(plan_table(read_table(path), "paper"), read_folder(root), None)
    assert (read.panels, read.curves) == ({}, {"train/loss": {}, "val/miou": {}})
    assert (read.ious, read.trimaps) == (in_folder.ious, in_folder.trimaps)
    assert len(read.ious) == 3


def test_a_table_without_runs(path: Path, tmp_path: Path) -> None:
    assert gathered(path, tmp_path / "none", "paper") == Gallery()
