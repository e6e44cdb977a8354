from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from deeplab_lightning.callbacks import run_progress
from deeplab_lightning.callbacks.run_progress import SHORTEST_BAR, RunProgress, Stage, notes

NOTES = ["mIoU 0.7123", "loss 0.532", "lr 0.0068"]


def stage(done: int = 12000, total: int | None = 30000, start: int = 0) -> Stage:
    return Stage("training", "steps", total, start, begun=100.0, done=done, notes=NOTES)


def test_the_time_left_is_at_the_pace_of_this_process() -> None:
    assert stage(done=10, total=40).seconds_left(120.0) == 60
    assert stage(done=10, total=40, start=8).seconds_left(120.0) == 300
    assert stage(done=8, start=8).seconds_left(120.0) is None
    assert stage(done=10, total=None).seconds_left(120.0) is None


def test_the_progress_of_a_long_training_fits_into_80_columns() -> None:
    long, now = stage(), 100.0 + 3661 * 12000 / 18000
    assert long.head() == "training 12000/30000"
    room = 80 - len(long.head()) - SHORTEST_BAR - 2
    assert long.tail(now, room) == "1:01:01 left  mIoU 0.7123  loss 0.532  lr 0.0068"


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (40, "-:--:-- left  mIoU 0.7123  loss 0.532"),
        (36, "-:--:-- left  mIoU 0.7123"),
        (12, "-:--:-- left"),
        (11, ""),
        (-5, ""),
    ],
)
def test_little_room_keeps_the_most_important_notes(room: int, words: str) -> None:
    assert stage(done=0).tail(0.0, room) == words


def test_without_an_end_steps_are_counted() -> None:
    endless = stage(done=7, total=None)
    assert endless.head() == "training 7"
    assert endless.line(0.0).startswith("training: 7 steps, -:--:-- left, mIoU 0.7123")


def trainer(**settings: Any) -> Any:
    """The parts of a training of 1000 steps on two processes that the bars read."""
    rate = {"lr": 0.00681}
    known = {
        "sanity_checking": False,
        "is_global_zero": True,
        "estimated_stepping_batches": 1000,
        "global_step": 0,
        "world_size": 2,
        "callback_metrics": {"train/loss": torch.tensor(0.5)},
        "optimizers": [SimpleNamespace(param_groups=[rate])],
        "val_dataloaders": SimpleNamespace(dataset=range(5)),
        "num_val_batches": [3],
        "datamodule": SimpleNamespace(eval_batch_size=1),
        "state": SimpleNamespace(fn="fit"),
    }
    return SimpleNamespace(**known | settings)


@pytest.mark.parametrize("is_global_zero", [True, False])
def test_output_without_a_terminal_gets_a_line_per_minute(
    is_global_zero: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(run_progress, "monotonic", lambda: clock.now)
    bars, own, module = RunProgress(), trainer(is_global_zero=is_global_zero), nn.Module()
    bars.setup(own, module, "fit")  # type: ignore[arg-type]
    bars.on_train_start(own, module)  # type: ignore[arg-type]
    for step in range(1, 101):
        clock.now, own.global_step = 1.5 * step, step
        bars.on_train_batch_end(own, module, None, None, step)  # type: ignore[arg-type]
    clock.now = 200.0
    own.callback_metrics["val/miou"] = 0.71234
    bars.on_validation_start(own, module)  # type: ignore[arg-type]
    for number in range(3):
        clock.now += 40.0
        bars.on_validation_batch_end(own, module, None, {"image": torch.zeros(1)}, number)  # type: ignore[arg-type]
    bars.on_validation_end(own, module)  # type: ignore[arg-type]
    clock.now = 400.0
    bars.on_train_batch_end(own, module, None, None, 101)  # type: ignore[arg-type]
    bars.on_train_end(own, module)  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == is_global_zero * [
        "training: 40 of 1000 steps, 0:24:00 left, loss 0.500, lr 0.0068",
        "training: 80 of 1000 steps, 0:23:00 left, loss 0.500, lr 0.0068",
        "validation: 4 of 5 images, 0:00:20 left",
        "training: 100 of 1000 steps, 1:00:00 left, mIoU 0.7123, loss 0.500, lr 0.0068",
    ]


def test_before_the_first_score_none_is_shown() -> None:
    assert notes(trainer()) == ["loss 0.500", "lr 0.0068"]
