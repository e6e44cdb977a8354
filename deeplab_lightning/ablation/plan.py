"""From the rows of a table to the trainings and evaluations that they need, each found again by its settings' hash."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeplab_lightning.ablation.protocol import COUNTS, PROTOCOL, check_counts, digest
from deeplab_lightning.ablation.scales import PAPER_SCALE, SCALES
from deeplab_lightning.ablation.table import Row, Table, TableError, read_yaml
from deeplab_lightning.datasets.submission import Competition
from deeplab_lightning.run_folder import JobKey
from deeplab_lightning.settings.compose import compose, look_up, merge, override
from deeplab_lightning.settings.resolve import Resolved, check_shape, resolve
from deeplab_lightning.usage import UsageError

COMMANDS = {"val": "validate", "test": "test", "server": "predict"}
PAPER = re.compile(r"arXiv:[\d.]+\d")


@dataclass
class Evaluation:
    """One scoring of a training.

    Args:
        digest: The hash of its settings, which names its folder within the training's.
        command: The command "validate", "test" or, for the VOC server, "predict".
        settings: Its settings, which are laid over those of the training.
        resolved: All settings that can change its scores, the training's included.
        asked: The hashes of its settings as tables give them, by which it is found under another protocol.
        rows: The names of the rows that it serves.
        paper: At the paper's scale the paper's numbers for it, by logged name and by row.
    """

    digest: str
    command: str
    settings: dict[str, Any]
    resolved: Resolved
    asked: list[str]
    rows: list[str] = field(default_factory=list)
    paper: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def passes(self) -> float:
        """Its cost by its scales and its flip, in passes over the images at scale 1."""
        scales: list[float] = self.resolved["model.init_args.scales"]
        return (2 if self.resolved["model.init_args.flip"] else 1) * sum(scale**2 for scale in scales)


@dataclass
class Training:
    """One training, of one or more rows.

    Args:
        name: The name of its folder: the hash of its resolved settings, and its seed.
        config: All settings that tables and files give, but for the paths of its folder and of what it starts from.
        seed: The seed of the training.
        source: The training that it starts from.
        group: The table that asked for it first.
        tags: The tags of its runs in Weights & Biases: table, scale, paper and seed.
        rows: The names of the rows that it serves.
        evaluations: Its evaluations by their digests.
        replaced: The settings of each row that the scale's own took the place of.
        resolved: All settings that can change its weights, defaults too.
        asked: The hashes of its settings as tables give them, by which it is found under another protocol.
    """

    name: str
    config: dict[str, Any]
    seed: int
    source: "Training | None"
    group: str
    tags: list[str]
    rows: list[str] = field(default_factory=list)
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    replaced: dict[str, list[str]] = field(default_factory=dict)
    resolved: Resolved = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def key(self) -> JobKey:
        """The name of its job, by which it is found again."""
        return JobKey(self.name)

    @property
    def digest(self) -> str:
        """The hash of its resolved settings."""
        return self.key.digest

    @property
    def origin(self) -> "Training":
        """The first of the trainings that it starts from; itself when it starts from none."""
        return self if self.source is None else self.source.origin

    @property
    def cost(self) -> str:
        """The cost of the training in steps and crops."""
        steps, batches, batch_size, height, width = self._budget()
        times = "" if batches == 1 else f"{batches} x "
        return f"{steps} steps of {times}{batch_size} crops of {height}x{width}"

    @property
    def gigapixels(self) -> float:
        """The pixels of all its crops."""
        return math.prod(self._budget()) / 1e9

    def _budget(self) -> tuple[int, int, int, int, int]:
        steps, batches, batch_size = (self.resolved[key] for key in COUNTS)
        return steps, batches, batch_size, *self.resolved["data.init_args.crop_size"]


@dataclass
class PlannedRow:
    """One row with one seed: its training, and its evaluation; neither for a reference."""

    row: Row
    seed: int
    training: Training | None
    evaluation: Evaluation | None

    @property
    def served(self) -> bool:
        """Whether the VOC server scores it from its label maps."""
        return self.evaluation is not None and self.evaluation.command == "predict"


@dataclass
class Plan:
    """All that the rows of a table need at one scale.

    Args:
        table: The table of the rows.
        scale: One of `SCALES`.
        rows: The rows, each with every seed.
        trainings: The trainings, each after that which it starts from.
        wandb: Further settings of the runs in Weights & Biases.
    """

    table: Table
    scale: str
    rows: list[PlannedRow]
    trainings: list[Training]
    wandb: Mapping[str, str]

    @property
    def is_published(self) -> bool:
        """Whether it is at the paper's own scale, so that its numbers can be compared with the paper's."""
        return self.scale == PAPER_SCALE

    def rows_once(self) -> list[PlannedRow]:
        """Each row with the first of its seeds."""
        first: dict[str, PlannedRow] = {}
        for planned in self.rows:
            first.setdefault(planned.row.name, planned)
        return list(first.values())


def plan_table(
    table: Table,
    scale: str,
    seeds: Sequence[int] = (0,),
    names: Iterable[str] | None = None,
    wandb: Mapping[str, str] | None = None,
) -> Plan:
    """Plan the rows of these names, or all, with each seed. Rows that train alike share a training.

    Raises:
        TableError: A row of that name does not exist, or a row's settings make no sense.
    """
    rows = table.rows if names is None else [table.row(name) for name in names]
    trainings: dict[str, Training] = {}
    planned = []
    for row in rows:
        if row.train is None:
            planned.append(PlannedRow(row, seeds[0], None, None))
            continue
        for seed in seeds:
            training, _ = _plan_training(table, row, scale, seed=seed, trainings=trainings)
            evaluation = _plan_evaluation(table, row, training)
            if evaluation is not None:
                asked = evaluation.asked
                evaluation = training.evaluations.setdefault(evaluation.digest, evaluation)
                evaluation.asked = list(dict.fromkeys([*evaluation.asked, *asked]))
                evaluation.rows += [row.name] if row.name not in evaluation.rows else []
                if scale == PAPER_SCALE and row.paper is not None:
                    evaluation.paper.setdefault(str(row.metric), {})[row.name] = row.paper
            planned.append(PlannedRow(row, seed, training, evaluation))
    return Plan(table, scale, planned, trainings=list(trainings.values()), wandb=wandb or {})


def _plan_training(
    table: Table, row: Row, scale: str, seed: int, trainings: dict[str, Training]
) -> tuple[Training, str]:
    """The training of a row, and the hash of what the row asks for."""
    source, source_asked = None, None
    if row.start_from is not None:
        source, source_asked = _plan_training(table, table.row(row.start_from), scale, seed=seed, trainings=trainings)
    with _faults_of(table, row):
        config, replaced = _settings_of(table, row, scale)
        resolved = resolve(config)
        check_counts(resolved)
    origin = None if source is None else source.digest
    name = JobKey.of_training(digest([PROTOCOL, resolved, origin]), seed).training
    asked = digest([config, source_asked])
    group = table.path.stem
    tags = [group, scale, *PAPER.findall(table.title), f"seed{seed}"]
    training = trainings.setdefault(name, Training(name, config, seed=seed, source=source, group=group, tags=tags))
    training.resolved = resolved
    training.asked += [asked] if asked not in training.asked else []
    training.rows += [row.name] if row.name not in training.rows else []
    training.replaced |= {row.name: replaced} if replaced else {}
    return training, asked


@contextmanager
def _faults_of(table: Table, row: Row) -> Iterator[None]:
    """Begin the sentence on a fault in the settings with the table's file and the row."""
    try:
        yield
    except UsageError as error:
        raise TableError(f"{table.path}, row {row.name!r}: {error}") from error


def _settings_of(table: Table, row: Row, scale: str) -> tuple[dict[str, Any], list[str]]:
    """The settings of a row's training at a scale, and the row's own settings that the scale's replaced."""
    files = list(row.configs)
    data, *own_files = SCALES[scale] or ("",)
    if data:
        files = [data if Path(file).parent == Path(data).parent else file for file in files]
    layers = [{"model": {"init_args": {}}}, *(read_yaml(table.root / file) for file in files)]
    config = compose(layers, row.train or {})
    check_shape(config)
    if row.start_from is not None:  # whose weights replace ImageNet's
        override(config, "model.init_args.pretrained", False)
    asked = deepcopy(config)
    for file in own_files:
        merge(config, read_yaml(table.root / file))
    config["model"]["init_args"].pop("start_from", None)
    config.pop("seed_everything", None)
    config.get("trainer", {}).pop("default_root_dir", None)
    keys = [key.removesuffix("+") for key in row.train or {}]
    return config, [key for key in keys if look_up(asked, key) != look_up(config, key)]


def _plan_evaluation(table: Table, row: Row, training: Training) -> Evaluation | None:
    split = row.metric.split
    if row.stage is not None:
        return None
    settings = compose((read_yaml(table.root / file) for file in row.evaluate_configs), row.evaluate)
    if split == "server":
        packed = {"class_path": "WriteSubmission", "init_args": {"competition": competition(training)}}
        override(settings, "data.init_args.test_split", "test")
        override(settings, "trainer.callbacks+", [packed])
    with _faults_of(table, row):
        resolved = resolve(compose([training.config, settings]))
        check_counts(resolved)
    name = digest([PROTOCOL, split, resolved])
    return Evaluation(name, COMMANDS[split], settings, resolved, asked=[digest([split, settings])])


def competition(training: Training) -> Competition:
    """The competition of VOC for what a training and those that it starts from have seen."""
    data, model = (training.config[part] for part in ("data", "model"))
    others = data["class_path"] != "VOCDataModule" or data["init_args"].get("sbd_root")
    if others or model["init_args"].get("pretrained"):
        return "comp6"
    return "comp5" if training.source is None else competition(training.source)
