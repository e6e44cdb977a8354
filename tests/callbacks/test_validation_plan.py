from types import SimpleNamespace
from typing import Any

import pytest

from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation
from deeplab_lightning.callbacks.trimap_evaluation import TrimapEvaluation
from deeplab_lightning.callbacks.validation_plan import check_monitor, validate_at_least_once
from deeplab_lightning.metrics import SegmentationScores


def trainer(*callbacks: object, **settings: Any) -> Any:
    return SimpleNamespace(
        **{
            "estimated_stepping_batches": 10,
            "num_training_batches": 7,
            "val_check_interval": 1.0,
            "val_check_batch": 7,
            "check_val_every_n_epoch": 1,
            "accumulate_grad_batches": 1,
            "enable_validation": True,
            "num_sanity_val_steps": 0,
            "callbacks": list(callbacks),
        }
        | settings
    )


@pytest.mark.parametrize(
    ("settings", "at"),
    [
        ({}, None),
        ({"val_check_batch": 200, "val_check_interval": 200, "check_val_every_n_epoch": None}, 10),
        ({"val_check_batch": 10, "val_check_interval": 10, "check_val_every_n_epoch": None}, None),
        ({"estimated_stepping_batches": 3}, 3),
        ({"check_val_every_n_epoch": 2}, 10),
        ({"accumulate_grad_batches": 4, "check_val_every_n_epoch": 9}, 35),  # two steps to the epoch
        ({"accumulate_grad_batches": 4, "check_val_every_n_epoch": 9, "estimated_stepping_batches": 3}, 11),
        ({"estimated_stepping_batches": float("inf"), "check_val_every_n_epoch": 9}, None),
        ({"val_check_batch": 200, "enable_validation": False}, None),
    ],
)
def test_a_training_is_validated_at_its_end_if_not_before(settings: dict[str, Any], at: int | None) -> None:
    own = trainer(**settings)
    before = own.val_check_batch
    validate_at_least_once(own)
    assert own.val_check_batch == (before if at is None else at)
    assert at is None or (own.val_check_interval, own.check_val_every_n_epoch) == (at, None)


MODULE: Any = SimpleNamespace(scores=SegmentationScores(["background", "cat"]))


def test_a_monitor_that_nothing_logs_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(ValueError, match=r"checkpoint.monitor 'val/mIoU' .*: val/miou, .*steps is 0"):
        check_monitor("val/mIoU", trainer(), MODULE, [])
    check_monitor("own/score", trainer(), MODULE, ["own/score"])
    with pytest.raises(ValueError, match="'val/miou_crf'"):
        check_monitor("val/miou_crf", trainer(CRFEvaluation()), MODULE, [])


@pytest.mark.parametrize(
    "monitor", ["val/miou", "val/loss", "train/loss", "val/iou/cat", "val/miou_crf", "val/trimap_miou_crf/40"]
)
def test_any_logged_score_can_be_monitored(monitor: str) -> None:
    acting = [CRFEvaluation(during_fit=True), TrimapEvaluation(during_fit=True)]
    check_monitor(monitor, trainer(*acting), MODULE, [])
