"""`deeplab segment` against the same loop written plainly with segmentation-models-pytorch and Pillow, and its memory.

Both run the same weights on the same JPEGs and write the same PNGs; the label maps are compared. With --large, one
image of 10,000x10,000 pixels is segmented in a process of its own, and its peak memory is printed beside that of the
model alone.

    .venv/bin/python experiments/benchmarks/segment.py [--images 200] [--large]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from deeplab_lightning.description import DESCRIPTION, ModelDescription, PixelNormalization
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


def write_model(path: Path) -> torch.nn.Module:
    """Write a DeepLabv3+ of segmentation-models-pytorch as a checkpoint, and return the network itself."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    theirs: torch.nn.Module = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=NUM_CLASSES)
    theirs.train()
    with torch.no_grad():
        for _ in range(8):  # running statistics with which label maps have several classes
            theirs(torch.randn(4, 3, 128, 128))
    ours = from_smp("DeepLabV3Plus", "resnet18", theirs.state_dict())
    description = ModelDescription(
        network=type(ours.network).__name__,
        arguments=dict(ours.arguments),
        palette=Palette.voc([str(index) for index in range(NUM_CLASSES)]),
        normalization=PixelNormalization(MEAN, STD),
        pad_to=PADDED,  # smp needs sides of multiples of 16
    )
    tensors = {f"network.{name}": tensor for name, tensor in ours.network.state_dict().items()}
    torch.save({"state_dict": tensors, DESCRIPTION: description.as_dict()}, path)
    return theirs.eval()


def plain_loop(network: torch.nn.Module, images: list[Path], out: Path) -> None:
    """Segment files one by one, as the documentation of segmentation-models-pytorch and Pillow suggests."""
    palette = Palette.voc([str(index) for index in range(NUM_CLASSES)]).table().ravel().tolist()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    out.mkdir(parents=True, exist_ok=True)
    for path in images:
        pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255
        height, width = pixels.shape[1:]
        padded = torch.nn.functional.pad((pixels - mean) / std, (0, -width % 16, 0, -height % 16))
        with torch.inference_mode():
            mask = network(padded[None])[0, :, :height, :width].argmax(0).byte().numpy()
        label_map = Image.fromarray(mask, "P")
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
    theirs = write_model(folder / "model.ckpt")
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
    different, classes = 0, set()
    for path in files:
        first = np.asarray(Image.open(outs["smp and Pillow"] / f"{path.stem}.png"))
        second = np.asarray(Image.open(outs["deeplab segment"] / "masks" / f"{path.stem}.png"))
        different += int((first != second).sum())
        classes |= set(np.unique(first).tolist())
    print(f"{number} images of 480x360, {threads} threads, {len(classes)} classes found; seconds of {REPEATS} rounds")
    for name, each in seconds.items():
        print(f"| {name} | {' '.join(f'{value:.1f}' for value in each)} | {number / min(each):.1f} images/s |")
    ratios = [theirs / ours for theirs, ours in zip(*seconds.values(), strict=True)]
    print(f"ratio {' '.join(f'{ratio:.2f}' for ratio in ratios)}; pixels that differ: {different}")


LARGE = """
import resource, sys
from pathlib import Path
from deeplab_lightning.segmentation.loading import load
from deeplab_lightning.segmentation.pictures import Picture
import numpy as np
model = load(sys.argv[1], device="cpu")
model.segment(np.zeros((64, 64, 3), np.uint8))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
result = model.segment(sys.argv[2], probabilities=False)
print(f"{result.mask.shape}: peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB, "
      f"{before:.2f} GiB with the model alone; {result.remarks}")
"""


def large(folder: Path) -> None:
    """Print the peak memory of segmenting one image of 10,000x10,000 pixels."""
    write_model(folder / "model.ckpt")
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (100, 100, 3), np.uint8))
    small.resize((10_000, 10_000), Image.Resampling.BICUBIC).save(folder / "large.jpg", quality=90)
    subprocess.run([sys.executable, "-c", LARGE, folder / "model.ckpt", folder / "large.jpg"], check=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large(Path(folder)) if arguments.large else compare(Path(folder), arguments.images)


if __name__ == "__main__":
    main()
