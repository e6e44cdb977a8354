"""The training, evaluation and prediction steps, written once for every DeepLab."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from deeplab_lightning.crf.crf_rnn import CRFRNN
from deeplab_lightning.crf.refinement import Refiner
from deeplab_lightning.crf.settings import NORMALIZATION_WORDS, Normalization
from deeplab_lightning.identity import EvaluationIdentity
from deeplab_lightning.inference import multi_scale_logits
from deeplab_lightning.losses import cross_entropy, decimate
from deeplab_lightning.metrics import ImageMean, SegmentationScores
from deeplab_lightning.models.batch_norm import batch_norms, set_momentum
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.modules.batch_norm_guard import warn_of_batch_norm
from deeplab_lightning.modules.optimization import parameter_groups, rate_factor
from deeplab_lightning.modules.outputs import Outputs, Prediction
from deeplab_lightning.modules.ranks import mean_over_ranks
from deeplab_lightning.modules.reloading import ReloadableModule
from deeplab_lightning.modules.start_from import UNTRAINED, check_fits, start_from
from deeplab_lightning.scores import ScoreName


class SegmentationModule(ReloadableModule):
    """Base of the DeepLab modules; a subclass calls `set_network` with its network.

    Args:
        num_classes: K, background included; from the command line it follows from the data.
        class_names: by which IoUs are logged; from the command line they follow from the data.
        optimizer: "sgd" with momentum, or "adamw", which takes the momentum as its beta1.
        lr: learning rate at the start.
        momentum: of the optimizer.
        weight_decay: on the weights of convolutions; depthwise ones, biases and batch norms have none.
        bias_lr_multiplier: on the learning rate of the biases of convolutions.
        lr_multipliers: on the learning rate of a part (backbone, aspp, decoder, classifier); 1 for parts not named.
        poly_power: the rate falls as (1 - step / max_steps) ** poly_power; null with a step_size.
        step_size: the rate falls to a tenth every so many steps instead (v1).
        upsample_logits: compare logits at the labels' size (v3, section 4.1); if not, labels are decimated to the
            logits' grid (v1, v2).
        frozen: parts that do not train, by name ("backbone", "classifier.0"); their batch norms keep their statistics.
        freeze_batch_norm: keep every batch norm as it is, statistics, scale and shift (v2; v3's second stage).
        batch_norm_momentum: by how much one batch moves the running statistics: 1 minus TensorFlow's decay.
        crf_rnn: refine the logits by a dense CRF as layers, trained on the refined logits' loss (CRF as RNN).
        crf_normalization: of its messages, "after" filtering or "symmetric"; a checkpoint keeps the one it has.
        start_from: checkpoint of a run whose weights are the start; a classifier of other classes starts anew.
        normalization: what the pretrained backbone was trained on: "imagenet" (RGB in 0..1, less the mean, over the
            deviation: torchvision, timm's ResNets), "caffe" (BGR in 0..255 less the mean: the papers' v1 and v2) or
            "inception" (RGB in -1..1: Xception, MobileNet and "beta" ResNets of the TensorFlow release). The data
            follow it.
        class_weights: weight of each class's pixels in the loss; equal when not given.
        scales: of the images at evaluation; probabilities are averaged over them.
        flip: at evaluation, run every scale mirrored as well.
        trimap_width: width in pixels of the band along void borders in which mIoU is logged as well.
    """

    network: SegmentationNetwork
    refiner: Refiner | None = None
    """The CRF that evaluation steps refine their predictions by; `CRFEvaluation` sets it for each evaluation."""

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
        poly_power: float | None = 0.9,
        step_size: int | None = None,
        upsample_logits: bool = True,
        frozen: Sequence[str] = (),
        freeze_batch_norm: bool = False,
        batch_norm_momentum: float = 0.1,
        crf_rnn: bool = False,
        crf_normalization: Normalization = "after",
        start_from: str | None = None,
        normalization: Literal["imagenet", "caffe", "inception"] = "imagenet",
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
        if (poly_power is None) == (step_size is None):
            raise ValueError(f"set poly_power or step_size, the other null; got {poly_power} and {step_size}")
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales must hold at least one scale, all above 0, got {tuple(scales)}")
        self.class_names, self.scales, self.flip = class_names, tuple(scales), flip
        self.optimizer_name, self.lr, self.momentum, self.weight_decay = optimizer, lr, momentum, weight_decay
        self.bias_lr_multiplier, self.lr_multipliers = bias_lr_multiplier, lr_multipliers or {}
        self.poly_power, self.step_size, self.upsample_logits = poly_power, step_size, upsample_logits
        self.frozen, self.freeze_batch_norm, self.batch_norm_momentum = frozen, freeze_batch_norm, batch_norm_momentum
        if crf_rnn and not upsample_logits:
            raise ValueError("crf_rnn refines logits at the images' size; set upsample_logits to true")
        if not crf_rnn and crf_normalization != "after":
            raise ValueError(f"crf_normalization {crf_normalization!r} does nothing without crf_rnn; set that to true")
        self.start_from = start_from
        self.crf = CRFRNN(num_classes, normalization=crf_normalization) if crf_rnn else None
        self.class_weights: Tensor | None
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)
        self.scores = SegmentationScores(class_names, trimap_width)
        self.image_loss, self.image_seconds = ImageMean(), ImageMean()
        self.weights_origin = UNTRAINED

    def set_network(self, network: SegmentationNetwork) -> None:
        """Take the network: its start, its batch norm momentum, and what of it is frozen.

        Raises:
            ValueError: a part to freeze does not exist, or there is no batch norm to freeze.
        """
        self.network = network
        set_momentum(network, self.batch_norm_momentum)
        if self.freeze_batch_norm and not any(True for _ in batch_norms(network)):
            raise ValueError(f"freeze_batch_norm: {type(network).__name__} has no batch norm here")
        names = {name for name, _ in network.named_modules()}
        if unknown := sorted(set(self.frozen) - names):
            raise ValueError(f"frozen names {unknown}, but the network's parts are {[*dict(network.named_children())]}")
        if self.start_from is not None:
            self.weights_origin = start_from(network, self.start_from, self.hparams)
        for part in (*map(network.get_submodule, self.frozen), *self._frozen_norms()):
            part.requires_grad_(False)
        self.train(self.training)  # Lightning keeps the mode that it finds

    def train(self, mode: bool = True) -> Self:
        """Enter training mode, frozen batch norms excepted."""
        super().train(mode)
        for layer in self._frozen_norms():
            layer.eval()
        return self

    def _frozen_norms(self) -> Iterator[nn.Module]:
        parts = [self.network] if self.freeze_batch_norm else [self.network.get_submodule(name) for name in self.frozen]
        return (layer for part in parts for layer in batch_norms(part))

    def setup(self, stage: str) -> None:
        """Lay the weights out channels last, which convolutions in bfloat16 and float16 are fastest with."""
        self.network.to(memory_format=torch.channels_last)

    def on_train_start(self) -> None:
        """Warn where batch norm trains on too few images or for too few steps, as many failures begin."""
        warn_of_batch_norm(self.network, self.trainer, starts_anew=self.start_from is None)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to logits (B, K, H, W)."""
        logits: Tensor = self.network(images)
        return logits

    def training_loss(self, images: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of crops (B, 3, H, W) and masks (B, H, W), over the pixels of all processes' batches."""
        if self.upsample_logits:
            return cross_entropy(self(images), target, self.class_weights, mean_over_ranks)
        logits = self.network.forward_features(images)
        grid = decimate(target, logits.shape[2:], self.network.logits_stride, self.network.grid_offset)
        return cross_entropy(logits, grid, self.class_weights, mean_over_ranks)

    def refine(self, logits: Tensor, images: Tensor) -> Tensor:
        """Logits (B, K, H, W) after `crf_rnn`, which sees the pixels of the normalised images (B, 3, H, W)."""
        if self.crf is None:
            return logits
        transform = self.trainer.datamodule.eval_transform  # type: ignore[attr-defined]
        pixels = torch.stack([transform.denormalize(image) for image in images])
        refined: Tensor = self.crf(logits, pixels.to(logits.device))
        return refined

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The loss of one batch of crops; logged is that of the batch over all processes."""
        images, target = batch["image"], batch["mask"]
        if self.crf is None:
            loss = self.training_loss(images, target)
        else:
            loss = cross_entropy(self.refine(self(images), images), target, self.class_weights, mean_over_ranks)
        self.log("train/loss", mean_over_ranks(loss.detach()))
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Outputs:
        """Score one batch of whole images; a split's loss is the mean over its images of the loss of each."""
        start = self._clock()
        logits = self.evaluation_logits(batch["image"], batch["mask"].shape[-2:])
        self.image_seconds.update((self._clock() - start) / len(logits), len(logits))
        images = zip(logits, batch["mask"], strict=True)
        losses = torch.stack([cross_entropy(own[None], target[None]) for own, target in images])
        self.image_loss.update(losses)
        self.scores.update(logits.argmax(1), batch["mask"])
        return {"loss": losses.mean(), **self._prediction(logits, batch)}

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> Outputs:
        """Score one batch of whole images of the test split."""
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Prediction:
        """The logits (B, K, H, W) of one batch of whole images, refined where a CRF refines."""
        return self._prediction(self.evaluation_logits(batch["image"], batch["mask"].shape[-2:]), batch)

    def _prediction(self, logits: Tensor, batch: dict[str, Any]) -> Prediction:
        if self.refiner is None:
            return {"logits": logits}
        transform = self.trainer.datamodule.eval_transform  # type: ignore[attr-defined]
        images = [transform.denormalize(image, logits.shape[-2:]) for image in batch["image"]]
        return {"logits": logits, "refinement": self.refiner(images, logits, batch["image_id"])}

    def evaluation_logits(self, images: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """Logits (B, K, *size) of whole images with this module's evaluation scales and flip.

        Args:
            images: (B, 3, H, W), normalised, maybe padded at the right and the bottom.
            size: of the images without what the data padded, their own if not given; `crf_rnn` sees no more.
        """
        logits = multi_scale_logits(self.network, images, self.scales, self.flip, self.network.align_corners)
        height, width = size or images.shape[-2:]
        return self.refine(logits[..., :height, :width], images[..., :height, :width])

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def on_validation_epoch_start(self) -> None:
        """Start the scores anew."""
        for metric in (self.scores, self.image_loss, self.image_seconds):
            metric.reset()

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole split."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores of the whole split."""
        self._log_scores("test")

    def _log_scores(self, split: str) -> None:
        scores = self.scores.compute(split)
        scores[ScoreName(split, "loss")] = float(self.image_loss.compute())
        scores[ScoreName(split, "seconds_per_image")] = float(self.image_seconds.compute())
        for name, value in scores.items():
            self.log(str(name), value, sync_dist=True)

    def evaluation_identity(self, split: str) -> EvaluationIdentity:
        """How the scores last logged for "val" or "test" were measured."""
        return EvaluationIdentity(
            **self.trainer.datamodule.identity(split),  # type: ignore[attr-defined]
            num_images=self.scores.num_images,
            output_stride=self.network.output_stride,
            align_corners=self.network.align_corners,
            scales=self.scales,
            flip=self.flip,
            precision=str(self.trainer.precision),
            crf=None if self.crf is None else f"as layers, trained, {NORMALIZATION_WORDS[self.crf.normalization]}",
            weights=f"of step {self.global_step}" if self.trainer.state.fn == "fit" else self.weights_origin,
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Every parameter that trains once, by part and kind; see `optimization.parameter_groups`."""
        parts = dict(self.network.named_children()) | ({} if self.crf is None else {"crf": self.crf})
        return parameter_groups(parts, self.lr, self.weight_decay, self.bias_lr_multiplier, self.lr_multipliers)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer, and the schedule stepped after every optimizer step."""
        groups = self.parameter_groups()
        optimizer: Optimizer
        if self.optimizer_name == "sgd":
            optimizer = SGD(groups, self.lr, self.momentum, fused=True)
        else:
            optimizer = AdamW(groups, self.lr, (self.momentum, 0.999), fused=True)
        factor = rate_factor(self.trainer.estimated_stepping_batches, self.poly_power, self.step_size)
        schedule = LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let a checkpoint name this class, and reload without the weights that it replaces."""
        checkpoint["module"] = type(self).__name__
        checkpoint["hyper_parameters"] |= {"pretrained": False, "start_from": None}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember where the weights come from; refuse those of other classes or another network with a ValueError."""
        check_fits(checkpoint, self)
        self.weights_origin = f"of step {checkpoint['global_step']}"
        if self.crf is not None:  # checkpoints from before this setting were trained with the symmetric one
            trained_with = checkpoint["hyper_parameters"].get("crf_normalization", "symmetric")
            self.crf.normalization = self.hparams["crf_normalization"] = trained_with
