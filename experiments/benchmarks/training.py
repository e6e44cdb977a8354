"""Training images per second of `deeplab fit`, and of plain PyTorch loops around peers' networks and ours.

    python experiments/benchmarks/training.py [a] [b]

(a) compares DeepLabv3+ on ResNet-18 with that of segmentation-models-pytorch, (b) DeepLabv3 on ResNet-50 at output
stride 8 with that of torchvision. The parameters are equal in number. All get the same batches from the same loader:
crops of 256x256, batches of 4, SGD with momentum, random weights, float32; ours also in bfloat16, and with compiled
blocks (their compilation is a step of the warm-up). The methods alternate in every round; the results are medians.

The plain loops have neither logging nor a progress bar; `fit` is the whole command, with loggers and callbacks. Its
overhead is the additional time of its step, compared with a plain loop around the same network.
"""

import shutil
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning import Callback
from torch import Tensor, nn

from deeplab_lightning.cli import DeepLabCLI
from deeplab_lightning.datamodules.shapes import ShapesDataModule
from deeplab_lightning.losses.cross_entropy import cross_entropy
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule

WARM_UP, STEPS, ROUNDS = 2, 6, 3
DATA: dict[str, Any] = {"batch_size": 4, "crop_size": [256, 256], "num_workers": 1, "num_train": 200}
PEERS_HEAD: dict[str, Any] = {
    "pretrained": False,
    "stride_unit": "first_dilated",
    "atrous_rates": [12, 24, 36],
    "aspp_conv3x3": True,
}
SETTINGS: dict[str, tuple[type[SegmentationModule], dict[str, Any]]] = {
    "a": (
        DeepLabV3PlusModule,
        PEERS_HEAD
        | {"backbone": "resnet18", "align_corners": True, "separable": True, "depthwise_norm": False}
        | {"decoder_convs": 1},
    ),
    "b": (DeepLabV3Module, PEERS_HEAD | {"backbone": "resnet50", "output_stride": 8}),
}


class Clock(Callback):
    """A record of the times at which the steps of a training ended, loading included."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Record the time."""
        self.times.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """The seconds of each step after the warm-up steps."""
        return [float(each) for each in np.diff(self.times)[WARM_UP - 1 :]]


def peer(name: str, num_classes: int) -> nn.Module:
    """The peer's network, which maps images to logits of the same size."""
    if name == "a":
        import segmentation_models_pytorch as smp

        network: nn.Module = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=num_classes)
        return network
    from torchvision.models.segmentation import deeplabv3_resnet50

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=num_classes)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.network(images)["out"]
            return logits

    return Logits()


def fit(module: type[SegmentationModule], settings: dict[str, Any], root: Path, extra: list[str]) -> list[float]:
    """The seconds of each step of `deeplab fit`."""
    clock = Clock()
    data = {"root": str(root / "shapes"), **DATA}
    options = ["--model", module.__name__, "--data", "ShapesDataModule"]
    options += [f"--model.{name}={value}" for name, value in settings.items()]
    options += [f"--data.{name}={value}" for name, value in data.items()]
    options += ["--trainer.max_steps", str(WARM_UP + STEPS), "--trainer.limit_val_batches", "0"]
    options += ["--trainer.accelerator", "cpu", "--trainer.default_root_dir", str(root / "run")]
    options += ["--trainer.log_every_n_steps", "10", "--trainer.enable_model_summary", "false"]

    class Timed(DeepLabCLI):
        def instantiate_trainer(self, **kwargs: Any) -> Any:
            built: Any = super().instantiate_trainer(**kwargs)
            built.callbacks.append(clock)
            return built

    Timed("fit", [*options, *extra, "--wandb.mode", "disabled"])
    shutil.rmtree(root / "run", ignore_errors=True)  # by the first process; another training would not replace it
    return clock.seconds()


def plain(build: Callable[[int], nn.Module], root: Path, memory_format: torch.memory_format) -> list[float]:
    """The seconds of each step of a plain loop around a network.

    Args:
        build: Function that builds the network for a number of classes.
        root: Folder of the data.
        memory_format: Memory format of network and images: channels last for ours, contiguous for the peer's.
    """
    data = ShapesDataModule(str(root / "shapes"), **DATA)
    data.prepare_data()
    network = build(data.num_classes).train().to(memory_format=memory_format)
    ours = memory_format == torch.channels_last
    optimizer = torch.optim.SGD(network.parameters(), 0.007, 0.9, weight_decay=1e-4, fused=ours)
    criterion = cross_entropy if ours else nn.CrossEntropyLoss(ignore_index=255)
    clock = Clock()
    for batch in data.train_dataloader():
        optimizer.zero_grad()
        criterion(network(batch["image"].contiguous(memory_format=memory_format)), batch["mask"]).backward()
        optimizer.step()
        clock.on_train_batch_end()
        if len(clock.times) == WARM_UP + STEPS:
            break
    return clock.seconds()


def ways(name: str, root: Path) -> list[Callable[[], list[float]]]:
    """Functions that time the peer's plain loop, ours, and `deeplab fit`: as it is, in bfloat16, and compiled."""
    module, settings = SETTINGS[name]
    return [
        partial(plain, partial(peer, name), root, torch.contiguous_format),
        partial(plain, lambda num_classes: module(num_classes=num_classes, **settings), root, torch.channels_last),
        partial(fit, module, settings, root, extra=[]),
        partial(fit, module, settings, root, extra=["--trainer.precision", "bf16-mixed"]),
        partial(fit, module, settings, root, extra=["--model.compile", "true"]),
    ]


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    rows = []
    with TemporaryDirectory() as folder:
        for name in sys.argv[1:] or SETTINGS:
            candidates = ways(name, Path(folder))
            seconds: list[list[float]] = [[] for _ in candidates]
            for _ in range(ROUNDS):
                for found, way in zip(seconds, candidates, strict=True):
                    found += way()
            theirs, ours, whole, half, compiled = (DATA["batch_size"] / float(np.median(found)) for found in seconds)
            rows.append(
                f"| {name} | {theirs:.2f} | {ours:.2f} | {whole:.2f} | {ours / whole - 1:+.1%} | {whole / theirs:.2f} "
                f"| {half:.2f} | {half / theirs:.2f} | {compiled:.2f} | {compiled / whole:.2f} |"
            )
    columns = "images/s | peer, plain | ours, plain | fit | its overhead | times peer"
    columns += " | fit, bf16 | times peer | fit, compiled | times fit"
    print(f"| {columns} |\n|{'---|' * len(columns.split(' | '))}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
