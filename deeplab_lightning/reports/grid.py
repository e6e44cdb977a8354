"""A table as text. The terminal, HTML and markdown show the same cells, so numbers are formatted in one place."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rich.markup import escape
from rich.table import Table

from deeplab_lightning.palette import Color


@dataclass(frozen=True)
class Grid:
    """Headings and rows of cells.

    Args:
        headings: The headings of the columns.
        rows: The cells of each row, one for each heading.
        identities: The footnotes on how the scores were measured, each after its mark. Cells contain the marks.
        colors: The colour of each row, where the rows are classes; it stands before the first cell.
    """

    headings: list[str]
    rows: list[list[str]]
    identities: list[str] = field(default_factory=list)
    colors: list[Color] = field(default_factory=list)

    def for_terminal(self, title: str, right: Sequence[str] = (), no_wrap: Sequence[str] = ()) -> Table:
        """The grid as a table of rich.

        Args:
            title: The title above the table.
            right: The headings of the columns that are aligned on the right.
            no_wrap: The headings of the columns that are not wrapped.
        """
        table = Table(title=escape(title), title_justify="left")
        for heading in self.headings:
            table.add_column(
                escape(heading), justify="right" if heading in right else "left", no_wrap=heading in no_wrap
            )
        swatches = [f"[rgb({red},{green},{blue})]██[/] " for red, green, blue in self.colors] or [""] * len(self.rows)
        for swatch, (name, *cells) in zip(swatches, self.rows, strict=True):
            table.add_row(swatch + escape(name), *map(escape, cells))
        return table

    def as_markdown(self) -> str:
        """The grid as a table in markdown."""
        lines = [self.headings, ["---"] * len(self.headings), *self.rows]
        return "".join(f"| {' | '.join(map(inline, cells))} |\n" for cells in lines)

    def without(self, heading: str) -> "Grid":
        """The grid without the column of a heading."""
        kept = [column for column, name in enumerate(self.headings) if name != heading]
        rows = [[cells[column] for column in kept] for cells in self.rows]
        return replace(self, headings=[self.headings[column] for column in kept], rows=rows)


def numbered(texts: Sequence[str]) -> list[str]:
    """Texts as footnotes, each after its mark."""
    return [f"{mark(number)} {text}" for number, text in enumerate(texts, 1)]


def mark(number: int) -> str:
    """The mark of a footnote in a cell."""
    return f"[{number}]"


def inline(text: str) -> str:
    """Escape a text so that markdown shows it literally, on one line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([|$*`\\])", r"\\\1", plain)
