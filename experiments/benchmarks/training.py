"""Training images a second: the whole `deeplab fit` against plain PyTorch loops around peers' networks.

(a) DeepLabv3+ on ResNet-18, theirs being segmentation-models-pytorch's; (b) DeepLabv3 on ResNet-50 at output stride 8,
theirs being torchvision's. Ours have as many parameters. All take the same batches from the same loader: crops of
256x256, batches of 4, SGD with momentum, random weights, float32, and ours in bfloat16 too. The ways take
turns in every round.

The plain loop has neither logging nor a progress bar; `fit` is what the command runs, with loggers and callbacks.
"""

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning import Callback
from torch import nn

from deeplab_lightning.cli import DeepLabCLI
from deeplab_lightning.datamodules.shapes import ShapesDataModule

BATCH, CROP, WARM_UP, STEPS, ROUNDS = 4, 256, 2, 6, 3
FIT: dict[str, list[str]] = {
    "a": ["--model", "DeepLabV3PlusModule", "--model.backbone", "resnet18", "--model.align_corners", "true"],
    "b": ["--model", "DeepLabV3Module", "--model.backbone", "resnet50", "--model.output_stride", "8"],
}
FIT["a"] += [
    "--model.stride_unit",
    "first_dilated",
    "--model.atrous_rates",
    "[12, 24, 36]",
    "--model.separable",
    "true",
]
FIT["a"] += ["--model.depthwise_norm", "false", "--model.aspp_conv3x3", "true", "--model.decoder_convs", "1"]
FIT["b"] += ["--model.stride_unit", "first_dilated", "--model.atrous_rates", "[12, 24, 36]"]
FIT["b"] += ["--model.aspp_conv3x3", "true"]


class Clock(Callback):
    """The time of every step of a training, from batch to batch, loading included."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Note it."""
        self.times.append(time.perf_counter())


def peer(name: str, num_classes: int) -> nn.Module:
    """The peer's network, mapping images to logits of their size."""
    if name == "a":
        import segmentation_models_pytorch as smp

        network: nn.Module = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=num_classes)
        return network
    from torchvision.models.segmentation import deeplabv3_resnet50

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=num_classes)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(images)["out"]
            return logits

    return Logits()


def data_options(root: Path) -> list[str]:
    """The data that all ways train on."""
    options = ["--data", "ShapesDataModule", "--data.root", str(root / "shapes"), "--data.num_train", "200"]
    return [
        *options,
        "--data.batch_size",
        str(BATCH),
        "--data.crop_size",
        f"[{CROP}, {CROP}]",
        "--data.num_workers",
        "1",
    ]


def fit(name: str, root: Path, extra: list[str]) -> list[float]:
    """Seconds of the steps of `deeplab fit`."""
    clock = Clock()
    trainer = ["--trainer.max_steps", str(WARM_UP + STEPS), "--trainer.limit_val_batches", "0"]
    trainer += ["--trainer.accelerator", "cpu", "--trainer.default_root_dir", str(root / "run")]
    trainer += ["--trainer.log_every_n_steps", "10", "--trainer.enable_model_summary", "false"]

    class Timed(DeepLabCLI):
        def instantiate_trainer(self, **kwargs: Any) -> Any:
            built = super().instantiate_trainer(**kwargs)
            built.callbacks.append(clock)
            return built

    Timed("fit", [*FIT[name], *data_options(root), *trainer, *extra, "--wandb.mode", "disabled"])
    return np.diff(clock.times)[WARM_UP - 1 :].tolist()


def plain(name: str, root: Path) -> list[float]:
    """Seconds of the steps of a plain loop around the peer's network."""
    settings: dict[str, Any] = {"batch_size": BATCH, "crop_size": (CROP, CROP), "num_workers": 1, "num_train": 200}
    data = ShapesDataModule(str(root / "shapes"), **settings)
    data.prepare_data()
    network = peer(name, data.num_classes).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.007, 0.9, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    times: list[float] = []
    for batch in data.train_dataloader():
        optimizer.zero_grad()
        criterion(network(batch["image"].contiguous()), batch["mask"]).backward()
        optimizer.step()
        times.append(time.perf_counter())
        if len(times) == WARM_UP + STEPS:
            break
    return np.diff(times)[WARM_UP - 1 :].tolist()


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    print("| comparison | peer, plain loop, images/s | deeplab fit, images/s | times | deeplab fit, bf16 | times |")
    print("|---|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        root = Path(folder)
        bf16 = ["--trainer.precision", "bf16-mixed"]
        for name in sys.argv[1:] or ["a", "b"]:
            ways: list[Callable[[], list[float]]] = [
                lambda name=name: plain(name, root),  # type: ignore[misc]
                lambda name=name: fit(name, root, []),  # type: ignore[misc]
                lambda name=name: fit(name, root, bf16),  # type: ignore[misc]
            ]
            seconds: list[list[float]] = [[], [], []]
            for _ in range(ROUNDS):
                for found, way in zip(seconds, ways, strict=True):
                    found += way()
            theirs, ours, half = (BATCH / float(np.median(found)) for found in seconds)
            print(f"| {name} | {theirs:.2f} | {ours:.2f} | {ours / theirs:.2f} | {half:.2f} | {half / theirs:.2f} |")


if __name__ == "__main__":
    main()
