from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import LightningModule
from torch import nn

from deeplab_lightning.callbacks.global_batch import GlobalBatch
from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datasets.images import DataError


class Module(LightningModule):
    """One batch norm that trains, unless it is frozen."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2).train(not frozen))


def trainer_of(processes: int, device: str, batch_size: int = 12) -> Any:
    return SimpleNamespace(
        datamodule=SegmentationDataModule(["a", "b"], "data", batch_size=batch_size),
        world_size=processes,
        accumulate_grad_batches=2,
        strategy=SimpleNamespace(root_device=torch.device(device)),
    )


@pytest.mark.parametrize(
    ("processes", "device", "asked", "frozen", "expected"),
    [
        (1, "cuda", True, False, "of the batch"),
        (4, "cuda", True, False, "of the batch, synchronised"),
        (4, "cuda", True, True, "none that trains"),
        (4, "cpu", True, True, "none that trains"),
    ],
)
def test_batch_norm_sees_the_whole_batch(processes: int, device: str, asked: bool, frozen: bool, expected: str) -> None:
    callback, module = GlobalBatch(asked), Module(frozen)
    callback.setup(trainer_of(processes, device), module, "fit")
    assert callback.record == {
        "images": 12,
        "processes": processes,
        "images_per_process": 12 // processes,
        "accumulate_grad_batches": 2,
        "batch_norm": expected,
    }
    assert isinstance(module.network[1], nn.SyncBatchNorm) == ("synchronised" in expected)


@pytest.mark.parametrize(
    ("device", "asked", "reason"),
    [("cpu", True, "only CUDA devices"), ("cuda", False, "trainer.sync_batchnorm is off")],
)
def test_statistics_that_are_not_shared_give_a_warning(device: str, asked: bool, reason: str) -> None:
    callback, module = GlobalBatch(asked), Module()
    with pytest.warns(UserWarning, match=f"12 .* 3 .* 4 .*{reason}"):
        callback.setup(trainer_of(4, device), module, "fit")
    assert callback.record["batch_norm"] == "of each process"
    assert not isinstance(module.network[1], nn.SyncBatchNorm)


def test_a_batch_that_the_processes_cannot_share_is_refused() -> None:
    with pytest.raises(DataError, match="batch_size 12 .* 8 "):
        GlobalBatch().setup(trainer_of(8, "cuda"), Module(), "fit")


def test_an_evaluation_has_no_batch_to_share() -> None:
    callback = GlobalBatch()
    callback.setup(trainer_of(8, "cuda"), Module(), "validate")
    callback.on_load_checkpoint(trainer_of(8, "cuda"), Module(), {"callbacks": {}})
    assert callback.record == callback.state_dict() == {}


@pytest.mark.parametrize(
    ("state", "warning"),
    [
        (None, "batch_size 12 .* 4 processes"),
        ({"images": 16}, "16 images.* 12"),
    ],
)
def test_a_checkpoint_of_another_batch(state: dict[str, int] | None, warning: str) -> None:
    callback, trainer, module = GlobalBatch(), trainer_of(4, "cuda"), Module()
    callback.setup(trainer, module, "fit")
    states = {} if state is None else {callback.state_key: state}
    with pytest.warns(UserWarning, match=warning):
        callback.on_load_checkpoint(trainer, module, {"callbacks": states})
    callback.on_load_checkpoint(trainer, module, {"callbacks": {callback.state_key: callback.state_dict()}})
