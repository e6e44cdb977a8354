import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from deeplab_lightning.ablation.outcomes import read_folder
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.reports.compare import compare
from deeplab_lightning.reports.gallery import PANEL_IMAGES, gather
from deeplab_lightning.reports.page import PANEL_WIDTH, render
from deeplab_lightning.reports.scores import score_grid
from deeplab_lightning.run_reader import read_run
from tests.ablation.tables import TABLE, write_runs, write_tree
from tests.run_folders import record, write_log, write_run

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
    run = read_run(tmp_path)
    cells = [cell for row in score_grid(run).rows for cell in row]
    assert "-" in cells
    assert re.findall(r"<td>(.*?)</td>", render([run])) == cells
