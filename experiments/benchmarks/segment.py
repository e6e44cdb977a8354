"""`deeplab segment` against the same loop written plainly with segmentation-models-pytorch and Pillow, and its memory.

Both run the same weights on the same JPEGs and write the same PNGs. The label maps are compared; where they differ, the
gap between the two largest logits shows whether rounding decided. With --large, an image of 10,000x10,000 pixels, 8-bit
RGB as JPEG or (--deep) 16 bits and four channels as TIFF, is segmented by the command with overlays and polygons in a
process of its own, and its peak memory is printed beside that of the model alone.

    .venv/bin/python experiments/benchmarks/segment.py [--images 200] [--large] [--deep]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image

from deeplab_lightning.description import DESCRIPTION, ModelDescription, PixelNormalization
from deeplab_lightning.models.build import build_network
from deeplab_lightning.palette import Palette
from deeplab_lightning.published.smp import from_smp
from deeplab_lightning.segmentation.inputs import find_inputs
from deeplab_lightning.segmentation.loading import load
from deeplab_lightning.segmentation.manifest import Manifest
from deeplab_lightning.segmentation.pipeline import Pipeline

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NUM_CLASSES = 21
REPEATS = 3
PADDED = (368, 480)


def smp_network(path: Path) -> torch.nn.Module:
    """Return a DeepLabv3+ of segmentation-models-pytorch, and write its weights as a checkpoint."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    theirs: torch.nn.Module = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=NUM_CLASSES)
    normalized(theirs, 3)
    ours = from_smp("DeepLabV3Plus", "resnet18", theirs.state_dict())
    write_checkpoint(path, ours.network, dict(ours.arguments), PADDED)  # smp needs sides of multiples of 16
    return theirs


def normalized(network: torch.nn.Module, channels: int) -> None:
    """Give a network running statistics with which label maps have several classes, and set it to evaluation mode."""
    network.train()
    with torch.no_grad():
        for _ in range(8):
            network(torch.randn(4, channels, 128, 128))
    network.eval()


def write_checkpoint(
    path: Path, network: torch.nn.Module, arguments: dict[str, Any], pad_to: tuple[int, int] | None = None
) -> None:
    """Write a network with its description."""
    channels = arguments.get("in_channels", 3)
    description = ModelDescription(
        network=type(network).__name__,
        arguments=arguments,
        palette=Palette.voc([str(index) for index in range(NUM_CLASSES)]),
        normalization=PixelNormalization((MEAN * 2)[:channels], (STD * 2)[:channels]),
        pad_to=pad_to,
    )
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": tensors, DESCRIPTION: description.as_dict()}, path)


def plain_logits(network: torch.nn.Module, path: Path) -> torch.Tensor:
    """Return the logits (K, H, W) of a file, as the documentation of segmentation-models-pytorch suggests."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255
    height, width = pixels.shape[1:]
    padded = torch.nn.functional.pad((pixels - mean) / std, (0, -width % 16, 0, -height % 16))
    with torch.inference_mode():
        logits: torch.Tensor = network(padded[None])[0, :, :height, :width]
    return logits


def plain_loop(network: torch.nn.Module, images: list[Path], out: Path) -> None:
    """Segment files one by one, and write their label maps with Pillow."""
    palette = Palette.voc([str(index) for index in range(NUM_CLASSES)]).table().ravel().tolist()
    out.mkdir(parents=True, exist_ok=True)
    for path in images:
        label_map = Image.fromarray(plain_logits(network, path).argmax(0).byte().numpy(), "P")
        label_map.putpalette(palette)
        label_map.save(out / f"{path.stem}.png")


def our_command(checkpoint: Path, images: Path, out: Path) -> None:
    """Segment the folder as `deeplab segment` does, loading the model included."""
    segmenter = load(checkpoint, device="cpu")
    pipeline = Pipeline(segmenter, out, segmenter.method(tile=None), ["masks"])
    tally = pipeline.run(find_inputs([str(images)]).items, Manifest(out), lambda _: None)
    assert not tally.failed, tally.failed


def compare(folder: Path, number: int) -> None:
    """Measure both loops in turn on generated JPEGs of 480x360, and print the ratio and the label maps that differ."""
    theirs = smp_network(folder / "model.ckpt")
    source = folder / "images"
    source.mkdir()
    rng = np.random.default_rng(0)
    for index in range(number):
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        small.resize((480, 360), Image.Resampling.BICUBIC).save(source / f"{index:04d}.jpg", quality=90)
    files = sorted(source.iterdir())
    seconds: dict[str, list[float]] = {"smp and Pillow": [], "deeplab segment": []}
    threads = torch.get_num_threads()
    for repeat in range(REPEATS):
        outs = {name: folder / f"{name}-{repeat}" for name in seconds}
        loops: dict[str, Callable[[], None]] = {
            "smp and Pillow": lambda: plain_loop(theirs, files, outs["smp and Pillow"]),  # noqa: B023
            "deeplab segment": lambda: our_command(folder / "model.ckpt", source, outs["deeplab segment"]),  # noqa: B023
        }
        for name, loop in loops.items():
            torch.set_num_threads(threads)
            start = time.perf_counter()
            loop()
            seconds[name].append(time.perf_counter() - start)
    gaps, classes = torch.empty(0), set()
    for path in files:
        first = np.asarray(Image.open(outs["smp and Pillow"] / f"{path.stem}.png"))
        second = np.asarray(Image.open(outs["deeplab segment"] / "masks" / f"{path.stem}.png"))
        classes |= set(np.unique(first).tolist())
        if (first != second).any():
            best = plain_logits(theirs, path)[:, torch.from_numpy(first != second)].topk(2, 0).values
            gaps = torch.cat([gaps, best[0] - best[1]])
    print(f"{number} images of 480x360, {threads} threads, {len(classes)} classes found; seconds of {REPEATS} rounds")
    for name, each in seconds.items():
        print(f"| {name} | {' '.join(f'{value:.1f}' for value in each)} | {number / min(each):.1f} images/s |")
    ratios = [theirs / ours for theirs, ours in zip(*seconds.values(), strict=True)]
    print(f"ratio {' '.join(f'{ratio:.2f}' for ratio in ratios)}; pixels that differ: {len(gaps)}", end="")
    print(f", by up to {gaps.max():.1e} between the two largest logits" if len(gaps) else "")


LARGE = """
import sys
from pathlib import Path
from deeplab_lightning.__main__ import main
def peak():  # of this program; getrusage would count its parent's as well
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20
model, small, large, out = sys.argv[1:5]
main(["segment", model, small, "--out", out, "--device", "cpu", *sys.argv[5:]])
before = peak()
status = main(["segment", model, large, "--out", out, "--device", "cpu", *sys.argv[5:]])
print(f"peak {peak():.2f} GiB, {before:.2f} GiB with the model alone; {' '.join(sys.argv[5:])}")
sys.exit(status)
"""


def large(folder: Path, is_deep: bool) -> None:
    """Print the peak memory of segmenting one image of 10,000x10,000 pixels."""
    channels = 4 if is_deep else 3
    arguments = {"num_classes": NUM_CLASSES, "backbone": "resnet18", "in_channels": channels, "pretrained": False}
    network = build_network("DeepLabV3Plus", arguments)
    normalized(network, channels)
    write_checkpoint(folder / "model.ckpt", network, arguments)
    rng = np.random.default_rng(0)
    bands = [Image.fromarray(rng.integers(0, 256, (100, 100), np.uint8)) for _ in range(channels)]
    for name, side in (("small", 100), ("large", 10_000)):
        pixels = np.dstack([np.asarray(band.resize((side, side), Image.Resampling.BICUBIC)) for band in bands])
        if is_deep:
            tifffile.imwrite(folder / f"{name}.tif", pixels.astype(np.uint16) * 16)
        else:
            Image.fromarray(pixels).save(folder / f"{name}.jpg", quality=90)
    images = [folder / f"{name}.{'tif' if is_deep else 'jpg'}" for name in ("small", "large")]
    options = ["--overlays", "--polygons", *(["--value_range", "0", "4095"] if is_deep else [])]
    subprocess.run([sys.executable, "-c", LARGE, folder / "model.ckpt", *images, folder / "out", *options], check=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--deep", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large(Path(folder), arguments.deep) if arguments.large or arguments.deep else compare(
            Path(folder), arguments.images
        )


if __name__ == "__main__":
    main()
