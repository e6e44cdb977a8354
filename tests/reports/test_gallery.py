import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.reports.compare import compare
from deeplab_lightning.reports.gallery import PANEL_IMAGES, Gallery, gather
from deeplab_lightning.ablation.outcomes import read_folder
from deeplab_lightning.reports.page import PANEL_WIDTH, render
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.commands.report import run
from tests.ablation.tables import CLASSES, TABLE, write_runs, write_tree

CRF_ROW = "  - {name: crf, train: {}, metric: val/miou_crf, paper: 22}\n"
OTHER_ROW = "  - {name: other, configs: [model/other.yaml], train: {}, paper: 23}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table with the scores of a CRF, whose runs, two seeds of each, lie in runs/paper."""
    path = write_tree(tmp_path, tmp_path, TABLE + CRF_ROW)
    write_runs(path, tmp_path / "runs" / "paper", num_seeds=2, num_bands=3)
    path.write_text(TABLE + CRF_ROW + OTHER_ROW)  # not run
    return path


def gathered(path: Path, root: Path, scale: str) -> Gallery:
    return gather(read_table(path), scale, read_folder(root), root)


def test_iou_by_class_is_the_mean_over_seeds_of_the_rows_own_metric(path: Path, tmp_path: Path) -> None:
    ious = gathered(path, tmp_path / "runs" / "paper", "paper").ious
    assert list(ious) == ["plain", "flip", "crf"]
    assert list(ious["plain"]) == list(CLASSES)
    assert [ious[row][CLASSES[0]] for row in ious] == pytest.approx([0.205, 0.305, 0.255])


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


def test_the_page_of_a_table(path: Path, tmp_path: Path) -> None:
    table, root = read_table(path), tmp_path / "runs" / "paper"
    page = render([], [(compare(table, "paper", root), gather(table, "paper", read_folder(root), root))])
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == ["IoU by class, in percent", "Curves", "Predictions"]
    assert page.count("<svg") == 4  # bars, loss, mIoU, trimap
    for name in ("road &amp; rail", "car", "&lt;bicycle&gt;"):
        assert len(re.findall(rf">{re.escape(name)}</text>", page)) == 1, name
    assert "<bicycle>" not in page
    assert ">20.5</text>" in page  # of plain, in percent
    assert "not yet run" in page
    panels = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(panels) == 2 * PANEL_IMAGES
    assert Image.open(BytesIO(b64decode(panels[0]))).width == PANEL_WIDTH
    assert "a, flip</figcaption>" in page


def test_the_page_needs_no_network(path: Path, tmp_path: Path) -> None:
    assert run("report", [str(path), "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "<h2>Predictions</h2>" in page
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)""", page) == []
    assert re.findall(r"url\((?!#)|@import|<link|<script", page) == []


def test_a_table_without_runs_has_a_table_only(path: Path, tmp_path: Path) -> None:
    table, root = read_table(path), tmp_path / "none"
    gallery = gather(table, "paper", read_folder(root), root)
    assert re.findall(r"<h2>|<svg|<figure", render([], [(compare(table, "paper", root), gallery)])) == []
    assert gallery.markdown() == ""


def test_the_numbers_in_markdown(path: Path, tmp_path: Path) -> None:
    text = gathered(path, tmp_path / "runs" / "paper", "paper").markdown()
    assert "| row | road &amp; rail | car | &lt;bicycle> |" in text
    assert re.search(r"^\| plain \| 20\.50 \|", text, re.MULTILINE)
    assert "| row | 1 | 2 | 3 |" in text
    assert "| plain, with CRF | 26.00 | 27.00 | 28.00 |" in text


def test_runs_that_were_read_show_their_numbers(path: Path, tmp_path: Path) -> None:
    """As from Weights & Biases: no curves, no panels, the same numbers."""
    table, root = read_table(path), tmp_path / "runs" / "paper"
    read, in_folder = gather(table, "paper", read_folder(root), None), gather(table, "paper", read_folder(root), root)
    assert (read.panels, read.curves) == ({}, {"train/loss": {}, "val/miou": {}})
    assert read.markdown() == in_folder.markdown() != ""
