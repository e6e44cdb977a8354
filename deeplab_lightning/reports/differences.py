"""The differences between two measurements: two runs, or a run and a row of a table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.scales import PAPER_SCALE
from deeplab_lightning.ablation.start import RANDOM, describe_start
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.identity import Record
from deeplab_lightning.packaged import find_experiment
from deeplab_lightning.reports.effects import Effect, effect_of
from deeplab_lightning.run_folder import LogFolder, RunFolder
from deeplab_lightning.run_reader import read_logs, read_scores, reading
from deeplab_lightning.scores import ScoreName
from deeplab_lightning.settings.resolve import Resolved, flatten
from deeplab_lightning.settings.values import shown

OF_EVALUATIONS = {
    *(f"model.init_args.{name}" for name in ("scales", "flip", "window", "window_stride", "fit_to")),
    *(f"data.init_args.{name}" for name in ("evaluation_size", "void_as")),
}
"""Settings that change how a score is measured, and nothing about the training."""
OF_BOTH = {f"model.init_args.{name}" for name in ("output_stride", "atrous_rates", "align_corners")}
OF_BOTH.add("trainer.precision")
"""Settings that an evaluation may have otherwise than its training."""
CRF, START = "crf", "starts from"
"""The names of the CRF, and of the weights that a training starts from, among the settings."""
IDENTITIES = {"dataset", "split", "labels", "num_images", "weights"}
"""The properties of an evaluation identity that the settings do not tell."""
AUGMENTATION = (
    "batch_size",
    "crop_size",
    "scale_",
    "flip",
    "color_jitter",
    "align_corners",
    "mean",
    "std",
    "transforms",
)
"""The beginnings of the names of the data's settings that belong to the training."""
UNTOLD = {
    *("model.init_args.pretrained", "model.init_args.trimap_width", "trainer.val_check_interval"),
    *(f"data.init_args.{name}" for name in ("root", "sbd_root", "val_split", "test_split", "predict_images")),
}
"""Settings that tell nothing, or that others tell."""
WITHOUT = "not set"
KINDS = ("evaluation", "data", "training", "code and machine")
DEFAULT_PRECISION = "32-true"


@dataclass(frozen=True)
class Measurement:
    """A score, and what is known of how it came about.

    Args:
        name: Name of the run or of the row.
        scores: Scores by name, in 0..1.
        evaluation: Settings of the evaluation by their dotted names, and its CRF in words.
        training: Settings of the training, and the weights that it starts from.
        identity: Evaluation identity; empty for a row of a table.
        record: Commit, versions and machine of the evaluation; empty for a row of a table.
        pixels: Number of pixels of each class in the ground truth; empty if it is not recorded.
        crf: Dense CRF of the evaluation; None without one.
        log: Log folder of the evaluation; None for a row of a table.
    """

    name: str
    scores: Mapping[ScoreName, float]
    evaluation: Resolved
    training: Resolved
    identity: Record = field(default_factory=dict)
    record: Mapping[str, object] = field(default_factory=dict)
    pixels: Mapping[str, object] = field(default_factory=dict)
    crf: DenseCRF | None = None
    log: LogFolder | None = None

    @property
    def miou(self) -> tuple[ScoreName, float] | None:
        """The name and the value of the mIoU, after the CRF if there is one; None if it was not measured."""
        found = sorted((name for name in self.scores if name.kind == "miou"), key=lambda name: name.refined)
        return (found[-1], self.scores[found[-1]]) if found else None


@dataclass(frozen=True)
class Difference:
    """Something that two measurements have otherwise.

    Args:
        kind: Part of the measurement, one of `KINDS`.
        name: Name of the setting or the property.
        first: Value of the first measurement, as text.
        second: Value of the second.
    """

    kind: str
    name: str
    first: str
    second: str

    @property
    def short_name(self) -> str:
        """The name as on the command line: `model.scales` for `model.init_args.scales`."""
        return self.name.replace(".init_args.", ".")

    @property
    def effect(self) -> Effect | None:
        """What the papers measured of it; None if they measured nothing."""
        return effect_of(self.name)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        papers = None if self.effect is None else {"points": self.effect.points, "source": self.effect.words}
        return {"kind": self.kind, "name": self.name, "first": self.first, "second": self.second, "papers": papers}


def read_measurement(path: str, split: str) -> Measurement:
    """Read a measurement.

    Args:
        path: A run folder, of which the newest evaluation of the split is taken; a log folder in it; or a row of a
            table, as FILE.yaml:ROW.
        split: Split of the score: "val" or "test".

    Raises:
        FileNotFoundError: There is no such folder, or no evaluation in it.
        ValueError: A file in it cannot be read, or the row is not measured by an evaluation.
    """
    file, colon, row = path.rpartition(":")
    if colon and file.endswith((".yaml", ".yml")):
        return _of_row(find_experiment(file), row)
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: no such run folder, and not a row of a table as FILE.yaml:ROW")
    logs = [log for log in [LogFolder(folder), *RunFolder(folder).logs()] if log.evaluation.is_file()]
    for log in sorted(logs, key=lambda log: log.modified, reverse=True):
        if log.command != "fit" and any(score.name.split == split for score in read_scores(log.evaluation)):
            return _of_log(log, split)
    command = "test" if split == "test" else "validate"
    raise FileNotFoundError(f"{path}: no evaluation of split {split}; run `deeplab {command}` first")


def differences(first: Measurement, second: Measurement) -> list[Difference]:
    """List what two measurements have otherwise: by kind, and within it by its effect in the papers' tables."""
    found = [
        *_unequal("evaluation", first.identity, second.identity, {*first.identity} & {*second.identity} & IDENTITIES),
        *_unequal("evaluation", first.evaluation, second.evaluation, {*first.evaluation, *second.evaluation}),
        *_unequal("data", first.pixels, second.pixels, {*first.pixels} & {*second.pixels}),
        *_unequal("training", first.training, second.training, {*first.training, *second.training}),
        *_unequal("code and machine", first.record, second.record, {*first.record} & {*second.record}),
    ]
    return sorted(found, key=lambda each: (KINDS.index(each.kind), -(each.effect.points if each.effect else -1.0)))


def _unequal(kind: str, one: Mapping[str, Any], two: Mapping[str, Any], names: set[str]) -> Iterator[Difference]:
    for name in sorted(names):
        first, second = (_text(each[name]) if name in each else WITHOUT for each in (one, two))
        if first != second:
            setting = name.removeprefix("data.init_args.")
            of_data = kind == "training" and name.startswith("data.") and not setting.startswith(AUGMENTATION)
            yield Difference("data" if of_data else kind, name, first, second)


def _text(value: object) -> str:
    return value if isinstance(value, str) else "none" if value is None else shown(value)


def _of_log(log: LogFolder, split: str) -> Measurement:
    scores = [score for score in read_scores(log.evaluation) if score.name.split == split]
    plain = next((score for score in scores if not score.name.refined), scores[0])
    run = RunFolder(log.path.parents[1])
    fits = run.recorded_logs("fit")
    evaluated, trained = _read(log.config), _read(fits[-1].config if fits else log.config)
    model = trained["model"].get("init_args", {})
    crf = crf_of(evaluated)
    with reading(log.run) as record:
        made_by = {**record["environment"], "commit": (record["git"] or {}).get("commit")}
    return Measurement(
        name=str(log.path),
        scores={score.name: score.value for score in scores},
        evaluation=_evaluation(flatten(evaluated), crf),
        training=_training(flatten(trained), model.get("start_from") or model.get("pretrained") or RANDOM),
        identity=plain.identity,
        record=made_by,
        pixels=_pixels(log, plain.identity),
        crf=crf,
        log=log,
    )


def _of_row(file: Path, name: str) -> Measurement:
    planned = plan_table(read_table(file), PAPER_SCALE, names=[name]).rows[0]
    row, training, evaluation = planned.row, planned.training, planned.evaluation
    if training is None or evaluation is None:
        raise ValueError(f"{file}: row {name!r} is not measured by an evaluation here: {row.all_remarks}")
    crf = crf_of(evaluation.settings)
    return Measurement(
        name=f"{file.stem}, row {name}",
        scores={} if row.paper is None else {row.metric: row.paper / 100},
        evaluation=_evaluation(evaluation.resolved, crf),
        training=_training(training.resolved, describe_start(training)),
        crf=crf,
    )


def crf_of(config: Mapping[str, Any]) -> DenseCRF | None:
    """Return the dense CRF that refines an evaluation; None without one.

    Raises:
        ValueError: Its settings are invalid.
    """
    trainer = config.get("trainer") or {}
    known = {each.name for each in fields(DenseCRF)}
    for callback in [*(trainer.get("callbacks") or []), *(trainer.get("callbacks+") or [])]:
        if isinstance(callback, dict) and str(callback.get("class_path")).endswith("CRFEvaluation"):
            settings = callback.get("init_args") or {}
            return DenseCRF(**{name: value for name, value in settings.items() if name in known})
    return None


def _evaluation(settings: Resolved, crf: DenseCRF | None) -> Resolved:
    own = {name: value for name, value in settings.items() if name in OF_EVALUATIONS | OF_BOTH}
    own["trainer.precision"] = own.get("trainer.precision") or DEFAULT_PRECISION
    return own | {CRF: None if crf is None else str(crf)}


def _training(settings: Resolved, start: str) -> Resolved:
    left = OF_EVALUATIONS | UNTOLD
    own = {name: value for name, value in settings.items() if name not in left and ".callbacks." not in name}
    own["trainer.precision"] = own.get("trainer.precision") or DEFAULT_PRECISION
    return own | {START: start}


def _read(config: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(config.read_text())
        return {**content, "model": dict(content["model"]), "data": dict(content["data"])}
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"unreadable: {config}") from error


def _pixels(log: LogFolder, identity: Record) -> dict[str, object]:
    for record in read_logs(log.path.parents[1]).classes:
        if record.identity == identity:
            counts = zip(record.palette.class_names, map(sum, record.matrix), strict=True)
            return {f"pixels of {name}": count for name, count in counts}
    return {}
