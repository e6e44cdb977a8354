"""Write every score beside its evaluation identity."""

import json
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from rich import get_console
from rich.markup import escape
from rich.table import Table

from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation
from deeplab_lightning.callbacks.run_progress import say
from deeplab_lightning.identity import Record, describe_identity, group_records

FILE_NAME = "evaluation.json"
PRINTED_BANDS = (1, 3, 5, 10, 20, 40)


class RecordEvaluation(Callback):
    """After each evaluation write `evaluation.json` into the run's log folder and print the scores.

    Of the validations of a training the first one's identity is printed; but for the step all have the same.
    The file holds a list of {split, metric, value, identity}. A training run rewrites it at every validation. In W&B
    the same is `evaluations` of the run's summary, and the classes' IoUs are a table.
    """

    def __init__(self) -> None:
        self._is_described = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask for the log folder while every rank does: the ranks agree on it by a broadcast."""
        self._path = Path(trainer.log_dir or trainer.default_root_dir) / FILE_NAME

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the validation."""
        if not trainer.sanity_checking:
            self._record(trainer, pl_module, "val")

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the test."""
        self._record(trainer, pl_module, "test")

    def _record(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        identity = pl_module.evaluation_identity(stage).as_dict()  # type: ignore[operator]
        crf = next((str(callback.crf) for callback in trainer.callbacks if isinstance(callback, CRFEvaluation)), None)  # type: ignore[attr-defined]
        names: list[str] = pl_module.class_names  # type: ignore[assignment]
        measured = [name for name, value in trainer.callback_metrics.items() if not value.isnan()]
        records: list[Record] = []
        for name in sorted(
            (name for name in measured if name.startswith(f"{stage}/")), key=lambda name: _rank(name, names)
        ):
            refined = name.split("/")[1].endswith("_crf")
            value = float(trainer.callback_metrics[name])
            own = identity | {"crf": crf if refined else None}
            records.append({"split": identity["split"], "metric": name, "value": value, "identity": own})
        write_atomically(self._path, json.dumps(records, indent=1))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.summary["evaluations"] = group_records(records)
                logger.log_table(f"{stage}/per_class_iou", *per_class(records, names))
        if trainer.state.fn == "fit":
            score = f"step {trainer.global_step}: {stage}/miou {trainer.callback_metrics[f'{stage}/miou']:.4f}"
            say(score if self._is_described else f"{score} ({describe_identity(identity)})")
            self._is_described = True
        else:
            _print(records)


def per_class(records: list[Record], class_names: list[str]) -> tuple[list[str], list[list[Any]]]:
    """The IoUs of the classes, as columns and rows; after the CRF too where there is one."""
    scores = {record["metric"].split("/", 1)[1]: record["value"] for record in records}
    kinds = [kind for kind in ("iou", "iou_crf") if any(name.startswith(f"{kind}/") for name in scores)]
    return ["class", *kinds], [[name, *(scores.get(f"{kind}/{name}") for kind in kinds)] for name in class_names]


def _rank(name: str, class_names: list[str]) -> tuple[int, bool, int]:
    """Sort key: whole-split scores first, then the IoUs in the order of the classes, then loss and cost."""
    _, kind, *detail = name.split("/", 2)
    kinds = ["miou", "miou_gain", "pixel_accuracy", "trimap_miou", "trimap_accuracy", "iou"]
    plain = kind.removesuffix("_crf")
    position = 0
    if detail:
        position = class_names.index(detail[0]) if plain == "iou" else int(detail[0])
    return kinds.index(plain) if plain in kinds else len(kinds), kind != plain, position


def _is_printed(name: str) -> bool:
    """Of the many trimap bands only a few; `evaluation.json` and the curve hold them all."""
    _, kind, *detail = name.split("/", 2)
    return not kind.startswith("trimap_") or int(detail[0]) in PRINTED_BANDS


def _print(records: list[Record]) -> None:
    table = Table(title_justify="left")
    identities = list(dict.fromkeys(describe_identity(record["identity"]) for record in records))
    for heading in ("metric", "value", "measured as"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for record in (record for record in records if _is_printed(record["metric"])):
        number = identities.index(describe_identity(record["identity"])) + 1
        table.add_row(escape(record["metric"]), f"{record['value']:.4f}", f"[{number}]")
    get_console().print(table)
    for number, identity in enumerate(identities, 1):
        say(f"[{number}] {identity}")
