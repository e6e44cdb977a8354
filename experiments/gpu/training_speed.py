"""Training images per second on one device: our networks, eager and compiled, beside those of other projects.

Plain loops on a batch that lies on the device: bfloat16 autocast, channels last, torch's fused SGD with momentum,
random weights and images, cuDNN's search for the fastest algorithms; all of it for the peers too. Our loss is that of
`deeplab fit`, in bands of rows. The ways alternate in rounds; a way's time is the median of its rounds, with the device
synchronised at both ends of a round.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from networks import CASES, NUM_CLASSES, Case
from peak_speed import PEAKS, matrix_flops
from session import Session, Values, sentence_of
from torch import Tensor, nn

from deeplab_lightning.losses.cross_entropy import LossContext
from deeplab_lightning.losses.decimation import decimate
from deeplab_lightning.losses.weighted_sum import WeightedSum
from deeplab_lightning.models.blocks import compile_blocks
from deeplab_lightning.models.profile import profile
from deeplab_lightning.modules import upsampled_loss as banded

ROUNDS, STEPS, WARM_UP = 5, 10, 3
SMOKE_SIDE, SMOKE_BATCH = 33, 2
PEER, ALL_ROWS = "peer", "ours, eager, loss of all rows at once"
Loss = Callable[[Tensor, Tensor], Tensor]
"""The loss of images (B, 3, H, W) and masks (B, H, W)."""


@dataclass
class Way:
    """One way of training a network, and what was measured of it.

    Args:
        name: Name in the table.
        side: Side of the crops in pixels.
        build: Function that builds the network on the device, and returns it with its loss.
    """

    name: str
    side: int
    build: Callable[[], tuple[nn.Module, Loss]]
    sentence: str = ""
    step: Callable[[], object] = lambda: None
    first_step: float = 0.0
    seconds: list[float] = field(default_factory=list)
    own_bytes: int = 0
    peak_bytes: int = 0

    def attempt(self, part: Callable[[], None]) -> None:
        """Run a part of the measurement, unless an earlier one failed; a failure is kept as a sentence."""
        if self.sentence:
            return
        try:
            part()
        except Exception as error:  # of any kind: out of memory, no compiler, an operator that is missing
            self.sentence, self.step = sentence_of(error), lambda: None  # the step holds the network

    def record(self, batch: int, flops: int) -> Values:
        """What was measured; for a way that failed, the sentence.

        Args:
            batch: Number of images of a step.
            flops: FLOPs of a training step on one image.
        """
        if self.sentence:
            return {"name": self.name, "side": self.side, "sentence": self.sentence}
        rate = batch / statistics.median(self.seconds)
        return {
            "name": self.name,
            "side": self.side,
            "images_per_second": rate,
            "flops": flops * rate,
            "peak_gib": (self.own_bytes + self.peak_bytes) / 2**30,
            "first_step": self.first_step,
            "seconds": self.seconds,
        }


def measure(name: str, session: Session) -> Values:
    """Time every way of training a network, and a large matrix product."""
    case, (rounds, steps, warm_up) = CASES[name], (1, 1, 1) if session.smoke else (ROUNDS, STEPS, WARM_UP)
    batch, side = (SMOKE_BATCH, SMOKE_SIDE) if session.smoke else (case.batch, case.side)
    torch.backends.cudnn.benchmark = True
    ways = list(ways_of(case, session, side))
    for way in ways:
        way.attempt(partial(prepare, way, session, batch=batch, steps=warm_up))
    for _ in range(rounds):
        for way in ways:
            way.attempt(partial(time_round, way, session, steps))
    with torch.device("meta"):
        network = case.build()
    # A multiply-add is two FLOPs, and the backward pass takes twice those of the forward pass: for the gradients of the
    # features and for those of the weights. The peers' networks have the same layers.
    flops = {way.side: 6 * profile(network, way.side, way.side).multiply_adds for way in ways}
    return {
        "batch": batch,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "ways": [way.record(batch, flops[way.side]) for way in ways],
        "matrix_flops": matrix_flops(session),
        "peak_flops": PEAKS.get(session.setting()["device"]),
    }


def ways_of(case: Case, session: Session, side: int) -> Iterator[Way]:
    """The ways of training a network: ours on crops of a side, then ours and the peer's on crops that both take."""
    ours, shared = partial(our_loss, case, session), case.shared_side(side)
    if shared != side:
        yield Way("ours, eager", side, ours)
    yield Way("ours, eager", shared, ours)
    if case.network != "DeepLabV1":  # whose loss is on the grid of the logits
        yield Way(ALL_ROWS, shared, ours)
    yield Way("ours, blocks compiled", shared, partial(ours, compiled="blocks"))
    yield Way("ours, compiled", shared, partial(ours, compiled="network"))
    if case.peer is not None:
        yield Way(PEER, shared, partial(peer_loss, case.peer, session))


def our_loss(case: Case, session: Session, compiled: Literal["", "blocks", "network"] = "") -> tuple[nn.Module, Loss]:
    """Our network, and its loss as the modules compute it: v1's on the grid of the logits, the others' on all pixels.

    Compiled are the backbone's blocks, as `--model.compile true` does, or the network without the loss. A smoke run
    only traces the network, because compiling its kernels takes minutes.
    """
    network = case.build().train().to(session.device).to(memory_format=torch.channels_last)
    decimated = case.network == "DeepLabV1"
    forward: Callable[[Tensor], Tensor] = network.forward_features if decimated else network.forward_coarse
    if compiled == "blocks" and not session.smoke:
        compile_blocks(network.get_submodule("backbone"))
    if compiled == "network":
        forward = torch.compile(forward, backend="aot_eager" if session.smoke else "inductor")
    criterion, context = WeightedSum(), LossContext()

    def loss(images: Tensor, target: Tensor) -> Tensor:
        logits = forward(images)
        if decimated:
            grid = decimate(target, logits.shape[2:], network.logits_stride, network.grid_offset)
            return criterion(logits, grid, context)
        return banded.upsampled_loss(criterion, logits, target, align_corners=network.align_corners, context=context)

    return network, loss


def peer_loss(build: Callable[[int], nn.Module], session: Session) -> tuple[nn.Module, Loss]:
    """The peer's network, and torch's cross entropy."""
    network = build(NUM_CLASSES).train().to(session.device).to(memory_format=torch.channels_last)
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    return network, lambda images, target: criterion(network(images), target)


def prepare(way: Way, session: Session, *, batch: int, steps: int) -> None:
    """Build a way's network, and take its first steps, in which kernels are compiled and chosen."""
    before = allocated(session)
    network, loss = way.build()
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, 0.9, weight_decay=1e-4, fused=True)
    images = torch.randn(batch, 3, way.side, way.side, device=session.device).to(memory_format=torch.channels_last)
    target = torch.randint(0, NUM_CLASSES, (batch, way.side, way.side), device=session.device)

    def step() -> None:
        with torch.autocast(session.device.type, torch.bfloat16):
            value = loss(images, target)
        torch.autograd.backward(value)
        optimizer.step()
        optimizer.zero_grad()

    start = time.perf_counter()
    with bands(way, session):
        step()
        session.synchronize()
        way.first_step = time.perf_counter() - start
        for _ in range(steps - 1):
            step()
    way.step, way.own_bytes = step, allocated(session) - before


def time_round(way: Way, session: Session, steps: int) -> None:
    """Time some steps of a way, and note its peak of memory."""
    before = allocated(session)
    if session.on_gpu:
        torch.cuda.reset_peak_memory_stats(session.device)
    session.synchronize()
    start = time.perf_counter()
    with bands(way, session):
        for _ in range(steps):
            way.step()
        session.synchronize()
    way.seconds.append((time.perf_counter() - start) / steps)
    if session.on_gpu:
        way.peak_bytes = max(way.peak_bytes, torch.cuda.max_memory_allocated(session.device) - before)


@contextmanager
def bands(way: Way, session: Session) -> Iterator[None]:
    """Within the context, losses have the bands of the way: the usual ones, or all rows at once."""
    usual = banded.VALUES_AT_ONCE
    if session.smoke:  # several bands of small crops too
        banded.VALUES_AT_ONCE = SMOKE_BATCH * SMOKE_SIDE * NUM_CLASSES * 20
    if way.name == ALL_ROWS:
        banded.VALUES_AT_ONCE = sys.maxsize
    try:
        yield
    finally:
        banded.VALUES_AT_ONCE = usual


def allocated(session: Session) -> int:
    """The bytes of all tensors on a GPU; 0 on a processor, where torch does not count them."""
    return torch.cuda.memory_allocated(session.device) if session.on_gpu else 0
