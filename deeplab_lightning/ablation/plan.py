"""The trainings and evaluations that the rows of a table need. The hash of its settings identifies each of them."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeplab_lightning.ablation.protocol import COUNTS, PROTOCOL, check_counts, digest
from deeplab_lightning.ablation.released import model_settings
from deeplab_lightning.ablation.scales import PAPER_SCALE, SCALES
from deeplab_lightning.ablation.table import Row, Table, TableError, read_yaml
from deeplab_lightning.datasets.submission import Competition
from deeplab_lightning.published.entries import entry
from deeplab_lightning.run_folder import JobKey
from deeplab_lightning.settings.compose import compose, look_up, merge, override
from deeplab_lightning.settings.resolve import Resolved, check_shape, resolve
from deeplab_lightning.usage import UsageError

COMMANDS = {"val": "validate", "test": "test", "server": "predict"}
PAPER = re.compile(r"arXiv:[\d.]+\d")


@dataclass
class Evaluation:
    """One evaluation of a training.

    Args:
        digest: The hash of the settings, which names the evaluation's folder within the training's folder.
        command: The command "validate", "test" or, for a benchmark's server, "predict".
        settings: The settings of the evaluation, which override those of the training.
        resolved: All settings that can change the scores, including those of the training.
        asked: The hashes of the settings as the tables give them. They identify the evaluation under an older protocol.
        rows: The names of the rows that the evaluation serves.
        paper: The paper's numbers by logged name and by row; empty unless the scale is the paper's.
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
        """The cost in passes over the images at scale 1, given the scales and the flip."""
        scales: list[float] = self.resolved["model.init_args.scales"]
        return (2 if self.resolved["model.init_args.flip"] else 1) * sum(scale**2 for scale in scales)


@dataclass
class Training:
    """One training, which serves one or more rows.

    Args:
        name: The name of the training's folder: the hash of the resolved settings, and the seed.
        config: All settings from tables and files, except the paths of the run folder and of the initial checkpoint.
        seed: The seed of the training.
        source: The training whose checkpoint this one starts from; None where there is none.
        weights: The published checkpoint that stands in for the training; None for a training.
        group: The name of the first table that asked for the training.
        tags: The tags of the runs in Weights & Biases: table, scale, paper and seed.
        rows: The names of the rows that the training serves.
        evaluations: The evaluations of the training by their digests.
        replaced: The row settings that the settings of the scale override, by row.
        resolved: All settings that can change the weights, including defaults.
        asked: The hashes of the settings as the tables give them. They identify the training under an older protocol.
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
    weights: str | None = None

    @property
    def key(self) -> JobKey:
        """The key of the training's job."""
        return JobKey(self.name)

    @property
    def digest(self) -> str:
        """The hash of the resolved settings."""
        return self.key.digest

    @property
    def origin(self) -> "Training":
        """The first training in the chain of `source`; the training itself where it has no source."""
        return self if self.source is None else self.source.origin

    @property
    def cost(self) -> str:
        """The cost of the training in steps and crops."""
        if self.weights is not None:
            return f"no training: {self.weights}"
        steps, batches, batch_size, height, width = self._budget()
        times = "" if batches == 1 else f"{batches} x "
        return f"{steps} steps of {times}{batch_size} crops of {height}x{width}"

    @property
    def gigapixels(self) -> float:
        """The total number of pixels in all crops of the training, in billions."""
        return 0.0 if self.weights else math.prod(self._budget()) / 1e9

    def _budget(self) -> tuple[int, int, int, int, int]:
        steps, batches, batch_size = (self.resolved[key] for key in COUNTS)
        return steps, batches, batch_size, *self.resolved["data.init_args.crop_size"]


@dataclass
class PlannedRow:
    """One row with one seed, with its training and its evaluation. A reference has neither."""

    row: Row
    seed: int
    training: Training | None
    evaluation: Evaluation | None

    @property
    def served(self) -> bool:
        """Whether a benchmark's server scores the row from predicted label maps."""
        return self.evaluation is not None and self.evaluation.command == "predict"


@dataclass
class Plan:
    """All trainings and evaluations that the rows of a table need at one scale.

    Args:
        table: The table of the rows.
        scale: The name of the scale, a key of `SCALES`.
        rows: The rows, once for each seed.
        trainings: The trainings. Each one follows its source.
        wandb: Further settings of the runs in Weights & Biases.
    """

    table: Table
    scale: str
    rows: list[PlannedRow]
    trainings: list[Training]
    wandb: Mapping[str, str]

    @property
    def is_published(self) -> bool:
        """Whether the plan is at the paper's own scale, so that its scores can be compared with the paper's numbers."""
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
    """Plan the rows with the given names, or all rows, for each seed. Rows with equal training settings share one.

    Raises:
        TableError: There is no row of a given name, or the settings of a row are wrong.
    """
    rows = table.rows if names is None else [table.row(name) for name in names]
    trainings: dict[str, Training] = {}
    planned = []
    for row in rows:
        if row.train is None or (row.weights and scale != PAPER_SCALE):  # other scales have other classes
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
    """The training of a row, and the hash of the settings that the row asks for."""
    source, source_asked = None, row.weights
    if row.start_from is not None:
        source, source_asked = _plan_training(table, table.row(row.start_from), scale, seed=seed, trainings=trainings)
    with _faults_of(table, row):
        config, replaced = _settings_of(table, row, scale)
        resolved = resolve(config)
        check_counts(resolved)
    origin = row.weights if source is None else source.digest
    name = JobKey.of_training(digest([PROTOCOL, resolved, origin]), seed).training
    asked = digest([config, source_asked])  # without defaults, so it stays the same when a default changes
    group = table.path.stem
    tags = [group, scale, *PAPER.findall(table.title), f"seed{seed}"]
    training = trainings.setdefault(name, Training(name, config, seed, source=source, group=group, tags=tags))
    training.weights = row.weights
    training.resolved = resolved
    training.asked += [asked] if asked not in training.asked else []
    training.rows += [row.name] if row.name not in training.rows else []
    training.replaced |= {row.name: replaced} if replaced else {}
    return training, asked


@contextmanager
def _faults_of(table: Table, row: Row) -> Iterator[None]:
    """Prefix an error in the settings with the file of the table and the name of the row."""
    try:
        yield
    except UsageError as error:
        raise TableError(f"{table.path}, row {row.name!r}: {error}") from error


def _settings_of(table: Table, row: Row, scale: str) -> tuple[dict[str, Any], list[str]]:
    """The settings of a row's training at a scale, and the names of the row's settings that the scale overrides."""
    files = list(row.configs)
    data, *own_files = SCALES[scale] or ("",)
    if data:
        files = [data if Path(file).parent == Path(data).parent else file for file in files]
    layers = [{"model": {"init_args": {}}}, *(read_yaml(table.root / file) for file in files)]
    if row.weights is not None:
        layers.append({"model": model_settings(entry(row.weights))})
    config = compose(layers, row.train or {})
    check_shape(config)
    if row.start_from is not None:  # ImageNet weights would only be replaced by those of the checkpoint
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
    """The VOC competition of a training: comp5 if it and its sources have seen VOC's own data alone, else comp6."""
    data, model = (training.config[part] for part in ("data", "model"))
    others = data["class_path"] != "VOCDataModule" or data["init_args"].get("sbd_root")
    if others or training.weights or model["init_args"].get("pretrained"):
        return "comp6"
    return "comp5" if training.source is None else competition(training.source)
