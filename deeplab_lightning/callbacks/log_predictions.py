"""Panels of image, target, prediction and CRF's prediction, to disk and to Weights & Biases."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from deeplab_lightning.datasets.palette import colorize

CAPTION_HEIGHT = 14
GAP = 4


class LogPredictions(Callback):
    """Draw the first images of every evaluation into `panels/` of the log folder, and log them to Weights & Biases.

    With `CRFEvaluation` before it in the list of callbacks, the panels show its prediction as well.

    Args:
        num_images: how many images.
    """

    def __init__(self, num_images: int = 8) -> None:
        if num_images < 1:
            raise ValueError(f"num_images must be at least 1, got {num_images}")
        self.num_images = num_images
        self._kept: list[tuple[str, dict[str, NDArray[np.uint8]], Future[Any] | None]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask for the log folder while every rank does: the ranks agree on it by a broadcast."""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "panels"

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Keep what will be drawn."""
        self._keep(trainer, outputs, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Keep what will be drawn."""
        self._keep(trainer, outputs, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw."""
        self._draw(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw."""
        self._draw(trainer, pl_module, "test")

    def _keep(self, trainer: Trainer, outputs: Any, batch: Any) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        transform = trainer.datamodule.eval_transform  # type: ignore[attr-defined]
        futures = outputs.get("crf") or [None] * len(batch["image"])
        for index in range(min(len(batch["image"]), self.num_images - len(self._kept))):
            maps = {
                "image": transform.denormalize(batch["image"][index], batch["mask"].shape[-2:]).numpy(),
                "target": batch["mask"][index].byte().cpu().numpy(),
                "prediction": outputs["logits"][index].argmax(0).byte().cpu().numpy(),
            }
            self._kept.append((batch["image_id"][index], maps, futures[index]))

    def _draw(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        kept, self._kept = self._kept, []
        if not kept:
            return
        folder = self._folder / split
        folder.mkdir(parents=True, exist_ok=True)
        for image_id, maps, future in kept:
            if future is not None:
                maps["after CRF"] = future.result()[0]
            panel(maps).save(folder / f"{image_id}.png")
        names = dict(enumerate(pl_module.class_names))  # type: ignore[arg-type]
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _log_to_wandb(logger, split, kept, names)


def panel(maps: dict[str, NDArray[np.uint8]]) -> Image.Image:
    """Tiles side by side under their names: RGB pictures (H, W, 3) as they are, label maps (H, W) in colours."""
    tiles = [Image.fromarray(tile if tile.ndim == 3 else colorize(tile)) for tile in maps.values()]
    width, height = tiles[0].size
    strip = Image.new("RGB", (len(tiles) * (width + GAP) - GAP, height + CAPTION_HEIGHT), "white")
    draw = ImageDraw.Draw(strip)
    for position, (name, tile) in enumerate(zip(maps, tiles, strict=True)):
        draw.text((position * (width + GAP) + 2, 1), name, fill="black")
        strip.paste(tile, (position * (width + GAP), CAPTION_HEIGHT))
    return strip


def _log_to_wandb(logger: WandbLogger, split: str, kept: list[Any], names: dict[int, str]) -> None:
    masks = [
        {
            name.replace(" ", "_"): {"mask_data": mask, "class_labels": names}
            for name, mask in maps.items()
            if name != "image"
        }
        for _, maps, _ in kept
    ]
    images = [maps["image"] for _, maps, _ in kept]
    logger.log_image(f"{split}/panels", images, caption=[image_id for image_id, _, _ in kept], masks=masks)
