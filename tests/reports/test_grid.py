import pytest
from rich.console import Console

from deeplab_lightning.reports.grid import Grid, inline, mark, numbered

GRID = Grid(["row", "[/q]", "state"], [["a [red]", "1.50", "one | two"], ["b", "", ""]], ["[1] whole image"])


def test_the_terminal_and_markdown_show_the_same_cells(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=80).print(GRID.for_terminal("T [/x]", right=["[/q]"]))
    printed = capsys.readouterr().out
    assert "T [/x]" in printed
    for text in ("[/q]", "a [red]", "1.50", "one | two"):
        assert text in printed
        assert inline(text) in GRID.as_markdown()
    assert len(GRID.as_markdown().splitlines()) == 4


def test_a_grid_without_one_of_its_columns() -> None:
    assert GRID.without("[/q]") == Grid(["row", "state"], [["a [red]", "one | two"], ["b", ""]], GRID.identities)


def test_footnotes_have_the_marks_of_the_cells() -> None:
    assert numbered(["x", "y"]) == [f"{mark(1)} x", f"{mark(2)} y"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\n b", "a b"), ("<b>&amp;", "&lt;b>&amp;amp;"), ("$x$ | `y`", "\\$x\\$ \\| \\`y\\`")],
)
def test_markup_is_text_in_markdown(text: str, shown: str) -> None:
    assert inline(text) == shown


def test_rows_of_classes_begin_with_their_colour(capsys: pytest.CaptureFixture[str]) -> None:
    grid = Grid(["class", "IoU"], [["[red]", "0.5"]], colors=[(128, 64, 0)])
    Console(width=80, force_terminal=True, color_system="truecolor").print(grid.for_terminal("T"))
    printed = capsys.readouterr().out
    assert "38;2;128;64;0m██" in printed
    assert "[red]" in printed
    assert "██" not in grid.as_markdown()
