"""Lightning's private names exist; tests/callbacks and tests/integration test their use."""

from pathlib import Path

import lightning
import pytest
from lightning import Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from lightning.pytorch.loggers import WandbLogger
from torch.utils.data import DataLoader

from deeplab_lightning.cli import DeepLabCLI
from deeplab_lightning.lightning_internals import (
    LightningCLIWithGivenSettings,
    dump_checkpoint,
    forget_train_loader,
    logs_model,
    set_steps,
    wandb_arguments,
)


def test_lightning_has_the_examined_version() -> None:
    assert lightning.__version__.startswith("2.6.")


def test_lightning_calls_the_overridden_method() -> None:
    (name,) = (name for name in vars(LightningCLIWithGivenSettings) if not name.startswith("__"))
    assert name in vars(LightningCLI)
    assert name in LightningCLI.__init__.__code__.co_names
    assert issubclass(DeepLabCLI, LightningCLIWithGivenSettings)


@pytest.mark.filterwarnings("ignore")  # on a trainer without anything
def test_steps_are_set_where_a_checkpoint_has_them(tmp_path: Path) -> None:
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", max_steps=2, logger=False, barebones=True)
    trainer.fit(BoringModel(), DataLoader(RandomDataset(32, 8)))
    loops = dump_checkpoint(trainer)["loops"]
    before = str(loops)
    set_steps(loops, 2)
    assert str(loops) == before  # Lightning counts the same
    set_steps(loops, 7)
    assert str(loops) != before
    assert before.count("batches_that_stepped") == str(loops).count("batches_that_stepped")
    name = next(name for name in vars(trainer.fit_loop) if "combined_loader" in name)
    assert vars(trainer.fit_loop)[name] is not None
    forget_train_loader(trainer)
    assert vars(trainer.fit_loop)[name] is None


def test_what_a_wandb_logger_was_given(tmp_path: Path) -> None:
    logger = WandbLogger(save_dir=tmp_path, mode="disabled", project="mine", log_model=True)
    assert wandb_arguments(logger)["project"] == "mine"
    assert "anonymous" in wandb_arguments(logger)
    assert logs_model(logger)
