"""A module without a network and the loop that evaluates it, for the tests of evaluation callbacks."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from deeplab_lightning.callbacks.evaluation import EvaluationCallback
from deeplab_lightning.crf.refinement import Refiner
from deeplab_lightning.datasets.transforms import EvaluationTransform
from deeplab_lightning.identity import EvaluationIdentity
from deeplab_lightning.metrics import SegmentationScores
from deeplab_lightning.palette import Palette

PALETTE = Palette(("sky", "tree"), ((1, 2, 3), (40, 50, 60)), void=(70, 80, 90))
TRANSFORM = EvaluationTransform((0.5,) * 3, (0.25,) * 3)
Step = tuple[Tensor, dict[str, Any]]
"""The logits of a batch, and the batch."""


def trainer_in(folder: Path, fn: str = "validate", stage: str = "validate") -> Any:
    """A stand-in for a trainer that logs into a folder."""
    return SimpleNamespace(
        log_dir=str(folder),
        state=SimpleNamespace(fn=fn, stage=stage),
        num_devices=1,
        is_global_zero=True,
        global_step=3,
        loggers=[],
        callback_metrics={},
        datamodule=SimpleNamespace(eval_transform=TRANSFORM, palette=PALETTE),
    )


def identity(crf: str | None = None) -> EvaluationIdentity:
    """The identity of every evaluation here."""
    return EvaluationIdentity(
        dataset="shapes",
        split="val",
        labels="masks",
        num_images=2,
        size_policy="whole image",
        output_stride=16,
        align_corners=False,
        scales=(1.0,),
        flip=False,
        precision="32-true",
        weights="of step 3",
        crf=crf,
    )


class EvaluatedModule(nn.Module):
    """The parts of a module that callbacks use; its step returns the given logits."""

    device = torch.device("cpu")

    def __init__(self, trainer: Any, class_names: Sequence[str], crf: str | None = None) -> None:
        super().__init__()
        self.crf = crf
        self.trainer, self.class_names = trainer, list(class_names)
        self.scores = SegmentationScores(class_names)
        self.refiner: Refiner | None = None
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: float, **_: Any) -> None:
        """Keep a number, which nobody else has logged."""
        assert name not in self.logged
        self.logged[name] = value

    def evaluation_identity(self, split: str) -> EvaluationIdentity:
        """Its predictions come of layers that refine, where it has some."""
        return identity(self.crf)

    def step(self, logits: Tensor, batch: dict[str, Any]) -> dict[str, Any]:
        """The outputs of a batch."""
        self.scores.update(logits.argmax(1), batch["mask"])
        outputs: dict[str, Any] = {"loss": torch.zeros(()), "logits": logits}
        if self.refiner is not None:
            images = [TRANSFORM.denormalize(image) for image in batch["image"]]
            outputs["refinement"] = self.refiner(images, logits, batch["image_id"])
        return outputs


def evaluate(callbacks: Sequence[EvaluationCallback], module: Any, steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Call the hooks of callbacks like Lightning, and return the outputs of the steps."""
    trainer, kept = module.trainer, []
    for callback in callbacks:
        callback.setup(trainer, module, "validate")
    for callback in callbacks:
        callback.on_validation_epoch_start(trainer, module)
    for number, (logits, batch) in enumerate(steps):
        outputs = module.step(logits, batch)
        for callback in callbacks:
            callback.on_validation_batch_end(trainer, module, outputs, batch, number)
        kept.append(outputs)
    for callback in callbacks:
        callback.on_validation_epoch_end(trainer, module)
    for callback in callbacks:
        callback.on_validation_end(trainer, module)
    return kept


def noisy_halves(number: int) -> Step:
    """One image with a bright half, and noisy logits that favour the right label of two."""
    generator = torch.Generator().manual_seed(number)
    mask = torch.zeros(1, 24, 32, dtype=torch.int64)
    mask[:, :, 16:] = 1
    pixels = torch.where(mask == 1, 200.0, 60.0)
    image = (pixels / 255 - 0.5) / 0.25
    score = (mask - 0.5) * 1.5 + torch.randn(mask.shape, generator=generator)
    batch = {"image": image.expand(1, 3, -1, -1), "mask": mask, "image_id": [f"image {number}"]}
    return torch.stack([-score, score], 1), batch
