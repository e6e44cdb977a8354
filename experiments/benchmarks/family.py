"""Score and speed of every variant at its full width on Shapes, from random weights, with the same small budget.

`python experiments/benchmarks/family.py [MODEL ...]` trains the files of experiments/model with
experiments/scale/shapes.yaml, one after the other, then times them and prints a table. Finished runs are not repeated.
The VGG-16 networks, which have no batch norm, get a tenth of the learning rate and crops of 65: with crops of 49, most
taps of fc6 would fall on padding.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml
from rich.console import Console
from rich.progress import track

from deeplab_lightning.commands.describe import build
from deeplab_lightning.losses.cross_entropy import cross_entropy
from deeplab_lightning.models.batch_norm import batch_norms

EXPERIMENTS = Path(__file__).parents[1]
RUNS = Path("runs/family")
TIMED_STEPS = 3
WITHOUT_BATCH_NORM = ["--model.lr", "1.0e-4", "--data.crop_size", "[65, 65]"]


def main(names: list[str]) -> None:
    """Train and time the variants, and print the table."""
    configs = [EXPERIMENTS / "model" / f"{name}.yaml" for name in names]
    configs = configs or sorted((EXPERIMENTS / "model").glob("*.yaml"))
    scores = [train(config) for config in track(configs, "training", console=Console(stderr=True))]
    print("| variant | parameters | mIoU | images/s of one core |\n|---|---|---|---|")
    for config, miou in zip(configs, scores, strict=True):
        parameters = sum(parameter.numel() for parameter in build([config], [], 8).parameters())
        link = f"[{config.stem}](model/{config.name})"
        print(f"| {link} | {parameters:,} | {miou:.3f} | {speed(config):.1f} |", flush=True)


def train(config: Path) -> float:
    """The mIoU on the whole validation split after training."""
    folder = RUNS / config.stem
    scores = folder / "logs" / "fit_0" / "evaluation.json"
    if not scores.is_file():  # written by the only validation, after the last step
        parts = [EXPERIMENTS / "base.yaml", EXPERIMENTS / "data/shapes.yaml", config, EXPERIMENTS / "scale/shapes.yaml"]
        options = [option for part in parts for option in ("-c", str(part))]
        options += ["--trainer.default_root_dir", str(folder), "--wandb.mode", "disabled"]
        if not any(batch_norms(build([config], [], 8))):
            options += WITHOUT_BATCH_NORM
        command = [sys.executable, "-m", "deeplab_lightning", "fit", *options, "--trainer.enable_progress_bar", "false"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for checkpoint in folder.glob("*.ckpt"):  # up to a gigabyte and a half each
            checkpoint.unlink()
    records = json.loads(scores.read_text())
    return float(next(record["value"] for record in records if record["metric"] == "val/miou"))


def speed(config: Path) -> float:
    """Images per second on one core: forward, loss and backward with the crops of scale/shapes.yaml, in float32."""
    torch.set_num_threads(1)
    data = yaml.safe_load((EXPERIMENTS / "scale" / "shapes.yaml").read_text())["data"]["init_args"]
    network = (
        build([config, EXPERIMENTS / "scale" / "shapes.yaml"], [], 8)
        .to_empty(device="cpu")
        .to(memory_format=torch.channels_last)
    )
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    images = torch.randn(data["batch_size"], 3, *data["crop_size"]).to(memory_format=torch.channels_last)
    target = torch.zeros(len(images), *data["crop_size"], dtype=torch.long)
    start = 0.0
    for step in range(1 + TIMED_STEPS):
        if step == 1:  # step 0 is the warm-up
            start = time.process_time()
        loss = cross_entropy(network.train()(images), target)
        torch.autograd.backward(loss)
    return TIMED_STEPS * len(images) / (time.process_time() - start)


if __name__ == "__main__":
    main(sys.argv[1:])
