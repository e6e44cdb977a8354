"""Training images per second of v1's four classifiers, to compare with the paper's speeds.

`python experiments/benchmarks/v1_speed.py`: crops of 321, batches of 2, SGD, float32; medians of interleaved rounds.
The paper (Table 2) reports 1.44, 2.90, 2.90 and 4.84 on its GPU.
"""

import statistics
import time

import torch

from deeplab_lightning.losses.cross_entropy import cross_entropy
from deeplab_lightning.models.deeplab_v1 import DeepLabV1

CLASSIFIERS = {
    "7x7, rate 4": ((7, 4, 4096), 1.44),
    "4x4, rate 4": ((4, 4, 4096), 2.90),
    "4x4, rate 8": ((4, 8, 4096), 2.90),
    "3x3, rate 12 (LargeFOV)": ((3, 12, 1024), 4.84),
}
ROUNDS, BATCH, SIDE, POSITIONS = 3, 2, 321, 41


def main() -> None:
    """Measure and print."""
    networks = {name: DeepLabV1(21, *settings).train() for name, (settings, _) in CLASSIFIERS.items()}
    images = torch.randn(BATCH, 3, SIDE, SIDE)
    target = torch.randint(0, 21, (BATCH, POSITIONS, POSITIONS))
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(ROUNDS + 1):  # the first round is the warm-up
        for name, network in networks.items():
            optimizer = torch.optim.SGD(network.parameters(), 1e-6, 0.9, fused=True)
            start = time.perf_counter()
            torch.autograd.backward(cross_entropy(network.forward_features(images), target))
            optimizer.step()
            optimizer.zero_grad()
            seconds[name].append(time.perf_counter() - start)
    rates = {name: BATCH / statistics.median(each[1:]) for name, each in seconds.items()}
    slowest, (_, slowest_paper) = next(iter(CLASSIFIERS.items()))
    print("| classifier | images/s | times 7x7 | paper's times |\n|---|---|---|---|")
    for name, (_, paper) in CLASSIFIERS.items():
        print(f"| {name} | {rates[name]:.3f} | {rates[name] / rates[slowest]:.2f} | {paper / slowest_paper:.2f} |")


if __name__ == "__main__":
    main()
