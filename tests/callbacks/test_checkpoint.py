import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deeplab_lightning.callbacks.checkpoint import Checkpoint


@pytest.mark.parametrize("setting", [{"every_n_steps": 0}, {"every_n_minutes": 0.0}])
def test_invalid_intervals_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="got .*0"):
        Checkpoint("runs", **setting)


def test_the_previous_checkpoint_is_removed_after_the_training(tmp_path: Path) -> None:
    for name in ("last.ckpt", "previous.ckpt"):
        (tmp_path / name).touch()
    trainer: Any = SimpleNamespace(global_step=4, fast_dev_run=True, is_global_zero=True)
    Checkpoint(str(tmp_path)).on_train_end(trainer, torch.nn.Identity())  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_the_best_score_moves_with_its_folder(tmp_path: Path) -> None:
    state = {"best_model_score": torch.tensor(0.9), "best_model_path": "/elsewhere/best.ckpt", "dirpath": "/elsewhere"}
    callback = Checkpoint(str(tmp_path))
    callback.load_state_dict(state)
    assert callback.best_model_score is None  # its checkpoint did not come along
    (tmp_path / "best.ckpt").touch()
    callback.load_state_dict(state)
    assert callback.best_model_path == str(tmp_path / "best.ckpt")
    trainer = SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=bool))
    assert not callback.check_monitor_top_k(trainer, torch.tensor(0.8))  # type: ignore[arg-type]
    assert callback.check_monitor_top_k(trainer, torch.tensor(0.95))  # type: ignore[arg-type]
    assert str(tmp_path) not in str(callback.state_dict())
    Checkpoint(str(tmp_path)).load_state_dict(callback.state_dict())


def test_weights_that_are_not_finite_are_neither_scored_nor_saved(tmp_path: Path) -> None:
    module = torch.nn.BatchNorm1d(2)
    callback = Checkpoint(str(tmp_path))
    fitting: Any = SimpleNamespace(state=SimpleNamespace(fn="fit"), world_size=1, global_step=7, fast_dev_run=False)
    callback.on_validation_start(fitting, module)  # type: ignore[arg-type]
    module.running_var[1] = float("inf")  # type: ignore[index]
    for act in (callback.on_validation_start, callback.on_train_end):
        with pytest.raises(FloatingPointError, match="step 7 .*running_var"):
            act(fitting, module)  # type: ignore[arg-type]
