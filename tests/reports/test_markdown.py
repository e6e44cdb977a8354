"""Markdown of tables. The list of all tables is tested in tests/ablation/test_experiments_tables.py."""

import re
from pathlib import Path

from deeplab_lightning.ablation.outcomes import read_folder
from deeplab_lightning.ablation.plan import Plan, plan_table
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.reports.compare import compare
from deeplab_lightning.reports.gallery import Gallery, gather
from deeplab_lightning.reports.markdown import comparison_section, gallery_numbers
from tests.ablation.tables import TABLE, write_runs, write_scored_tree, write_tree
from tests.test_identity import IDENTITY


def planned(path: Path) -> Plan:
    return plan_table(read_table(path), "paper")


def test_markdown_holds_the_papers_columns_and_the_identity(tmp_path: Path) -> None:
    plan = planned(write_scored_tree(tmp_path))
    text = comparison_section(compare(plan, read_folder(tmp_path / "runs" / "paper")))
    assert (
        "| row | size | paper | ours | difference | seeds | seconds | measured as | starts from | state | remarks |"
        in text
    )
    assert "| others |  | 30.5 |  |  |  |  |  |  |  |" in text
    assert "| plain | 11M | 20 | 23.00 ± 1.41 | +3.00 | 2 | 12 | [1] | random weights |  |  |" in text
    assert f"- [1] {IDENTITY}" in text


def test_markup_in_a_table_is_text(tmp_path: Path) -> None:
    text = TABLE.replace("Two rows", "T [/x] <b> $x$ &amp;").replace("uncertain: the side", 'uncertain: "a\\nb | c"')
    page = comparison_section(compare(planned(write_tree(tmp_path, tmp_path, text)), {}))
    assert page.startswith("## T [/x] &lt;b> \\$x\\$ &amp;amp;, and")
    assert "| uncertain: a b \\| c |" in page


CRF_ROW = "  - {name: crf, train: {}, metric: val/miou_crf, paper: 22}\n"


def test_the_numbers_of_a_gallery(tmp_path: Path) -> None:
    path = write_tree(tmp_path, tmp_path, TABLE + CRF_ROW)
    write_runs(path, tmp_path / "runs", num_seeds=2, num_bands=3)
    text = gallery_numbers(gather(planned(path), read_folder(tmp_path / "runs"), None))
    assert "IoU by class, in percent:\n\n| class | plain | flip | crf |" in text
    assert re.search(r"^\| road &amp; rail \| 20\.50 \|", text, re.MULTILINE)
    assert "| row | 1 | 2 | 3 |" in text
    assert "| plain, with CRF | 26.00 | 27.00 | 28.00 |" in text
    assert gallery_numbers(Gallery()) == ""
