"""A table of a paper beside what was measured here."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from deeplab_lightning.ablation.outcomes import (
    Outcome,
    Outcomes,
    chosen_evaluation,
    chosen_keys,
    describe_older,
    read_folder,
)
from deeplab_lightning.ablation.plan import PlannedRow, Training, plan_table
from deeplab_lightning.ablation.table import Row, Table
from deeplab_lightning.identity import Record, describe_identity

HEADINGS = ("row", "paper", "ours", "difference", "seeds", "seconds", "measured as", "state", "remarks")

WIDTH = 130  # columns of a terminal that the widest table needs


@dataclass
class Line:
    """One row of the comparison.

    Args:
        row: of the table.
        status: why there is no number of ours; empty where there is one, or where none is meant to be.
        scores: by seed, in percent.
        seconds: that the training and the evaluation of one seed took, on average.
        identities: how the scores were measured.
        comparable: measured with the paper's own settings and data.
    """

    row: Row
    status: str = ""
    scores: dict[int, float] = field(default_factory=dict)
    seconds: float | None = None
    identities: list[Record] = field(default_factory=list)
    comparable: bool = True

    @property
    def ours(self) -> float | None:
        """The mean over the seeds."""
        return mean(self.scores.values()) if self.scores else None

    @property
    def spread(self) -> float | None:
        """The standard deviation over the seeds, with two or more."""
        return stdev(self.scores.values()) if len(self.scores) > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's, where they may be compared."""
        if self.ours is None or self.row.paper is None or not self.comparable:
            return None
        return self.ours - self.row.paper

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "name": self.row.name,
            "metric": self.row.metric,
            "columns": self.row.columns,
            "paper": self.row.paper,
            "ours": self.ours,
            "spread": self.spread,
            "seeds": self.scores,
            "difference": self.difference,
            "comparable": self.comparable,
            "seconds": self.seconds,
            "status": self.status,
            "remarks": self.row.remarks,
            "identities": self.identities,
        }


@dataclass
class Comparison:
    """One table beside what was measured at one scale."""

    table: Table
    scale: str
    lines: list[Line]

    @property
    def warning(self) -> str:
        """What to know before two numbers of it are compared; empty at the paper's own scale."""
        if self.scale == "paper":
            return ""
        return (
            f"Scale {self.scale}: ours are of other data and a shorter training, with that scale's settings in place "
            "of the paper's; they are not comparable with its numbers, and no difference is given."
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        rows = [line.as_dict() for line in self.lines]
        return {"table": str(self.table.path), "title": self.table.title, "scale": self.scale, "rows": rows}

    def identities(self) -> list[str]:
        """How the numbers were measured, each once."""
        return list(dict.fromkeys(describe_identity(each) for line in self.lines for each in line.identities))

    def cells(self) -> list[list[str]]:
        """The rows of the comparison as text, in the order of `HEADINGS`."""
        identities = self.identities()
        return [_cells(line, identities) for line in self.lines]

    def columns(self) -> list[str]:
        """The names of what else the paper prints."""
        return list(dict.fromkeys(name for line in self.lines for name in line.row.columns))

    def rows(self) -> list[list[str]]:
        """Headings and cells with the paper's further columns after the name."""
        extra = self.columns()
        table = [[HEADINGS[0], *extra, *HEADINGS[1:]]]
        for line, cells in zip(self.lines, self.cells(), strict=True):
            table.append([cells[0], *(str(line.row.columns.get(name, "")) for name in extra), *cells[1:]])
        return table


def _cells(line: Line, identities: list[str]) -> list[str]:
    numbers = sorted({identities.index(describe_identity(each)) + 1 for each in line.identities})
    ours = "" if line.ours is None else f"{line.ours:.2f}"
    if line.spread is not None:
        ours += f" ± {line.spread:.2f}"
    return [
        line.row.name,
        "" if line.row.paper is None else f"{line.row.paper:g}",
        ours,
        "" if line.difference is None else f"{line.difference:+.2f}",
        str(len(line.scores)) if line.scores else "",
        "" if line.seconds is None else f"{line.seconds:.0f}",
        " ".join(f"[{number}]" for number in numbers),
        line.status,
        line.row.remarks,
    ]


def compare(table: Table, scale: str, runs: Path | Outcomes, names: Iterable[str] | None = None) -> Comparison:
    """Gather what the runs, those in a folder or those that were read, measured for the rows of a table, or some."""
    outcomes = read_folder(runs) if isinstance(runs, Path) else runs
    lines = [_line(planned, outcomes, scale) for planned in plan_table(table, scale, names=names).rows]
    return Comparison(table, scale, lines)


def _line(planned: PlannedRow, outcomes: Outcomes, scale: str) -> Line:
    line = Line(planned.row, comparable=scale == "paper")
    if planned.training is None:
        return line
    seeds = chosen_keys(planned.training, outcomes)
    seconds, states = [], []
    for seed, key in seeds.items():
        trained = outcomes[key]
        if trained.state or planned.evaluation is None:
            states.append(trained.state or "trained")
            continue
        scored_key = chosen_evaluation(key, planned.evaluation, outcomes)
        scored = outcomes.get(scored_key, Outcome("not yet run"))
        if scored.state:
            states.append(f"trained, evaluation {scored.state}")
            continue
        if scored_key.rpartition("/")[2] != planned.evaluation.digest:
            states.append(f"older protocol ({describe_older(scored, planned.evaluation.resolved)})")
        if planned.served:
            states.append(f"submit {scored.submission}" if line.comparable else "predicted")
            seconds.append(trained.seconds + scored.seconds)
            continue
        records = [record for record in scored.records if record["metric"] == planned.row.metric]
        if not records:
            states.append(f"its data have no {planned.row.metric}")
            continue
        line.scores[seed] = 100 * records[0]["value"]
        line.identities.append(records[0]["identity"])
        seconds.append(trained.seconds + scored.seconds)
    line.seconds = mean(seconds) if seconds else None
    if not seeds:
        states.append("not yet run")
    if seeds and (replaced := planned.training.replaced.get(planned.row.name)):
        states.append(f"without its own {', '.join(replaced)}")
    states += [state for key in seeds.values() for state in _training_states(planned.training, key, outcomes[key])]
    line.status = "; ".join(dict.fromkeys(states))
    return line


def _training_states(training: Training, key: str, trained: Outcome) -> Iterator[str]:
    """What sets a training apart from that which the row asks for now."""
    from deeplab_lightning.callbacks.global_batch import APART  # Lightning comes with it

    if key.partition("_")[0] != training.name.partition("_")[0]:
        yield f"older protocol ({describe_older(trained, training.resolved)})"
    if trained.num_devices > 1 and trained.protocol == 1:
        yield f"trained on {trained.num_devices} devices, each with the table's batch size"
    elif trained.batch_norm == APART:
        yield f"trained on {trained.num_devices} devices, batch norm on each one's images alone"


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Show a comparison in the terminal, with its remarks below."""
    headings, *rows = comparison.rows()
    grid = Grid(title=escape(comparison.table.title), title_justify="left")
    for heading in headings[:-1]:
        grid.add_column(escape(heading), no_wrap=heading != "state")
    for cells in rows:
        grid.add_row(*map(escape, cells[:-1]))
    Console(width=max(console.width, WIDTH)).print(grid)
    notes = [comparison.warning, *(f"[{n}] {text}" for n, text in enumerate(comparison.identities(), 1))]
    notes += [f"{line.row.name}: {line.status}" for line in comparison.lines if line.status.startswith("submit ")]
    notes += [f"{line.row.name}: {line.row.remarks}" for line in comparison.lines if line.row.remarks]
    for note in filter(None, notes):
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def markdown(comparison: Comparison) -> str:
    """The comparison as a section of a markdown page."""
    headings, *rows = comparison.rows()
    lines = [f"## {_inline(comparison.table.title)}", ""]
    if comparison.warning:
        lines += [comparison.warning, ""]
    lines += [f"{comparison.table.path.name}, in percent.", "", markdown_table([headings, *rows])]
    lines += [f"- [{number}] {identity}" for number, identity in enumerate(comparison.identities(), 1)]
    return "\n".join(lines).rstrip("\n") + "\n"


def markdown_table(rows: list[list[str]]) -> str:
    """Headings and lines of cells as a table in markdown."""
    headings, *lines = rows
    return "".join(f"| {' | '.join(map(_inline, cells))} |\n" for cells in (headings, ["---"] * len(headings), *lines))


def _inline(text: str) -> str:
    """Text that markdown shows as it is, on one line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([|$*`\\])", r"\\\1", plain)


def list_of_tables(tables: list[Table]) -> str:
    """All tables with their files and sizes, for experiments/README.md."""
    lines = ["| table | file | rows | trainings |", "|---|---|---|---|"]
    for table in tables:
        rows = sum(row.stage is None for row in table.rows)
        name = f"ablations/{table.path.name}"
        lines.append(f"| {table.title} | [{name}]({name}) | {rows} | {len(plan_table(table, 'paper').trainings)} |")
    return "\n".join(lines) + "\n"
