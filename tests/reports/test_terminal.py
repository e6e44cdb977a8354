"""Reports in the terminal. Label maps for the server are tested in tests/ablation/test_submission.py."""

from pathlib import Path

import pytest
from rich.console import Console

from deeplab_lightning.ablation.outcomes import read_folder
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.reports.compare import REMARKS, compare
from deeplab_lightning.reports.scores import score_grid
from deeplab_lightning.reports.terminal import print_comparison, print_run
from deeplab_lightning.run_reader import read_run
from tests.ablation.tables import TABLE, write_scored_tree
from tests.run_folders import write_run


def test_a_table_is_printed_with_its_remarks_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_scored_tree(tmp_path)
    path.write_text(TABLE.replace("Two rows", "T [/x] <b>").replace("size:", '"[/q]":'))
    comparison = compare(plan_table(read_table(path), "smoke"), read_folder(tmp_path / "runs" / "smoke"))
    print_comparison(Console(width=60), comparison)
    printed = capsys.readouterr().out
    grid = comparison.grid()
    assert "T [/x] <b>" in printed
    assert all(heading in printed for heading in grid.headings if heading != REMARKS)
    assert all(cell in printed for cells in grid.rows for cell in cells[:-1])
    assert printed.splitlines()[-3:] == [comparison.warning, *grid.identities, "flip: uncertain: the side"]


def test_a_run_is_printed_with_its_identities_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = read_run(write_run(tmp_path / "run [x]"))
    print_run(Console(width=100), run)
    printed = capsys.readouterr().out
    assert "run [x]" in printed
    assert all(cell in printed for cells in score_grid(run).rows for cell in cells)
    assert printed.splitlines()[-2:] == score_grid(run).identities
