"""Cost of training by batch size, crop size and number of processes: DeepLabv3+ on ResNet-18, float32.

`python experiments/benchmarks/growth.py`: plain steps on random images for batch and crop; `deeplab fit` on Shapes with
one and with two processes of one thread each; medians.
"""

import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from training import DATA, SETTINGS, fit

from deeplab_lightning.losses.cross_entropy import cross_entropy
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus

STEPS = 4
BATCHES, CROPS, PROCESSES = (1, 2, 4, 8), (129, 257, 385, 513), (1, 2)


def step_seconds(batch: int, crop: int) -> float:
    """The median seconds of a step, after a warm-up step."""
    network = DeepLabV3Plus(21, "resnet18").train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, 0.9, fused=True)
    images = torch.randn(batch, 3, crop, crop).to(memory_format=torch.channels_last)
    target = torch.randint(0, 21, (batch, crop, crop))
    seconds = []
    for _ in range(1 + STEPS):
        start = time.perf_counter()
        torch.autograd.backward(cross_entropy(network(images), target))
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def process_seconds(count: int) -> float:
    """The median seconds of a step of `deeplab fit`, in processes of one thread that share the same batch.

    Args:
        count: Number of processes.
    """
    with TemporaryDirectory() as folder:
        command = [sys.executable, __file__, folder, str(count)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return float(statistics.median(json.loads((Path(folder) / "seconds.json").read_text())))


def fit_in_this_process(root: Path, count: int) -> None:
    """Train in one of the processes; the first one writes its times to seconds.json."""
    several = ["--trainer.devices", str(count), *(["--trainer.strategy", "ddp"] if count > 1 else [])]
    seconds = fit(*SETTINGS["a"], root, several)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        (root / "seconds.json").write_text(json.dumps(seconds))


def main() -> None:
    """Measure and print."""
    warnings.filterwarnings("ignore")
    if len(sys.argv) == 3:
        fit_in_this_process(Path(sys.argv[1]), int(sys.argv[2]))
        return
    for heading, cases in (
        ("batch, crops of 257", [(batch, 257) for batch in BATCHES]),
        ("crop, batches of 4", [(4, crop) for crop in CROPS]),
    ):
        print(f"| {heading} | s/step | images/s |\n|---|---|---|")
        for batch, crop in cases:
            seconds = step_seconds(batch, crop)
            print(f"| {batch if heading.startswith('batch') else crop} | {seconds:.2f} | {batch / seconds:.2f} |")
        print()
    print("| processes of one thread | s/step | images/s | efficiency |\n|---|---|---|---|")
    rates = []
    for count in PROCESSES:
        seconds = process_seconds(count)
        rates.append(count * DATA["batch_size"] / seconds)
        print(f"| {count} | {seconds:.2f} | {rates[-1]:.2f} | {rates[-1] / count / rates[0]:.0%} |", flush=True)


if __name__ == "__main__":
    main()
