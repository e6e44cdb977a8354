import re
from base64 import b64decode
from html import escape
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from deeplab_lightning.ablation.outcomes import read_folder
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.class_record import ClassRecord
from deeplab_lightning.palette import Palette
from deeplab_lightning.reports.compare import compare
from deeplab_lightning.reports.gallery import PANEL_IMAGES, gather
from deeplab_lightning.reports.page import PANEL_WIDTH, SHOWN_CLASSES, render
from deeplab_lightning.reports.scores import class_grid, confusion_grid, score_grid
from deeplab_lightning.run_reader import read_run
from tests.ablation.tables import TABLE, write_runs, write_tree
from tests.run_folders import record, write_classes, write_log, write_run
from tests.test_identity import IDENTITY

OTHER_ROW = "  - {name: other, configs: [model/other.yaml], train: {}, paper: 23}\n"


def tables_page(path: Path, root: Path) -> str:
    """The page of a table and of the runs in a folder."""
    plan, outcomes = plan_table(read_table(path), "paper"), read_folder(root)
    return render([], [(compare(plan, outcomes), gather(plan, outcomes, root))])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table whose first two rows were run with two seeds into the folder `runs`."""
    path = write_tree(tmp_path, tmp_path)
    write_runs(path, tmp_path / "runs", num_seeds=2, num_bands=3)
    path.write_text(TABLE + OTHER_ROW)
    return path


def test_the_page_of_a_table(path: Path, tmp_path: Path) -> None:
    page = tables_page(path, tmp_path / "runs")
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    kinds = [f"{kind} by class, in percent" for kind in ("IoU", "Precision", "Recall", "F1")]
    assert headings == [*kinds, "Curves", "Predictions"]
    assert page.count('class="swatch"') == 3 * 3  # of three classes in three grids
    assert "fill: #e69f00" in page  # the first generated colour, in the bars
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


def test_a_table_without_runs_has_a_table_only(path: Path, tmp_path: Path) -> None:
    assert re.findall(r"<h2>|<svg|<figure", tables_page(path, tmp_path / "none")) == []


def test_the_page_of_a_run_escapes_names(tmp_path: Path) -> None:
    page = render([read_run(write_run(tmp_path / "run <1>"))])
    assert "run &lt;1&gt;" in page
    assert page.count("<svg") == 3  # loss, scores, learning rate
    assert page.count("data:image/png;base64,") == 1


def test_pages_need_no_network(path: Path, tmp_path: Path) -> None:
    for page in (tables_page(path, tmp_path / "runs"), render([read_run(write_run(tmp_path / "run"))])):
        assert "<h2>Predictions</h2>" in page
        assert re.findall(r"""(?:src|href)=["'](?!data:|#)""", page) == []
        assert re.findall(r"url\((?!#)|@import|<link|<script", page) == []


def test_the_page_shows_the_cells_of_the_grid(tmp_path: Path) -> None:
    """The cells are those of the terminal, including the dash for a missing score."""
    write_log(write_run(tmp_path), "test_1", [record("test/loss", 1.5)])
    write_classes(tmp_path / "logs" / "test_0")
    run = read_run(tmp_path)
    grids = score_grid(run), class_grid(run), confusion_grid(run.classes[0])
    cells = [escape(cell) for grid in grids for row in grid.rows for cell in row]
    assert "-" in cells
    found = re.findall(r"<td(?: class=.text.)?>(?:<span.*?</span>)?(.*?)</td>", render([run]))
    assert [cell for cell in found if cell] == cells


def test_classes_have_their_colours_and_a_confusion_matrix(tmp_path: Path) -> None:
    write_classes(write_run(tmp_path) / "logs" / "test_0")
    page = render([read_run(tmp_path)])
    assert page.count("background: rgb(128, 64, 128)") == 3  # by class, in the matrix, among the confusions
    (matrix,) = re.findall(r'<table class="matrix">(.*?)</table>', page, re.DOTALL)
    assert re.findall(r"<td[^>]*>(.*?)</td>", matrix) == ["80", "20", "", "10", "90", "", "", "", ""]
    assert len(re.findall(r"&lt;car&gt;</t", matrix)) == 1


def test_a_matrix_of_many_classes_is_listed_only(tmp_path: Path) -> None:
    log = write_run(tmp_path) / "logs" / "test_0"
    names = [f"class {index}" for index in range(SHOWN_CLASSES + 1)]
    matrix = [[1] * len(names) for _ in names]
    ClassRecord(Palette.generated(names), matrix, IDENTITY.as_dict()).write(log / "classes_test.json")
    page = render([read_run(tmp_path)])
    assert 'class="matrix"' not in page
    assert "most frequent confusions" in page


def test_pages_follow_the_colour_scheme_of_the_reader(path: Path, tmp_path: Path) -> None:
    """Charts have the text's colour on no background, so they can be read in the dark and in print."""
    for page in (tables_page(path, tmp_path / "runs"), render([read_run(write_run(tmp_path / "run"))])):
        assert "@media (prefers-color-scheme: dark)" in page
        assert "@media print" in page
        charts = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
        assert "currentColor" in charts
        assert not re.findall(r"fill: #(?:ffffff|000000)(?!; opacity: 0)", charts)
