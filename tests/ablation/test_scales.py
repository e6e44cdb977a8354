from pathlib import Path

import pytest

from deeplab_lightning.ablation.scales import PAPER_SCALE, SCALES, check_scale
from deeplab_lightning.ablation.table import TableError, read_table
from tests.ablation.tables import write_tree


def test_a_scale_needs_its_files(tmp_path: Path) -> None:
    table = read_table(write_tree(tmp_path, tmp_path))
    for scale in (PAPER_SCALE, "smoke"):
        check_scale(table, scale)
    (tmp_path / SCALES["smoke"][1]).unlink()
    with pytest.raises(TableError, match="smoke .*tables_smoke.yaml"):
        check_scale(table, "smoke")
