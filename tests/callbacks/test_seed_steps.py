from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from deeplab_lightning.callbacks.seed_steps import SeedSteps
from deeplab_lightning.models.dropout import SampleDropout


def seed_step(layers: nn.Module, *, seed: int = 0, step: int = 0, rank: int = 0, world_size: int = 1) -> None:
    """Seed a step of four images, divided among the ranks, after draws that must not matter."""
    torch.rand(7)
    loop, data = SimpleNamespace(total_batch_idx=step), SimpleNamespace(seed=seed)
    trainer: Any = SimpleNamespace(datamodule=data, fit_loop=loop, global_rank=rank, world_size=world_size)
    batch = {"image": torch.zeros(4 // world_size, 3, 2, 2)}
    SeedSteps().on_train_batch_start(trainer, layers, batch, 0)  # type: ignore[arg-type]


def drawn(**place: int) -> float:
    """The first number of a step."""
    seed_step(nn.Identity(), **place)
    return float(torch.rand(()))


def test_a_step_draws_the_same_again_and_every_other_differs() -> None:
    places = [{"seed": seed, "step": step, "rank": rank} for seed in (0, 1) for step in (0, 1) for rank in (0, 1)]
    numbers = [drawn(**place) for place in places]
    assert numbers == [drawn(**place) for place in places]
    assert len(set(numbers)) == len(places)


def masks(**place: int) -> Tensor:
    """The masks (B, 2, C, h, w) of two layers of dropout in a step."""
    layers = nn.ModuleList([SampleDropout(0.5), nn.Sequential(SampleDropout(0.5))])
    seed_step(layers, **place)
    ones = torch.ones(4 // place.get("world_size", 1), 5, 3, 3)
    return torch.stack([layer(ones) for layer in layers], 1)


def test_any_number_of_processes_draws_the_same_masks() -> None:
    one = masks()
    for world_size in (2, 4):
        for rank in range(world_size):
            assert torch.equal(masks(world_size=world_size, rank=rank), one[rank::world_size])
    every = [mask for step in (0, 1) for seed in (0, 1) for mask in masks(step=step, seed=seed).flatten(0, 1)]
    assert len({tuple(mask.flatten().tolist()) for mask in every}) == len(every)
