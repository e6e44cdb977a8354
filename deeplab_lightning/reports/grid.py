"""A table as text: the terminal, a page and markdown show the same cells, whose numbers are formatted once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Grid:
    """Headings and rows of cells.

    Args:
        headings: The headings of the columns.
        rows: The cells of each row, one for each heading.
        identities: The ways in which the numbers were measured, each behind its number; cells hold the numbers.
    """

    headings: list[str]
    rows: list[list[str]]
    identities: list[str] = field(default_factory=list)

    def for_terminal(self, title: str, right: Sequence[str] = (), no_wrap: Sequence[str] = ()) -> Table:
        """The grid as rich prints it.

        Args:
            title: The line above it.
            right: The headings of columns whose cells are aligned on the right.
            no_wrap: The headings of columns whose cells stay on one line.
        """
        table = Table(title=escape(title), title_justify="left")
        for heading in self.headings:
            table.add_column(
                escape(heading), justify="right" if heading in right else "left", no_wrap=heading in no_wrap
            )
        for cells in self.rows:
            table.add_row(*map(escape, cells))
        return table

    def as_markdown(self) -> str:
        """The grid as a table in markdown."""
        lines = [self.headings, ["---"] * len(self.headings), *self.rows]
        return "".join(f"| {' | '.join(map(inline, cells))} |\n" for cells in lines)

    def without(self, heading: str) -> "Grid":
        """The grid without a column."""
        kept = [column for column, name in enumerate(self.headings) if name != heading]
        rows = [[cells[column] for column in kept] for cells in self.rows]
        return Grid([self.headings[column] for column in kept], rows, self.identities)


def numbered(texts: Sequence[str]) -> list[str]:
    """Texts behind the numbers by which cells name them."""
    return [f"{mark(number)} {text}" for number, text in enumerate(texts, 1)]


def mark(number: int) -> str:
    """The number of a text as it stands in a cell."""
    return f"[{number}]"


def inline(text: str) -> str:
    """Text that markdown shows as it is, on one line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([|$*`\\])", r"\\\1", plain)
