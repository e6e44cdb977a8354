"""The comparison of a paper's table with the scores that were measured here."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from deeplab_lightning.ablation.older import chosen_evaluation, chosen_keys, describe_older
from deeplab_lightning.ablation.outcomes import Outcome, Outcomes, State
from deeplab_lightning.ablation.plan import Plan, PlannedRow, Training
from deeplab_lightning.ablation.start import describe_start
from deeplab_lightning.ablation.table import Row, Table
from deeplab_lightning.identity import Record, describe_identity
from deeplab_lightning.reports.grid import Grid, mark, numbered
from deeplab_lightning.run_folder import JobKey

ROW, START, STATE, REMARKS = "row", "starts from", "state", "remarks"
HEADINGS = (ROW, "paper", "ours", "difference", "seeds", "seconds", "measured as", START, STATE, REMARKS)


@dataclass
class Line:
    """One row of a table beside our scores for it.

    Args:
        row: The row of the table.
        comparable: Whether our scores were measured with the paper's own settings and data.
        scores: Our scores by seed, in percent.
        identities: The identities of the scores.
        times: The seconds that training and evaluation took together, for each seed.
        states: The remarks on the runs, such as the reason why there is no score.
        submits: Whether the states name label maps to submit to a server.
        start: The weights that our training starts from; empty without one.
    """

    row: Row
    comparable: bool
    scores: dict[int, float] = field(default_factory=dict)
    identities: list[Record] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    submits: bool = False
    start: str = ""

    @property
    def ours(self) -> float | None:
        """The mean of our scores over the seeds."""
        return mean(self.scores.values()) if self.scores else None

    @property
    def spread(self) -> float | None:
        """The standard deviation of our scores over the seeds; None for fewer than two seeds."""
        return stdev(self.scores.values()) if len(self.scores) > 1 else None

    @property
    def difference(self) -> float | None:
        """Our mean minus the paper's number; None where they are missing or not comparable."""
        if self.ours is None or self.row.paper is None or not self.comparable:
            return None
        return self.ours - self.row.paper

    @property
    def seconds(self) -> float | None:
        """The mean duration of training and evaluation over the seeds."""
        return mean(self.times) if self.times else None

    @property
    def status(self) -> str:
        """All states without repetitions; empty where there are none."""
        return "; ".join(dict.fromkeys(self.states))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "name": self.row.name,
            "metric": str(self.row.metric),
            "columns": self.row.columns,
            "paper": self.row.paper,
            "ours": self.ours,
            "spread": self.spread,
            "seeds": self.scores,
            "difference": self.difference,
            "comparable": self.comparable,
            "seconds": self.seconds,
            "status": self.status,
            "starts_from": self.start,
            "remarks": self.row.all_remarks,
            "identities": self.identities,
        }


@dataclass
class Comparison:
    """One table beside our scores at one scale."""

    table: Table
    scale: str
    lines: list[Line]

    @property
    def warning(self) -> str:
        """The reason why the numbers must not be compared; empty at the paper's own scale."""
        if all(line.comparable for line in self.lines):
            return ""
        return (
            f"Scale {self.scale}: our scores come from other data and a shorter training, with the settings of that "
            "scale in place of the paper's. They are not comparable with the paper's numbers, so no difference is "
            "given."
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        rows = [line.as_dict() for line in self.lines]
        return {"table": str(self.table.path), "title": self.table.title, "scale": self.scale, "rows": rows}

    def grid(self) -> Grid:
        """The lines as text. The paper's further columns follow the name of the row."""
        identities = list(dict.fromkeys(describe_identity(each) for line in self.lines for each in line.identities))
        more = list(dict.fromkeys(name for line in self.lines for name in line.row.columns))
        rows = []
        for line in self.lines:
            name, *others = _cells(line, identities)
            rows.append([name, *(str(line.row.columns.get(column, "")) for column in more), *others])
        return Grid([HEADINGS[0], *more, *HEADINGS[1:]], rows, numbered(identities))


def _cells(line: Line, identities: list[str]) -> list[str]:
    """The cells of a line in the order of `HEADINGS`."""
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
        " ".join(map(mark, numbers)),
        line.start,
        line.status,
        line.row.all_remarks,
    ]


def compare(plan: Plan, outcomes: Outcomes) -> Comparison:
    """Compare the rows of a plan with their scores over all seeds that were run."""
    return Comparison(plan.table, plan.scale, [_line(planned, plan, outcomes) for planned in plan.rows_once()])


def _line(planned: PlannedRow, plan: Plan, outcomes: Outcomes) -> Line:
    line = Line(planned.row, plan.is_published)
    if planned.training is None:
        return line
    line.start = describe_start(planned.training)
    keys = chosen_keys(planned.training, outcomes).values()
    for key in keys:
        line.states += _add_seed(line, planned, key, outcomes)
    if not keys:
        line.states.append(State.NOT_RUN.value)
    elif replaced := planned.training.replaced.get(planned.row.name):
        line.states.append(f"without its own {', '.join(replaced)}")
    for key in keys:
        line.states += _training_states(planned.training, key, outcomes[key])
    return line


def _add_seed(line: Line, planned: PlannedRow, key: JobKey, outcomes: Outcomes) -> list[str]:
    """Add the score of one seed to a line.

    Returns:
        The states of the seed, such as the reason why there is no score.
    """
    trained = outcomes[key]
    if not trained.is_done:
        return [str(trained)]
    if planned.evaluation is None:
        return ["trained"]
    scored_key = chosen_evaluation(key, planned.evaluation, outcomes)
    scored = outcomes.get(scored_key, Outcome(State.NOT_RUN))
    if not scored.is_done:
        return [f"trained, evaluation {scored}"]
    states = []
    if scored_key.evaluation != planned.evaluation.digest:
        states.append(f"older protocol ({describe_older(scored, planned.evaluation.resolved)})")
    score = next((score for score in scored.scores if score.name == planned.row.metric), None)
    if planned.served:
        line.submits = line.comparable
        states.append(f"submit {scored.submission}" if line.comparable else "predicted")
    elif score is None:
        return [*states, f"{planned.row.metric} was not measured on these data"]
    else:
        line.scores[key.seed] = 100 * score.value
        line.identities.append(score.identity)
    line.times.append(trained.seconds + scored.seconds)
    return states


def _training_states(training: Training, key: JobKey, trained: Outcome) -> Iterator[str]:
    """The differences between a training and the one that the row asks for now."""
    from deeplab_lightning.callbacks.global_batch import APART  # here because it imports Lightning

    if key.digest != training.digest:
        yield f"older protocol ({describe_older(trained, training.resolved)})"
    if trained.num_devices > 1 and trained.protocol == 1:
        yield f"trained on {trained.num_devices} devices, each with the table's batch size"
    elif trained.batch_norm == APART:
        yield f"trained on {trained.num_devices} devices, without sharing batch norm statistics"
