"""The tables of the papers, read from YAML: the training and the evaluation of each row, and the published number."""

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
SHARED_KEYS = {"uncertain"}
"""The optional keys of a table that hold for every trained row."""
REMARKS = ("note", "uncertain", "not_reproducible")
ROW_KEYS = {"name", "metric", "configs", "paper", "train", "evaluate", "start_from", "weights", "columns", "stage"}
ROW_KEYS |= {*REMARKS}
KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    **dict.fromkeys(("table", "name", "metric", "stage", "start_from", "weights"), (str, "a text")),
    **dict.fromkeys(("note", "uncertain", "not_reproducible"), (str, "a text")),
    **dict.fromkeys(("configs", "rows"), (list, "a list")),
    **dict.fromkeys(("train", "evaluate", "columns"), (dict, "a mapping; where it is empty, {}")),
    "paper": ((int, float, NoneType), "a number, or null"),
}
"""The type of the value of each key of a table or of a row, and the type in words."""
MAX_VALUES = 100_000  # anchors let a short YAML file unfold into millions of values
LARGEST_NUMBER = 10**18
SETTING = re.compile(r"(model|data|trainer)(\.\w+)+\+?")
SPLITS = ("val", "test", "server")


class TableError(ValueError):
    """An error in the file of a table, described in one sentence."""


@dataclass(frozen=True)
class Remarks:
    """The remarks on a row.

    Args:
        note: A note on the row. It is required where the paper prints no number.
        uncertain: The details that the paper leaves open and the choices made here, with those of the whole table.
        not_reproducible: The reason why nobody else can repeat the row.
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
        name: The name of the row in other rows, in options and in reports.
        metric: The name of the score. Benchmarks' servers alone compute scores of the split "server", from label maps.
        configs: The files of the training, in order.
        paper: The published number, in percent.
        train: The settings of the training, which override those of the files; None for a reference.
        evaluate: The settings of the evaluation only, which override those of the training.
        evaluate_configs: The files of the evaluation only; `configs` within `evaluate` in the file.
        start_from: The name of the row whose weights the training starts from.
        weights: The published checkpoint that is scored instead of a training; its network is that of the catalogue.
        columns: The further columns that the paper prints, by their headings.
        stage: The purpose of a row that is only trained for other rows to start from. The paper has no such row.
        remarks: The remarks on the row.
    """

    name: str
    metric: ScoreName
    configs: tuple[str, ...]
    paper: float | None = None
    train: Settings | None = None
    evaluate: Settings = field(default_factory=dict)
    evaluate_configs: tuple[str, ...] = ()
    start_from: str | None = None
    weights: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    stage: str | None = None
    remarks: Remarks = field(default_factory=Remarks)

    @property
    def all_remarks(self) -> str:
        """The purpose of the row and all remarks on it, in one line."""
        return "; ".join(filter(None, (self.stage, str(self.remarks))))


@dataclass(frozen=True)
class Table:
    """One table of a paper.

    Args:
        path: The path of the table's file. The files that it names are relative to the parent of its folder.
        title: The paper and the number of the table.
        rows: The rows in the paper's order.
    """

    path: Path
    title: str
    rows: tuple[Row, ...]

    @property
    def root(self) -> Path:
        """The folder that the paths of configs are relative to: experiments/."""
        return self.path.resolve().parent.parent

    def row(self, name: str) -> Row:
        """The row of the given name.

        Raises:
            TableError: There is no such row.
        """
        for row in self.rows:
            if row.name == name:
                return row
        names = ", ".join(row.name for row in self.rows)
        raise TableError(f"{self.path}: there is no row {name!r}; the rows are {names}")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        TableError: The file does not exist, cannot be read, or holds no mapping.
    """
    try:
        content = _parse(path.read_text())
    except FileNotFoundError as error:
        raise TableError(f"{path}: no such file") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: a date such as 2026-13-01
        raise TableError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise TableError(f"{path}: it holds no mapping")
    return content


@lru_cache(maxsize=256)
def _parse(text: str) -> object:
    """The content of a YAML file that is small and holds plain values only.

    The result is cached because the rows of tables share their files.

    Raises:
        ValueError: The file holds too many values, or values that are not plain.
    """
    content = yaml.safe_load(text)
    number, values = 0, [content]
    while values:
        value, number = values.pop(), number + 1
        if number > MAX_VALUES:
            raise ValueError(f"it holds more than {MAX_VALUES} values")
        if isinstance(value, dict):
            if unusual := [key for key in value if not isinstance(key, str | int | float | bool | NoneType)]:
                raise ValueError(f"the key {unusual[0]!r} is not a text")
            values += value.values()
        elif isinstance(value, list):
            values += value
        elif not isinstance(value, str | int | float | NoneType):
            raise ValueError(f"{value!r} is a {type(value).__name__}; put it in quotes")
        elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            raise ValueError(f"a number of {value.bit_length()} bits is too large")
    return content


def table_files(path: Path) -> list[Path]:
    """The table files at a path: the path itself if it is a YAML file, or all in it unless it is a run folder."""
    if path.suffix == ".yaml":
        return [path]
    return [] if RunFolder(path).log_root.is_dir() else sorted(path.glob("*.yaml"))


def read_table(path: Path) -> Table:
    """Read and check the file of a table.

    Raises:
        TableError: The file has an error. The message names it and its place.
    """
    content = read_yaml(path)
    _check_keys(path, content, TABLE_KEYS | SHARED_KEYS, TABLE_KEYS)
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
        raise TableError(f"{where}: it needs paper, the published number, or stage, the purpose of its training")
    evaluate = dict(entry.get("evaluate", {}))
    evaluate_configs = evaluate.pop("configs", [])
    _check_kinds(where, {"configs": evaluate_configs})
    train = entry.get("train", {} if {"evaluate", "weights"} & set(entry) else None)
    if train is None and "configs" in entry:
        raise TableError(f"{where}: it has configs but trains nothing; add train: {{}} or remove configs")
    return Row(
        metric=_read_metric(where, entry.get("metric", table["metric"])),
        configs=_overlay(table["configs"], entry.get("configs", ())),
        train=train,
        evaluate=evaluate,
        evaluate_configs=tuple(evaluate_configs),
        remarks=_read_remarks(entry, None if train is None else table.get("uncertain")),
        **{key: entry[key] for key in ("name", "paper", "start_from", "weights", "columns", "stage") if key in entry},
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
    """The table's files, of which each file of the row replaces the one from the same folder."""
    folders = {Path(config).parent: config for config in configs}
    return tuple((folders | {Path(config).parent: config for config in own}).values())


def _check_keys(where: object, content: dict[str, Any], known: set[str], needed: set[str]) -> None:
    if unknown := sorted(map(str, set(content) - known)):
        raise TableError(f"{where}: unknown key {unknown[0]!r}; the keys are {', '.join(sorted(known))}")
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
        raise TableError(f"{where}: a name must not be empty or contain a comma, which separates names in --rows")
    if row.name in {other.name for other in above.rows}:
        raise TableError(f"{where}: there are two rows with this name")
    if row.paper is not None and not 0 <= row.paper <= 100:
        raise TableError(f"{where}: paper must be a number in percent, got {row.paper}")
    if row.paper is None and not (row.stage or row.remarks.note):
        raise TableError(f"{where}: paper is null, so it needs a note that says why there is no published number")
    for key in (*(row.train or {}), *row.evaluate):
        if not SETTING.fullmatch(str(key)):
            raise TableError(f"{where}: {key!r} is not a setting such as model.init_args.output_stride")
        if any(str(other).startswith(f"{key}.") for other in (*(row.train or {}), *row.evaluate)):
            raise TableError(f"{where}: {key} is set both as a whole and in part")
    for name, value in row.columns.items():
        if not isinstance(name, str) or isinstance(value, dict | list):
            raise TableError(f"{where}: columns must map headings to texts or numbers; got {name!r}: {value!r}")
    for config in (*row.configs, *row.evaluate_configs):
        if not isfile(above.root / config):  # Path.is_file raises if a name is too long
            raise TableError(f"{where}: there is no file {above.root / config}")
    if row.train is None and (row.start_from or row.stage):
        raise TableError(f"{where}: start_from and stage are for rows that are trained; add train: {{}}")
    if row.train is not None and row.remarks.not_reproducible:
        raise TableError(f"{where}: not_reproducible is for rows that are not trained")
    if row.weights is not None and (row.train or row.start_from or row.stage):
        raise TableError(f"{where}: published weights are only scored; remove train, start_from and stage")
    if row.start_from is not None and above.row(row.start_from).train is None:
        raise TableError(f"{where}: it starts from {row.start_from!r}, which is not trained")
