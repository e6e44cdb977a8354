"""The repeated blocks of a backbone, whose activations can be recomputed and which can be compiled."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from deeplab_lightning.models.batch_norm import batch_norms
from deeplab_lightning.models.vgg import VGG16

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
RECOMPILE_LIMIT = 64
"""Compiled forms of the blocks of one class: a ResNet has up to 14 kinds, each in training and in evaluation."""


def prepare_blocks(network: nn.Module, *, recompute: bool, compiled: bool) -> None:
    """Let the blocks of a network's backbone recompute their activations, or compile them.

    Raises:
        ValueError: Both are asked for; torch.compile cannot trace blocks that recompute.
    """
    if recompute and compiled:
        raise ValueError("recompute_backbone and compile cannot both be true; set one of them to false")
    if recompute:
        recompute_activations(network.get_submodule("backbone"))
    if compiled:
        compile_blocks(network.get_submodule("backbone"))


def recompute_activations(backbone: nn.Module) -> None:
    """Let the blocks of a backbone keep only their inputs for the backward pass, which runs their forward pass again.

    Gradients are the same, batch norms count each batch once, dropout draws the same values, and names of tensors stay
    as they are. Blocks must not change their inputs in place.
    """
    for block in blocks(backbone):
        if isinstance(block, VGG16):
            block.run_stage = partial(_recomputed, block, block.run_stage)  # type: ignore[method-assign]
        else:
            block.forward = partial(_recomputed, block, block.forward)


def compile_blocks(backbone: nn.Module) -> None:
    """Let torch.compile compile the blocks of a backbone at their first call; names of tensors stay as they are.

    Blocks of one kind share their code. From the second size of images on, the code is for all sizes.
    """
    for block in blocks(backbone):
        block.compile(recompile_limit=RECOMPILE_LIMIT)


def blocks(backbone: nn.Module) -> list[nn.Module]:
    """Return the modules inside a backbone's sequences that are more than one layer; the backbone if there are none."""
    return list(_within(backbone)) or [backbone]


def _within(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        is_layer = not any(True for _ in child.children())
        if isinstance(module, CONTAINERS) and not isinstance(child, CONTAINERS) and not is_layer:
            yield child
        else:
            yield from _within(child)


def _recomputed(block: nn.Module, forward: Callable[..., Any], *args: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(block)

    return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Let batch norms count the batch into copies of their running statistics, for they have counted it already.

    Without running statistics they would save fewer tensors than in the first pass, which `checkpoint` does not allow.
    """
    kept = [(norm, name, tensor) for norm in batch_norms(block) for name, tensor in norm.named_buffers(recurse=False)]
    for norm, name, tensor in kept:
        setattr(norm, name, tensor.clone())
    try:
        yield
    finally:
        for norm, name, tensor in kept:
            setattr(norm, name, tensor)
