"""Peak memory of a training step: the loss in bands of rows, and recomputed blocks, compared with all rows at once.

    python experiments/benchmarks/memory.py

182 classes (COCO-Stuff), crops of 513x513, batches of 4, float32, SGD with momentum, random weights and images. Each
step runs in a fresh process, after a step on two images of 65x65: the peak of the process's resident memory, minus what
it held before the step.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deeplab_lightning.losses.cross_entropy import LossContext
from deeplab_lightning.losses.weighted_sum import WeightedSum
from deeplab_lightning.models.blocks import recompute_activations
from deeplab_lightning.models.build import build_network
from deeplab_lightning.modules import upsampled_loss as banded

NUM_CLASSES, SIZE, BATCH = 182, 513, 4
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "v3+, MobileNetV2": ("DeepLabV3Plus", {"backbone": "mobilenet_v2"}),
    "v3, ResNet-50": ("DeepLabV3", {"backbone": "resnet50"}),
}
ALONE = {"the loss alone, logits at stride 16": 33, "the loss alone, logits at stride 4": 129}
"""Sides of the logits of cases without a network."""
WAYS = ("all rows", "bands", RECOMPUTED := "bands, backbone recomputed")


def loss_of(logits: Tensor, target: Tensor) -> Tensor:
    """The loss of coarse logits, as the modules compute it."""
    return banded.upsampled_loss(WeightedSum(), logits, target, align_corners=True, context=LossContext())


def step(case: str, is_recomputed: bool) -> Callable[[int, int], None]:
    """A function that runs a step of a case on a batch of images of a size."""
    if case in ALONE:

        def alone(batch: int, size: int) -> None:
            side = ALONE[case] if size == SIZE else 3
            logits = torch.randn(batch, NUM_CLASSES, side, side, requires_grad=True)
            torch.autograd.backward(loss_of(logits, torch.randint(0, NUM_CLASSES, (batch, size, size))))

        return alone
    name, settings = NETWORKS[case]
    network = (
        build_network(name, {"num_classes": NUM_CLASSES, **settings}).train().to(memory_format=torch.channels_last)
    )
    if is_recomputed:
        recompute_activations(network.get_submodule("backbone"))
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, 0.9, fused=True)

    def whole(batch: int, size: int) -> None:
        images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
        loss = loss_of(network.forward_coarse(images), torch.randint(0, NUM_CLASSES, (batch, size, size)))
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    return whole


def measure(case: str, way: str) -> dict[str, float]:
    """The peak of the memory of a step above what the process held before it, in MiB, and the step's seconds."""
    if way == "all rows":
        banded.VALUES_AT_ONCE = sys.maxsize
    run = step(case, way == RECOMPUTED)
    run(2, 65)
    with open("/proc/self/statm") as file:
        before = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    start = time.perf_counter()
    run(BATCH, SIZE)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"mib": (peak - before) / 2**20, "seconds": seconds}


def main() -> None:
    """Print the table."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(*sys.argv[1:])))
        return
    print("| step | way | peak, MiB | of all rows | s |\n|---|---|---|---|---|")
    for case in (*ALONE, *NETWORKS):
        peaks: list[float] = []
        for way in WAYS[:2] if case in ALONE else WAYS:
            command = [sys.executable, __file__, case, way]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            peaks.append(found["mib"])
            share = f"{peaks[-1] / peaks[0]:.0%}"
            print(f"| {case} | {way} | {peaks[-1]:.0f} | {share} | {found['seconds']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
