"""Writing every score with its evaluation identity."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from rich import get_console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.callbacks.evaluation import EvaluationCallback, Split
from deeplab_lightning.callbacks.run_progress import say
from deeplab_lightning.class_record import ClassRecord
from deeplab_lightning.identity import EvaluationIdentity, describe_identity
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.trainer_data import datamodule_of
from deeplab_lightning.scores import Score, ScoreName, group_scores

PRINTED_BANDS = (1, 3, 5, 10, 20, 40)
KINDS = ("miou", "miou_gain", "pixel_accuracy", "trimap_miou", "trimap_accuracy", "iou")
"""The kinds of scores in the order of listing; loss and cost follow them."""
IOU_COLUMNS = {False: "iou", True: "iou_crf"}
"""The columns of W&B's table of classes, without and with a CRF."""


class RecordEvaluation(EvaluationCallback):
    """Writes `evaluation.json` and `classes_<split>.json` into the log folder, and prints the scores of an evaluation.

    The first holds a list of {split, metric, value, identity}, the second the confusion matrix; a training rewrites
    both at every validation. W&B holds the
    same as `evaluations` in the run's summary, and the IoUs of the classes as a table. A training prints the identity
    of its first validation only, because later ones differ just in the step.
    """

    def __init__(self) -> None:
        self._is_described = False

    def finish(self, module: SegmentationModule, split: Split) -> None:
        """Note the settings of the CRF; another callback removes the refiner when it reports."""
        self._crf = None if module.refiner is None else str(module.refiner.crf)

    def report(self, module: SegmentationModule, split: Split) -> None:
        """Record the evaluation."""
        trainer = module.trainer
        if not trainer.is_global_zero:
            return
        identity = module.evaluation_identity(split)
        scores = read_scores(trainer.callback_metrics, split, identity, self._crf)
        scores.sort(key=lambda score: _position(score.name, module.class_names))
        palette = datamodule_of(trainer).palette
        record = ClassRecord(palette, module.scores.matrix.tolist(), identity.as_dict())
        record.write(self.logs.classes(split))
        write_atomically(self.logs.evaluation, json.dumps([score.as_record() for score in scores], indent=1))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.summary["evaluations"] = group_scores(scores)
                logger.log_table(f"{split}/per_class_iou", *per_class(scores, module.class_names))
        if trainer.state.fn == "fit":
            name = str(ScoreName(split, "miou"))
            line = f"step {trainer.global_step}: {name} {trainer.callback_metrics[name]:.4f}"
            say(line if self._is_described else f"{line} ({identity})")
            self._is_described = True
        else:
            _print(scores)


def read_scores(
    metrics: Mapping[str, Tensor], split: str, identity: EvaluationIdentity, crf: str | None
) -> list[Score]:
    """Return the logged scores of a split, each with its identity, without those that are NaN.

    Args:
        metrics: Logged numbers by name.
        split: Split of the data, "val" or "test".
        identity: Evaluation identity of predictions that no callback has refined.
        crf: Settings in words of the CRF that has refined the other predictions; None without a CRF.
    """
    plain = identity.as_dict()
    refined = plain if crf is None else identity.refined(crf).as_dict()
    scores = []
    for text, value in metrics.items():
        if text.startswith(f"{split}/") and not value.isnan():
            name = ScoreName.parse(text)
            scores.append(Score(name, float(value), refined if name.refined else plain))
    return scores


def per_class(scores: Sequence[Score], class_names: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and rows of a table of the classes' IoUs, with and without the CRF if there is one."""
    ious = {(score.name.refined, score.name.detail): score.value for score in scores if score.name.kind == "iou"}
    kinds = sorted({refined for refined, _ in ious})
    rows = [[name, *(ious.get((refined, name)) for refined in kinds)] for name in class_names]
    return ["class", *(IOU_COLUMNS[refined] for refined in kinds)], rows


def _position(name: ScoreName, class_names: Sequence[str]) -> tuple[int, bool, int]:
    """Return a sort key: scores of the whole split first, then IoUs in the order of the classes, then loss and cost."""
    within = 0
    if name.is_band:
        within = name.width
    elif name.kind == "iou" and name.detail in class_names:  # another callback may log anything
        within = class_names.index(name.detail)
    return KINDS.index(name.kind) if name.kind in KINDS else len(KINDS), name.refined, within


def _print(scores: Sequence[Score]) -> None:
    """Print a table with only a few of the many trimap bands; `evaluation.json` and the curve hold all of them."""
    table = Table(title_justify="left")
    for heading in ("metric", "value", "measured as"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    identities = list(dict.fromkeys(describe_identity(score.identity) for score in scores))
    for score in scores:
        if not score.name.is_band or score.name.width in PRINTED_BANDS:
            number = identities.index(describe_identity(score.identity)) + 1
            table.add_row(escape(str(score.name)), f"{score.value:.4f}", f"[{number}]")
    get_console().print(table)
    for number, identity in enumerate(identities, 1):
        say(f"[{number}] {identity}")
