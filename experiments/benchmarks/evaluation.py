"""Cost of scoring: the confusion matrix, several scales with flip, and memory over the number of images.

`python experiments/benchmarks/evaluation.py`: images of 513x513, 21 classes, float32; medians of alternating rounds.
"""

import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from deeplab_lightning.inference import multi_scale_logits, scaled_size
from deeplab_lightning.metrics import SegmentationScores
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus

SIDE, NUM_CLASSES, ROUNDS = 513, 21, 5
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def seconds_of(parts: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median seconds of each part, after a warm-up round."""
    found: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(ROUNDS + 1):
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            found[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in found.items()}


def single_pass(network: DeepLabV3Plus, images: Tensor, scale: float, mirrored: bool) -> Tensor:
    """The logits of a single pass of multi-scale inference with flip."""
    size = scaled_size((SIDE, SIDE), scale, align_corners=True)
    scaled = torch.nn.functional.interpolate(images, size, mode="bilinear", align_corners=True)
    logits: Tensor = network(scaled.flip(-1) if mirrored else scaled, (SIDE, SIDE))
    return logits


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    network = DeepLabV3Plus(NUM_CLASSES, "resnet18", pretrained=False).eval().to(memory_format=torch.channels_last)
    images = torch.randn(1, 3, SIDE, SIDE).to(memory_format=torch.channels_last)
    scores = SegmentationScores([str(index) for index in range(NUM_CLASSES)], trimap_width=3)
    prediction, target = (torch.randint(0, NUM_CLASSES, (1, SIDE, SIDE)) for _ in range(2))
    parts: dict[str, Callable[[], object]] = {
        "forward of ResNet-18": lambda: network.backbone(images),
        "confusion matrix": lambda: scores.whole.update(prediction, target),
        "all scores, with trimap": lambda: scores.update(prediction, target),
    }
    seconds = seconds_of(parts)
    base = seconds["forward of ResNet-18"]
    print("| part | ms | of the forward |\n|---|---|---|")
    for name, each in seconds.items():
        print(f"| {name} | {1e3 * each:.1f} | {each / base:.1%} |")
    passes = [(scale, mirrored) for scale in SCALES for mirrored in (False, True)]
    parts = {str(each): lambda each=each: single_pass(network, images, *each) for each in passes}  # type: ignore[misc]
    parts["all"] = lambda: multi_scale_logits(network, images, SCALES, flip=True, align_corners=True)
    seconds = seconds_of(parts)
    whole = seconds.pop("all")
    one = seconds[str((1.0, False))]
    print(f"\n{len(SCALES)} scales with flip: {whole:.2f} s, {whole / one:.1f} times one pass at scale 1, ", end="")
    print(f"{whole / sum(seconds.values()):.3f} of the sum of its passes")
    for count in (10, 100):
        for _ in range(count):
            scores.update(network(images).argmax(1), target)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(f"peak memory after {count} more images: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
