"""A table of a paper, read from its file: what each row trains, how it is scored, what the paper reports."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from os.path import isfile
from pathlib import Path
from types import NoneType
from typing import Any

import yaml

from deeplab_lightning.run_folder import RunFolder
from deeplab_lightning.scores import BAND, ScoreName

Settings = dict[str, Any]
"""Dotted settings of the command line, such as `model.init_args.output_stride`, and their values."""

TABLE_KEYS = {"table", "metric", "configs", "rows"}
OF_ALL_ROWS = {"uncertain"}
"""The keys by which a table says something once of every row that trains."""
REMARKS = ("note", "uncertain", "not_reproducible")
ROW_KEYS = {"name", "metric", "configs", "paper", "train", "evaluate", "start_from", "columns", "stage", *REMARKS}
KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    **dict.fromkeys(("table", "name", "metric", "stage", "start_from"), (str, "a text")),
    **dict.fromkeys(("note", "uncertain", "not_reproducible"), (str, "a text")),
    **dict.fromkeys(("configs", "rows"), (list, "a list")),
    **dict.fromkeys(("train", "evaluate", "columns"), (dict, "a mapping; where it is empty, {}")),
    "paper": ((int, float, NoneType), "a number, or null"),
}
"""The type of the value of each key of a table or of a row, and the type in words."""
LARGEST_FILE = 100_000  # values; by its anchors a short YAML file can hold one value a million times
LARGEST_NUMBER = 10**18
SETTING = re.compile(r"(model|data|trainer)(\.\w+)+\+?")
SPLITS = ("val", "test", "server")


class TableError(ValueError):
    """A fault in the file of a table, as one sentence."""


@dataclass(frozen=True)
class Remarks:
    """The remarks on a row.

    Args:
        note: What to know about the row; needed where the paper prints no number.
        uncertain: What the paper leaves open, and how it is done here; with what the table says of all rows.
        not_reproducible: Why nobody else can repeat the row.
    """

    note: str | None = None
    uncertain: str | None = None
    not_reproducible: str | None = None

    def __str__(self) -> str:
        marks = {"": self.note, "uncertain: ": self.uncertain, "not reproducible: ": self.not_reproducible}
        return "; ".join(f"{mark}{text}" for mark, text in marks.items() if text)


@dataclass(frozen=True)
class Row:
    """One row of a table. A row that neither trains nor evaluates is a reference: somebody else's published number.

    Args:
        name: The name by which other rows, options and reports know it.
        metric: The name of its score; one of the split "server" is scored by the VOC server alone, from label maps.
        configs: The files of the training, in order.
        paper: The published number, in percent.
        train: The settings of the training, over those of the files; None for a reference.
        evaluate: The settings of the evaluation only, over those of the training.
        evaluate_configs: The files of the evaluation only; `configs` in the file's `evaluate`.
        start_from: The row whose weights are the start.
        columns: The further columns that the paper prints, by their headings.
        stage: The purpose of a row that only trains, for others to start from; the paper has no such row.
        remarks: All else that is to be said about it.
    """

    name: str
    metric: ScoreName
    configs: tuple[str, ...]
    paper: float | None = None
    train: Settings | None = None
    evaluate: Settings = field(default_factory=dict)
    evaluate_configs: tuple[str, ...] = ()
    start_from: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    stage: str | None = None
    remarks: Remarks = field(default_factory=Remarks)

    @property
    def all_remarks(self) -> str:
        """All that is to be said about the row, in one line."""
        return "; ".join(filter(None, (self.stage, str(self.remarks))))


@dataclass(frozen=True)
class Table:
    """One table of a paper.

    Args:
        path: The path of its file; the files that it names are sought from the folder above the file's own.
        title: The paper and the number of the table.
        rows: The rows in the paper's order.
    """

    path: Path
    title: str
    rows: tuple[Row, ...]

    @property
    def root(self) -> Path:
        """The folder from which configs are named: experiments/."""
        return self.path.resolve().parent.parent

    def row(self, name: str) -> Row:
        """The row of that name.

        Raises:
            TableError: There is none.
        """
        for row in self.rows:
            if row.name == name:
                return row
        names = ", ".join(row.name for row in self.rows)
        raise TableError(f"{self.path}: there is no row {name!r}; the rows are {names}")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        TableError: It is not there, or holds no mapping.
    """
    try:
        content = _parse(path.read_text())
    except FileNotFoundError as error:
        raise TableError(f"{path}: no such file") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # a date of month 13 is a ValueError
        raise TableError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise TableError(f"{path}: it holds no mapping")
    return content


@lru_cache(maxsize=256)
def _parse(text: str) -> object:
    """The content of a YAML file that is small and plain.

    It is kept, for the rows of tables share their files.

    Raises:
        ValueError: It holds too much, or values of other types than YAML's plain ones.
    """
    content = yaml.safe_load(text)
    number, values = 0, [content]
    while values:
        value, number = values.pop(), number + 1
        if number > LARGEST_FILE:
            raise ValueError(f"it holds more than {LARGEST_FILE} values")
        if isinstance(value, dict):
            if unusual := [key for key in value if not isinstance(key, str | int | float | bool | NoneType)]:
                raise ValueError(f"the key {unusual[0]!r} is no text")
            values += value.values()
        elif isinstance(value, list):
            values += value
        elif not isinstance(value, str | int | float | NoneType):
            raise ValueError(f"{value!r} is a {type(value).__name__}; put it in quotes")
        elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            raise ValueError(f"a number of {value.bit_length()} bits is too large")
    return content


def table_files(path: Path) -> list[Path]:
    """The files of tables at a path: itself, or all in it unless it is the folder of a run."""
    if path.suffix == ".yaml":
        return [path]
    return [] if RunFolder(path).log_root.is_dir() else sorted(path.glob("*.yaml"))


def read_table(path: Path) -> Table:
    """Read and check the file of a table.

    Raises:
        TableError: Something is wrong with it; the message says what and where.
    """
    content = read_yaml(path)
    _check_keys(path, content, TABLE_KEYS | OF_ALL_ROWS, TABLE_KEYS)
    if not content["rows"]:
        raise TableError(f"{path}: it has no rows")
    rows: list[Row] = []
    for entry in content["rows"]:
        rows.append(_read_row(path, content, entry))
        _check_row(Table(path, content["table"], tuple(rows[:-1])), rows[-1])
    return Table(path, content["table"], tuple(rows))


def _read_row(path: Path, table: dict[str, Any], entry: dict[str, Any]) -> Row:
    if not isinstance(entry, dict):
        raise TableError(f"{path}: a row must be a mapping, got {entry!r}")
    where = f"{path}, row {entry.get('name')!r}"
    _check_keys(where, entry, ROW_KEYS, {"name"})
    if "stage" not in entry and "paper" not in entry:
        raise TableError(f"{where}: it needs paper, the published number, or stage, what it is trained for")
    evaluate = dict(entry.get("evaluate", {}))
    evaluate_configs = evaluate.pop("configs", [])
    _check_kinds(where, {"configs": evaluate_configs})
    train = entry.get("train", {} if "evaluate" in entry else None)
    if train is None and "configs" in entry:
        raise TableError(f"{where}: it trains nothing, so it takes no configs; or give it train: {{}}")
    return Row(
        metric=_read_metric(where, entry.get("metric", table["metric"])),
        configs=_overlay(table["configs"], entry.get("configs", ())),
        train=train,
        evaluate=evaluate,
        evaluate_configs=tuple(evaluate_configs),
        remarks=_read_remarks(entry, None if train is None else table.get("uncertain")),
        **{key: entry[key] for key in ("name", "paper", "start_from", "columns", "stage") if key in entry},
    )


def _read_metric(where: str, text: str) -> ScoreName:
    try:
        name = ScoreName.parse(text)
    except ValueError:
        name = None
    without_width = name is not None and name.kind.startswith(BAND) and not name.is_band
    if name is None or without_width or name.split not in SPLITS or not re.fullmatch(r"\w+(/\w+)+", text):
        raise TableError(f"{where}: metric must be a logged name such as val/miou, got {text!r}")
    return name


def _read_remarks(entry: dict[str, Any], of_all_rows: str | None) -> Remarks:
    given = {key: entry.get(key) for key in REMARKS}
    given["uncertain"] = "; ".join(filter(None, (given["uncertain"], of_all_rows))) or None
    return Remarks(**given)


def _overlay(configs: Collection[str], own: Collection[str]) -> tuple[str, ...]:
    """The table's files with a row's own, each in the place of the one from its folder."""
    folders = {Path(config).parent: config for config in configs}
    return tuple((folders | {Path(config).parent: config for config in own}).values())


def _check_keys(where: object, content: dict[str, Any], known: set[str], needed: set[str]) -> None:
    if unknown := sorted(map(str, set(content) - known)):
        raise TableError(f"{where}: unknown key {unknown[0]!r}; there are {', '.join(sorted(known))}")
    if missing := sorted(needed - set(content)):
        raise TableError(f"{where}: {missing[0]} is missing")
    _check_kinds(where, content)


def _check_kinds(where: object, content: dict[str, Any]) -> None:
    for key, value in content.items():
        kind, name = KINDS[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TableError(f"{where}: {key} must be {name}; got {value!r}")
    for file in content.get("configs", []):
        if not isinstance(file, str):
            raise TableError(f"{where}: configs must name files; got {file!r}")


def _check_row(above: Table, row: Row) -> None:
    """Check a row against the rows above it."""
    where = f"{above.path}, row {row.name!r}"
    if not row.name.strip() or "," in row.name:
        raise TableError(f"{where}: a name is not empty and has no comma, for --rows takes names with commas between")
    if row.name in {other.name for other in above.rows}:
        raise TableError(f"{where}: there are two rows of this name")
    if row.paper is not None and not 0 <= row.paper <= 100:
        raise TableError(f"{where}: paper must be a number in percent, got {row.paper}")
    if row.paper is None and not (row.stage or row.remarks.note):
        raise TableError(f"{where}: without a paper's number it needs a note that says why there is none")
    for key in (*(row.train or {}), *row.evaluate):
        if not SETTING.fullmatch(str(key)):
            raise TableError(f"{where}: {key!r} is no setting such as model.init_args.output_stride")
        if any(str(other).startswith(f"{key}.") for other in (*(row.train or {}), *row.evaluate)):
            raise TableError(f"{where}: {key} is set as a whole and in part")
    for name, value in row.columns.items():
        if not isinstance(name, str) or isinstance(value, dict | list):
            raise TableError(f"{where}: columns must be texts or numbers by their headings; got {name!r}: {value!r}")
    for config in (*row.configs, *row.evaluate_configs):
        if not isfile(above.root / config):  # pathlib raises where a name is too long
            raise TableError(f"{where}: there is no file {above.root / config}")
    if row.train is None and (row.start_from or row.stage):
        raise TableError(f"{where}: start_from and stage are of rows that train; give it train: {{}}")
    if row.train is not None and row.remarks.not_reproducible:
        raise TableError(f"{where}: not_reproducible is of rows that do not train")
    if row.start_from is not None and above.row(row.start_from).train is None:
        raise TableError(f"{where}: it starts from {row.start_from!r}, which does not train")
