from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from deeplab_lightning.callbacks.finite_loss import FiniteLoss

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.isinstance.treespec, LeafSpec")


class Module(LightningModule):
    """A layer and a batch norm, whose loss is NaN for batches that hold a NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss: Tensor = self.layers(batch["image"]).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9, weight_decay=0.1)


class Recorder(Callback):
    """Keeps all state as it was after every batch."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        momentum = [state["momentum_buffer"] for state in trainer.optimizers[0].state.values()]
        self.states.append(
            deepcopy({**pl_module.state_dict(), **{str(key): value for key, value in enumerate(momentum)}})
        )


def states(folder: Path, poisoned: int, max_skipped: int) -> list[dict[str, Any]]:
    """Return the states after six batches, two per step; one of the batches holds a NaN."""
    batches = [{"image": torch.randn(4, 2), "image_id": [f"{index}"]} for index in range(6)]
    batches[poisoned]["image"][0, 0] = float("nan")  # type: ignore[index]
    recorder = Recorder()
    trainer = Trainer(
        max_epochs=1,
        accumulate_grad_batches=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[FiniteLoss(max_skipped), recorder],
    )
    trainer.fit(Module(), DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return recorder.states


@pytest.mark.filterwarnings("ignore:the loss of step 1 is not finite")
@pytest.mark.parametrize("poisoned", [2, 3])
def test_a_skipped_step_leaves_nothing_behind(tmp_path: Path, poisoned: int) -> None:
    """This holds for each batch of the step, and for the running statistics after every single batch."""
    found = states(tmp_path, poisoned, max_skipped=1)
    assert all(value.isfinite().all() for state in found for value in state.values())
    before, after = found[1], found[3]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not all(torch.equal(found[5][name], after[name]) for name in before)


def test_one_batch_more_than_may_be_skipped_ends_the_training(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="step 1 .*finite_loss.max_skipped"):
        states(tmp_path, 2, max_skipped=0)
