"""The training, evaluation and prediction steps that all DeepLab modules share."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from deeplab_lightning.crf.crf_rnn import CRFRNN
from deeplab_lightning.crf.refinement import Refiner
from deeplab_lightning.crf.settings import Normalization
from deeplab_lightning.identity import EvaluationIdentity
from deeplab_lightning.inference import Inference
from deeplab_lightning.losses.cross_entropy import LossContext
from deeplab_lightning.losses.decimation import decimate
from deeplab_lightning.losses.weighted_sum import WeightedSum
from deeplab_lightning.metrics import SegmentationScores
from deeplab_lightning.models.batch_norm import set_momentum
from deeplab_lightning.models.blocks import prepare_blocks
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.modules.batch_norm_guard import warn_of_batch_norm
from deeplab_lightning.modules.checks import check_crf, check_lengths
from deeplab_lightning.modules.class_weights import AUTO, as_tensor, resolve_class_weights
from deeplab_lightning.modules.describing import describe_module
from deeplab_lightning.modules.evaluation_identity import identity_of
from deeplab_lightning.modules.freezing import freeze, frozen_norms
from deeplab_lightning.modules.image_means import ImageMeans
from deeplab_lightning.modules.optimization import Optimization
from deeplab_lightning.modules.outputs import Outputs, Prediction
from deeplab_lightning.modules.pretrained import load_pretrained, published_name
from deeplab_lightning.modules.ranks import mean_over_ranks
from deeplab_lightning.modules.reloading import ReloadableModule, network_defaults
from deeplab_lightning.modules.start_from import UNTRAINED, check_fits, keep_settings, load_start, origin_of
from deeplab_lightning.modules.trainer_data import datamodule_of
from deeplab_lightning.modules.upsampled_loss import upsampled_loss


class SegmentationModule(ReloadableModule):
    """The base of the DeepLab modules; a subclass implements `configure_network` and has no `__init__` of its own.

    Args:
        num_classes: Number of classes K, background included; on the command line it follows from the data.
        class_names: Names under which IoUs are logged; on the command line they follow from the data.
        optimizer: Either "sgd" with momentum, or "adamw", which takes the momentum as its beta1.
        lr: Learning rate at the start.
        momentum: Momentum of the optimizer.
        weight_decay: Weight decay of convolutions; depthwise convolutions, biases and batch norms have none.
        bias_lr_multiplier: Factor on the learning rate of the biases of convolutions.
        lr_multipliers: Factor on the learning rate by part (backbone, aspp, decoder, classifier); 1 for the others.
        poly_power: Power of the poly schedule, lr * (1 - step / max_steps) ** poly_power; null if step_size is set.
        step_size: Number of steps after which the learning rate falls to a tenth, again and again (v1); null for poly.
        upsample_logits: The loss is computed on logits upsampled to the labels' size (v3, section 4.1); if false, the
            labels are decimated to the logits' grid (v1, v2).
        frozen: Names of the parts that do not train ("backbone", "classifier.0"), batch norm statistics included.
        freeze_batch_norm: Every batch norm keeps its statistics, scale and shift (v2; v3's second stage).
        batch_norm_momentum: Weight of one batch in the running statistics: 1 minus TensorFlow's decay.
        crf_rnn: A dense CRF follows the network as layers, trained by the loss of the refined logits (CRF as RNN).
        crf_normalization: Normalisation of the CRF's messages: "after" filtering, or "symmetric". A checkpoint keeps
            the normalisation with which it was trained.
        start_from: Checkpoint, or name in `deeplab weights list`, from whose weights training starts; a classifier of
            other classes is initialised anew.
        normalization: Normalisation of the images that the pretrained backbone expects: "imagenet" (torchvision's mean
            and standard deviation of RGB), "caffe" (BGR in 0..255 minus the mean: the papers' v1 and v2) or "inception"
            (RGB in -1..1: the TensorFlow release). On the command line the data take it over.
        loss: Weights of the losses to sum: of cross_entropy (alone if not given), hardest_share, below_threshold,
            focal, dice, tversky and lovasz_softmax. A loss's settings stand beside its weight: {dice: 1, focal:
            {weight: 0.5, gamma: 2}}.
        class_weights: Weight of each class's pixels in the losses of pixels; all are equal if not given. "auto" takes
            median frequencies of the training split, as `deeplab data check` prints them; checkpoints keep the numbers.
        recompute_backbone: The backbone's activations are recomputed in the backward pass: less memory, more time.
        compile: The backbone's blocks are compiled by torch.compile, which needs a C++ compiler on a CPU.
        scales: Scales of the images at evaluation, over which probabilities are averaged.
        flip: Evaluation runs every scale on the mirrored image as well.
        window: Size (H, W) of the windows that slide over each image at evaluation; the whole image if not given.
        window_stride: Distances (vertical, horizontal) of these windows; where they overlap, logits are averaged.
        fit_to: Longer and shorter side of the frame that images are scaled into at evaluation; labels keep their size.
        trimap_width: Width in pixels of the band along void borders in which mIoU is logged as well.
        network: Arguments of the network; see the class that `configure_network` returns.

    Raises:
        ValueError: A setting is invalid, alone or together with another.
    """

    network: SegmentationNetwork
    class_weights: Tensor | None
    scored: tuple[int, str] = (-1, "")
    """The step of the weights whose scores were logged last, and the words of the CRF that refined the predictions."""
    refiner: Refiner | None = None
    """The CRF with which evaluation steps refine their predictions; `CRFEvaluation` sets it for each evaluation."""

    def __init__(
        self,
        num_classes: int,
        *,
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
        loss: dict[str, float | dict[str, float]] | None = None,
        class_weights: list[float] | Literal["auto"] | None = None,
        recompute_backbone: bool = False,
        compile: bool = False,  # noqa: A002 (torch's own name)
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window: tuple[int, int] | None = None,
        window_stride: tuple[int, int] | None = None,
        fit_to: tuple[int, int] | None = None,
        trimap_width: int = 3,
        **network: Any,
    ) -> None:
        super().__init__()
        self.network_arguments = network = network_defaults(type(self)) | network  # type: ignore[arg-type]  # a class can be hashed
        self.save_hyperparameters()
        self.class_names = class_names or [str(index) for index in range(num_classes)]
        check_lengths(num_classes, class_names=self.class_names)
        check_crf(crf_rnn, crf_normalization, upsample_logits)
        self.inference = Inference(tuple(scales), flip, window, window_stride, fit_to=fit_to)
        self.frozen, self.freeze_batch_norm, self.start_from = frozen, freeze_batch_norm, start_from
        self.crf = CRFRNN(num_classes, normalization=crf_normalization) if crf_rnn else None
        self.weighs_by_frequency, self.loss = class_weights == AUTO, WeightedSum(loss, class_weights)
        self.register_buffer("class_weights", as_tensor(class_weights, num_classes), persistent=False)
        self.scores, self.upsample_logits = SegmentationScores(self.class_names, trimap_width), upsample_logits
        self.image_means, self.optimization = ImageMeans(), Optimization.of(self.hparams)
        if (named := published_name(self.hparams)) is not None:
            network = network | {"pretrained": False}
        built = self.configure_network(num_classes, **network)  # the command line reads the arguments off this call
        self._set_network(built, named)

    def configure_network(self, num_classes: int, **kwargs: Any) -> SegmentationNetwork:
        """Build the network from its own arguments, whose defaults and descriptions stand in the network's class."""
        raise NotImplementedError

    def _set_network(self, network: SegmentationNetwork, named: str | None) -> None:
        self.network = network
        if named is not None and self.start_from is None:  # a checkpoint has the whole backbone
            load_pretrained(network, named, self.hparams)
        set_momentum(network, self.hparams["batch_norm_momentum"])
        prepare_blocks(network, recompute=self.hparams["recompute_backbone"], compiled=self.hparams["compile"])
        freeze(network, self.frozen, self.freeze_batch_norm)
        self.train()  # puts frozen batch norms into evaluation mode; Lightning keeps the mode that it finds
        self.weights_origin = UNTRAINED
        if self.start_from is not None:
            self.weights_origin = load_start(network, self.start_from, self.hparams)

    def train(self, mode: bool = True) -> Self:
        """Enter training mode, except for frozen batch norms."""
        super().train(mode)
        for layer in frozen_norms(self.network, self.frozen, self.freeze_batch_norm):
            layer.eval()
        return self

    def setup(self, stage: str) -> None:
        """Resolve the class weights; store the network's channels last, fastest in 16 bits, and in 64 bits if asked."""
        resolve_class_weights(self, stage)
        if self.trainer.precision == "64-true":
            self.double()  # Lightning would do so after it has loaded a checkpoint, which loses its last digits
        self.network.to(memory_format=torch.channels_last)

    def on_train_start(self) -> None:
        """Warn if batch norm trains on too few images or for too few steps, a frequent cause of failed trainings."""
        warn_of_batch_norm(self.network, self.trainer, starts_anew=self.start_from is None)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, C, H, W) to logits (B, K, H, W)."""
        logits: Tensor = self.network(images)
        return logits

    def training_loss(self, images: Tensor, target: Tensor) -> Tensor:
        """Return the loss of crops (B, C, H, W) and masks (B, H, W), averaged over all processes' pixels."""
        if self.upsample_logits:
            return self.upsampled_loss(self.network.forward_coarse(images), target)
        logits = self.network.forward_features(images)
        grid = decimate(target, logits.shape[2:], self.network.logits_stride, self.network.grid_offset)
        return self.loss(logits, grid, self.loss_context())

    def upsampled_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits (B, K, h, w) that are upsampled to the size of the masks (B, H, W)."""
        align_corners, context = self.network.align_corners, self.loss_context()
        return upsampled_loss(self.loss, logits, target, align_corners=align_corners, context=context)

    def loss_context(self) -> LossContext:
        """Return the class weights, the processes and the step of the training."""
        return LossContext(self.class_weights, mean_over_ranks, self.global_step)

    def refine(self, logits: Tensor, images: Tensor) -> Tensor:
        """Refine logits (B, K, H, W) by `crf_rnn`, which reads the colours of the normalised images (B, C, H, W)."""
        if self.crf is None:
            return logits
        transform = datamodule_of(self.trainer).eval_transform
        pixels = torch.stack([transform.denormalize(image) for image in images])
        refined: Tensor = self.crf(logits, pixels.to(logits.device))
        return refined

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the loss of one batch of crops, and log its mean over all processes."""
        images, target = batch["image"], batch["mask"]
        if self.crf is None:
            loss = self.training_loss(images, target)
        else:
            loss = self.loss(self.refine(self(images), images), target, self.loss_context())
        self.log("train/loss", mean_over_ranks(loss.detach()))
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Outputs:
        """Score one batch of whole images; the loss of a split is the mean of the losses of its images."""
        with self.image_means.timed(batch["image"]):
            logits = self.evaluation_logits(batch["image"], batch["mask"].shape[-2:])
        losses = self.image_means.losses(logits, batch["mask"])
        self.scores.update(logits.argmax(1), batch["mask"])
        return {"loss": losses.mean(), **self.prediction(logits, batch)}

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> Outputs:
        """Score one batch of whole images of the test split."""
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Prediction:
        """Return the logits (B, K, H, W) of one batch of whole images, and their refinement if there is a refiner."""
        return self.prediction(self.evaluation_logits(batch["image"], batch["mask"].shape[-2:]), batch)

    def prediction(self, logits: Tensor, batch: dict[str, Any]) -> Prediction:
        """Return what callbacks read of a step: its logits (B, K, H, W), and what a CRF makes of them."""
        if self.refiner is None:
            return {"logits": logits}
        transform = datamodule_of(self.trainer).eval_transform
        images = [transform.denormalize(image, logits.shape[-2:]) for image in batch["image"]]
        return {"logits": logits, "refinement": self.refiner(images, logits, batch["image_id"])}

    def evaluation_logits(self, images: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """Return the logits (B, K, *size) of whole images at this module's scales, flip and windows.

        Args:
            images: Normalised images (B, C, H, W), which may be padded at the right and the bottom.
            size: Size of the images without the padding, which `crf_rnn` must not see; their own size if not given.
        """
        logits = self.inference.logits(self.network, images, self.network.align_corners)
        height, width = size or images.shape[-2:]
        return self.refine(logits[..., :height, :width], images[..., :height, :width])

    def on_validation_epoch_start(self) -> None:
        """Reset the scores."""
        self.scores.reset()
        self.image_means.reset()

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole split."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores of the whole split."""
        self._log_scores("test")

    def _log_scores(self, split: str) -> None:
        for name, value in (self.scores.compute(split) | self.image_means.compute(split)).items():
            self.log(str(name), value, sync_dist=True)
        if not self.trainer.sanity_checking:
            self.scored = self.global_step, "" if self.refiner is None else str(self.refiner.crf)

    def evaluation_identity(self, split: str) -> EvaluationIdentity:
        """Return how the scores last logged for "val" or "test" were measured."""
        return identity_of(self, split)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Group the parameters that train by part and kind; see `Optimization.parameter_groups`."""
        return self.optimization.parameter_groups(self._parts())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer, and the schedule that follows each of its steps."""
        return self.optimization.configure(self._parts(), self.trainer.estimated_stepping_batches)

    def _parts(self) -> dict[str, nn.Module]:
        return dict(self.network.named_children()) | ({} if self.crf is None else {"crf": self.crf})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the description of the model, if the data are known."""
        super().on_save_checkpoint(checkpoint)
        checkpoint |= describe_module(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember where the weights come from; a ValueError says that the classes or the network are others."""
        check_fits(checkpoint, self)
        self.weights_origin = origin_of(checkpoint)
        keep_settings(checkpoint, self)
