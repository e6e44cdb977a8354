"""fit, validate, test and predict: LightningCLI with this project's modules, datamodules and defaults."""

import logging
import signal
import warnings
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, RichProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from deeplab_lightning.callbacks.bootstrap_hard_images import BootstrapHardImages
from deeplab_lightning.callbacks.checkpoint import Checkpoint
from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO
from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation
from deeplab_lightning.callbacks.finite_loss import FiniteLoss
from deeplab_lightning.callbacks.global_batch import GlobalBatch
from deeplab_lightning.callbacks.log_predictions import LogPredictions
from deeplab_lightning.callbacks.record_evaluation import RecordEvaluation
from deeplab_lightning.callbacks.record_run import RecordRun
from deeplab_lightning.callbacks.save_logits import SaveLogits
from deeplab_lightning.callbacks.seed_steps import SeedSteps
from deeplab_lightning.callbacks.trimap_evaluation import TrimapEvaluation
from deeplab_lightning.callbacks.write_predictions import WritePredictions
from deeplab_lightning.callbacks.write_submission import WriteSubmission
from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datamodules.coco import COCODataModule
from deeplab_lightning.datamodules.coco_stuff import COCOStuffDataModule
from deeplab_lightning.datamodules.folder import FolderDataModule
from deeplab_lightning.datamodules.shapes import ShapesDataModule
from deeplab_lightning.datamodules.voc import VOCDataModule
from deeplab_lightning.loggers import WandbSettings, build_loggers
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.deeplab_v1 import DeepLabV1Module
from deeplab_lightning.modules.deeplab_v2 import DeepLabV2Module
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from deeplab_lightning.modules.deeplab_v3_cascade import DeepLabV3CascadeModule
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule

# Imported so that their short names work in a config and on the command line.
CALLBACKS = (BootstrapHardImages, CRFEvaluation, LogPredictions, SaveLogits, TrimapEvaluation, WriteSubmission)
DATAMODULES = (COCODataModule, COCOStuffDataModule, FolderDataModule, ShapesDataModule, VOCDataModule)
MODULES = (DeepLabV1Module, DeepLabV2Module, DeepLabV3Module, DeepLabV3CascadeModule, DeepLabV3PlusModule)

TRAINER_DEFAULTS = {"default_root_dir": "runs/default", "use_distributed_sampler": False, "sync_batchnorm": True}

# Warnings that tell the user nothing to act on, each with its reason.
NOISE = (
    ".*isinstance.treespec, LeafSpec.. is deprecated",  # Lightning calls torch by an old name
    ".*does not have many workers",  # the number of workers is a setting
    "Checkpoint directory .* exists and is not empty",  # `Checkpoint` warns where something gets lost
    "Found .* in eval mode at the start of training",  # frozen batch norms are meant to be
    "The dirpath has changed from",  # an evaluation may keep its records elsewhere than the training did
    "You're resuming from a checkpoint that ended before the epoch ended",  # `EpochSampler` goes on within the epoch
    "Precision .* is not supported by the model summary",  # sizes in float32 are what the summary should say
    "The .srun. command is available on your system but is not used",  # one process is what a login node is for
)

logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda line: "litlogger" not in line.getMessage())


class DeepLabCLI(LightningCLI):
    """LightningCLI for one command; the number of classes and their names go from the data to the model."""

    def __init__(self, command: str, options: list[str]) -> None:
        self.command = command
        for message in NOISE:
            warnings.filterwarnings("ignore", message)
        # Lightning 2.6 calls jsonargparse by old names: `instantiate_classes` and `skip_none`
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"lightning\.pytorch\.cli$")
        super().__init__(
            SegmentationModule,
            SegmentationDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            save_config_callback=RecordRun,
            save_config_kwargs={"overwrite": True},
            trainer_defaults=TRAINER_DEFAULTS,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={"prog": "deeplab", "exit_on_error": False, command: {"exit_on_error": False}},
            args=[command, *options],
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # static there; one parser is built, not four
        """The one command that was asked for, with the arguments that this class passes itself."""
        own = {"verbose", "return_predictions", "weights_only"}
        return {self.command: LightningCLI.subcommands()[self.command] | own}

    def fit(self, **kwargs: Any) -> None:
        """Train. Here as below, nothing in a checkpoint is executed."""
        self.trainer.fit(**kwargs, weights_only=True)

    def validate(self, **kwargs: Any) -> None:
        """Validate; `RecordEvaluation` prints the scores with their identity, so Lightning does not."""
        self.trainer.validate(**kwargs, verbose=False, weights_only=True)

    def test(self, **kwargs: Any) -> None:
        """Test; see `validate`."""
        self.trainer.test(**kwargs, verbose=False, weights_only=True)

    def predict(self, **kwargs: Any) -> None:
        """Predict; `WritePredictions` has written what is not kept here."""
        self.trainer.predict(**kwargs, return_predictions=False, weights_only=True)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add checkpoints and W&B, and the links from the data to the model."""
        parser.add_lightning_class_args(Checkpoint, "checkpoint")
        parser.link_arguments("trainer.default_root_dir", "checkpoint.dirpath")
        parser.add_lightning_class_args(FiniteLoss, "finite_loss")
        parser.add_class_arguments(WandbSettings, "wandb")
        parser.link_arguments("model.init_args.normalization", "data.init_args.normalization")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)
        for name in ("num_classes", "class_names"):
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, without Lightning's warning about arguments given from Python."""
        assert isinstance(args, list)
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Keep the settings that were given: Lightning would put the checkpoint's in their place."""

    def before_instantiate_classes(self) -> None:
        """Look at the checkpoint first; leave ImageNet weights alone where it will replace them."""
        config = self.config[self.command]
        if not config.ckpt_path:
            return
        last = Path(config.trainer.default_root_dir) / "last.ckpt"
        checkpoint = last if config.ckpt_path == "last" else Path(config.ckpt_path)
        if not checkpoint.is_file():
            if checkpoint == last and self.command == "fit":
                return  # Lightning says so and starts from step 0, as the first start of a job that resumes itself must
            raise FileNotFoundError(f"{checkpoint}: no such checkpoint")
        if not is_zipfile(checkpoint):
            raise ValueError(f"{checkpoint}: it is not a checkpoint, or a truncated one")
        config.model.init_args.pretrained, config.model.init_args.start_from = False, None

    def after_instantiate_classes(self) -> None:
        """Refuse a number of classes, or names, set by hand that are not the data's; the data's would win silently."""
        for name in ("num_classes", "class_names"):
            given, own = self.config[self.command].model.init_args.get(name), getattr(self.datamodule, name)
            if given not in (None, own):
                raise ValueError(
                    f"{name} follows from the data: {self.datamodule.dataset_name} has {own}, "
                    f"but model.{name} is set to {given}; leave it out"
                )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer with this project's loggers and callbacks; the CRF comes first, for others read its results."""
        trainer = self._get(self.config_init, "trainer")
        callbacks: list[Callback] = list(trainer.callbacks or [])
        if trainer.enable_progress_bar is not False:
            callbacks.append(RichProgressBar())
        if trainer.logger in (None, True):
            wandb = self._get(self.config_init, "wandb")
            kwargs["logger"] = build_loggers(Path(trainer.default_root_dir), self.command, wandb)
            callbacks.append(LearningRateMonitor("step"))
        callbacks += [GlobalBatch(trainer.sync_batchnorm), RecordEvaluation(), WritePredictions(), SeedSteps()]
        kwargs["sync_batchnorm"] = False  # Lightning would share statistics on processors too, where torch cannot
        callbacks.sort(key=lambda callback: not isinstance(callback, CRFEvaluation))
        kwargs["plugins"] = [*(trainer.plugins or []), AtomicCheckpointIO()]
        return super().instantiate_trainer(callbacks=callbacks, **kwargs)


def run(command: str, options: list[str]) -> int:
    """Run one of the four commands; SIGTERM ends it with status 143, a training that has begun once it has saved."""
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        DeepLabCLI(command, options)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _terminate(number: int, *_: object) -> None:
    """Lightning by itself would end with status 0, and of a prediction not before its end."""
    raise SystemExit(128 + number)
