"""The training, evaluation and prediction steps, written once for every DeepLab."""

import time
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from deeplab_lightning.identity import EvaluationIdentity
from deeplab_lightning.inference import multi_scale_logits
from deeplab_lightning.losses import cross_entropy
from deeplab_lightning.metrics import SegmentationScores
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.schedules import poly


class Outputs(TypedDict):
    """What an evaluation step returns: the loss, and logits (B, K, H, W) at the images' size."""

    loss: Tensor
    logits: Tensor


class SegmentationModule(LightningModule):
    """Base of the DeepLab modules; a subclass builds `self.network`.

    Args:
        num_classes: K, background included; from the command line it follows from the data.
        class_names: by which IoUs are logged; from the command line they follow from the data.
        optimizer: "sgd" with momentum, or "adamw", which takes the momentum as its beta1.
        lr: learning rate at the start.
        momentum: of the optimizer.
        weight_decay: on the weights of convolutions; depthwise ones, biases and batch norms have none.
        bias_lr_multiplier: on the learning rate of the biases of convolutions.
        lr_multipliers: on the learning rate of a part (backbone, aspp, decoder, classifier); 1 for parts not named.
        poly_power: the rate falls as (1 - step / max_steps) ** poly_power.
        class_weights: weight of each class's pixels in the loss; equal when not given.
        scales: of the images at evaluation; probabilities are averaged over them.
        flip: at evaluation, run every scale mirrored as well.
        trimap_width: width in pixels of the band along void borders in which mIoU is logged as well.
    """

    network: SegmentationNetwork

    def __init__(
        self,
        num_classes: int,
        class_names: list[str] | None = None,
        optimizer: Literal["sgd", "adamw"] = "sgd",
        lr: float = 0.007,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        bias_lr_multiplier: float = 1.0,
        lr_multipliers: dict[str, float] | None = None,
        poly_power: float = 0.9,
        class_weights: list[float] | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        trimap_width: int = 3,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        class_names = class_names or [str(index) for index in range(num_classes)]
        if len(class_names) != num_classes:
            raise ValueError(f"num_classes is {num_classes}, but there are {len(class_names)} class_names")
        if class_weights is not None and len(class_weights) != num_classes:
            raise ValueError(f"num_classes is {num_classes}, but there are {len(class_weights)} class_weights")
        if optimizer not in ("sgd", "adamw"):
            raise ValueError(f"optimizer must be 'sgd' or 'adamw', got {optimizer!r}")
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales must hold at least one scale, all above 0, got {tuple(scales)}")
        self.class_names, self.scales, self.flip = class_names, tuple(scales), flip
        self.optimizer_name, self.lr, self.momentum, self.weight_decay = optimizer, lr, momentum, weight_decay
        self.bias_lr_multiplier, self.lr_multipliers, self.poly_power = (
            bias_lr_multiplier,
            lr_multipliers or {},
            poly_power,
        )
        self.class_weights: Tensor | None
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)
        self.scores = SegmentationScores(class_names, trimap_width)
        self.weights_origin = "random, not trained"

    def setup(self, stage: str) -> None:
        """Lay the weights out channels last, which convolutions in bfloat16 and float16 are fastest with."""
        self.network.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to logits (B, K, H, W)."""
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Cross entropy of one batch of crops."""
        loss = cross_entropy(self(batch["image"]), batch["mask"], self.class_weights)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Outputs:
        """Score one batch of whole images of the validation split."""
        return self._evaluation_step(batch, "val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> Outputs:
        """Score one batch of whole images of the test split."""
        return self._evaluation_step(batch, "test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Class indices (B, H, W) of one batch of whole images."""
        return self.evaluation_logits(batch["image"]).argmax(1)

    def evaluation_logits(self, images: Tensor) -> Tensor:
        """Logits (B, K, H, W) of whole images with this module's evaluation scales and flip."""
        return multi_scale_logits(self.network, images, self.scales, self.flip, self.network.align_corners)

    def _evaluation_step(self, batch: dict[str, Any], split: str) -> Outputs:
        start = self._clock()
        logits = self.evaluation_logits(batch["image"])
        self._seconds += self._clock() - start
        self._own_images += len(logits)
        loss = cross_entropy(logits, batch["mask"])
        self.scores.update(logits.argmax(1), batch["mask"])
        self.log(f"{split}/loss", loss, batch_size=len(logits), on_epoch=True, sync_dist=True)
        return {"loss": loss, "logits": logits}

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def on_validation_epoch_start(self) -> None:
        """Start the scores anew."""
        self._start_scores()

    def on_test_epoch_start(self) -> None:
        """Start the scores anew."""
        self._start_scores()

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole split."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores of the whole split."""
        self._log_scores("test")

    def _start_scores(self) -> None:
        self.scores.reset()
        self._seconds, self._own_images = 0.0, 0

    def _log_scores(self, split: str) -> None:
        for name, value in self.scores.compute().items():
            self.log(f"{split}/{name}", value, prog_bar=name == "miou", sync_dist=True)
        self.log(f"{split}/seconds_per_image", self._seconds / max(1, self._own_images), sync_dist=True)

    def evaluation_identity(self, split: str) -> EvaluationIdentity:
        """How the scores last logged for split "val" or "test" were measured."""
        return EvaluationIdentity(
            **self.trainer.datamodule.identity(split),  # type: ignore[attr-defined]
            num_images=self.scores.num_images,
            output_stride=self.network.output_stride,
            align_corners=self.network.align_corners,
            scales=self.scales,
            flip=self.flip,
            precision=str(self.trainer.precision),
            weights=f"of step {self.global_step}" if self.trainer.state.fn == "fit" else self.weights_origin,
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Every parameter once, grouped by part and kind: weights, depthwise weights, biases of convolutions, norms.

        Raises:
            ValueError: `lr_multipliers` names a part that the network does not have.
        """
        parts = {name: part for name, part in self.network.named_children() if any(True for _ in part.parameters())}
        if unknown := set(self.lr_multipliers) - set(parts):
            raise ValueError(
                f"lr_multipliers names {sorted(unknown)}, but the parts of the network are {sorted(parts)}"
            )
        groups: list[dict[str, Any]] = []
        for name, part in parts.items():
            lr = self.lr * self.lr_multipliers.get(name, 1.0)
            kinds: dict[str, list[nn.Parameter]] = {}
            for layer in part.modules():
                for parameter in layer.parameters(recurse=False):
                    kinds.setdefault(_kind(layer, parameter), []).append(parameter)
            groups += [
                {
                    "name": f"{name}/{kind}",
                    "params": parameters,
                    "lr": lr * (self.bias_lr_multiplier if kind == "biases" else 1.0),
                    "weight_decay": self.weight_decay if kind == "weights" else 0.0,
                }
                for kind, parameters in kinds.items()
            ]
        return groups

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer, and the poly schedule stepped after every optimizer step."""
        max_steps = self.trainer.estimated_stepping_batches
        if max_steps == float("inf"):
            raise ValueError("the poly schedule needs an end: set trainer.max_steps or trainer.max_epochs")
        groups = self.parameter_groups()
        optimizer: Optimizer
        if self.optimizer_name == "sgd":
            optimizer = SGD(groups, self.lr, self.momentum, fused=True)
        else:
            optimizer = AdamW(groups, self.lr, (self.momentum, 0.999), fused=True)
        schedule = LambdaLR(optimizer, lambda step: poly(step, int(max_steps), self.poly_power))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let a checkpoint reload without the ImageNet weights that it replaces."""
        checkpoint["hyper_parameters"]["pretrained"] = False

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember where the weights come from.

        Raises:
            ValueError: the checkpoint is of another number of classes or of another network.
        """
        theirs, own = checkpoint.get("hyper_parameters", {}), self.hparams
        num_classes = theirs.get("num_classes", own["num_classes"])
        if num_classes != own["num_classes"]:
            raise ValueError(
                f"the checkpoint was trained for {num_classes} classes, but the data has {own['num_classes']}"
            )
        shapes = {key: value.shape for key, value in checkpoint.get("state_dict", {}).items()}
        own_shapes = {key: value.shape for key, value in self.state_dict().items()}
        if shapes != own_shapes:
            wrong = [key for key in own_shapes | shapes if shapes.get(key) != own_shapes.get(key)]
            settings = [f"{key} {theirs[key]} there, {own[key]} here" for key in theirs if own.get(key) != theirs[key]]
            raise ValueError(
                f"the checkpoint is of another network: {len(wrong)} tensors differ, the first is {wrong[0]}; "
                f"settings that differ: {'; '.join(settings) or 'none'}"
            )
        self.weights_origin = f"of step {checkpoint['global_step']}"


def _kind(layer: nn.Module, parameter: nn.Parameter) -> str:
    """Decayed "weights", "depthwise" weights, "biases" of convolutions, or "norms"."""
    if parameter.ndim > 1:
        return "depthwise" if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1 else "weights"
    return "biases" if isinstance(layer, nn.Conv2d | nn.Linear) else "norms"
