from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from deeplab_lightning.callbacks.seed_steps import SeedSteps


def drawn(seed: int = 0, step: int = 0, rank: int = 0) -> float:
    """The first number of a step, which earlier draws do not change."""
    torch.rand(7)
    loop, data = SimpleNamespace(total_batch_idx=step), SimpleNamespace(seed=seed)
    trainer: Any = SimpleNamespace(datamodule=data, fit_loop=loop, global_rank=rank)
    SeedSteps().on_train_batch_start(trainer, nn.Identity(), None, 0)  # type: ignore[arg-type]
    return float(torch.rand(()))


def test_a_step_draws_the_same_again_and_every_other_differs() -> None:
    places = [{"seed": seed, "step": step, "rank": rank} for seed in (0, 1) for step in (0, 1) for rank in (0, 1)]
    numbers = [drawn(**place) for place in places]
    assert numbers == [drawn(**place) for place in places]
    assert len(set(numbers)) == len(places)
