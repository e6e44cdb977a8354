"""The commands fit, validate, test and predict: LightningCLI with this project's modules, datamodules and defaults."""

import logging
import signal
import warnings
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from deeplab_lightning.callbacks.checkpoint import Checkpoint
from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO
from deeplab_lightning.callbacks.finite_loss import FiniteLoss
from deeplab_lightning.callbacks.global_batch import GlobalBatch
from deeplab_lightning.callbacks.heartbeat import Heartbeat
from deeplab_lightning.callbacks.lock_run import LockRun
from deeplab_lightning.callbacks.parameter_summary import ParameterSummary
from deeplab_lightning.callbacks.record_evaluation import RecordEvaluation
from deeplab_lightning.callbacks.record_run import RecordRun
from deeplab_lightning.callbacks.run_progress import RunProgress
from deeplab_lightning.callbacks.seed_steps import SeedSteps
from deeplab_lightning.callbacks.write_predictions import WritePredictions
from deeplab_lightning.callbacks.write_submission import WriteSubmission
from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.lightning_internals import LightningCLIWithGivenSettings
from deeplab_lightning.loggers import WandbSettings, build_loggers
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.start_from import UNTRAINED
from deeplab_lightning.published.catalogue import resolve
from deeplab_lightning.run_folder import RunFolder
from deeplab_lightning.settings.classes import TRAINER_DEFAULTS, slots
from deeplab_lightning.settings.given import CONFIG, check_models, expand_homes, given_by
from deeplab_lightning.settings.known import Known
from deeplab_lightning.settings.parameters import FROM_DATA, UNSET, instantiate, types_of
from deeplab_lightning.usage import Ended, UsageError

NOISE = (
    ".*isinstance.treespec, LeafSpec.. is deprecated",  # Lightning uses a deprecated name of torch
    ".*does not have many workers",  # the user chooses the number of workers
    "Checkpoint directory .* exists and is not empty",  # `Checkpoint` warns if a file would be overwritten
    "Found .* in eval mode at the start of training",  # frozen batch norms are in eval mode on purpose
    "You're resuming from a checkpoint that ended before the epoch ended",  # `EpochSampler` resumes within the epoch
    ".* is set, but there is no last checkpoint available",  # `before_instantiate_classes` prints a message of its own
    "Precision .* is not supported by the model summary",  # the summary is meant to show sizes in float32
    "You're using the WeightAveraging callback, but loading",  # outside of `fit`, whose checkpoints hold the averages
    "The .srun. command is available on your system but is not used",  # a single process needs no srun
)
"""Warnings that do not require any action by the user, each with the reason."""

COUNTS = ("check_val_every_n_epoch", "max_epochs", "max_steps", "val_check_interval")
"""Settings of the trainer that must not be 0, although Lightning accepts it."""

LIMITS = {
    "fit": "limit_train_batches",
    "validate": "limit_val_batches",
    "test": "limit_test_batches",
    "predict": "limit_predict_batches",
}
"""The setting of the trainer that limits the batches of each command; 0 would leave it nothing to do."""

SEEDS = 1 << 32
"""The number of seeds that NumPy accepts."""

STRICT = {"exit_on_error": False, "allow_abbrev": False}
"""Arguments for a parser that raises errors and does not accept abbreviated options."""

UNTRAINED_HELP = "Allow a run without --ckpt_path, on the weights that the model starts with."

logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda line: "litlogger" not in line.getMessage())


class DeepLabCLI(LightningCLIWithGivenSettings):
    """LightningCLI for one command. The model takes the number and the names of the classes from the data.

    Args:
        command: The command: "fit", "validate", "test" or "predict".
        options: The words of the command line that follow the command.
    """

    def __init__(self, command: str, options: list[str]) -> None:
        self.command = command
        for message in NOISE:
            warnings.filterwarnings("ignore", message)
        # Lightning 2.6 uses a deprecated argument of jsonargparse: `skip_none`.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"lightning\.pytorch\.cli$")
        super().__init__(
            SegmentationModule,
            SegmentationDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            save_config_callback=RecordRun,
            save_config_kwargs={"save_to_log_dir": False},  # `RecordRun` writes the file
            trainer_defaults=TRAINER_DEFAULTS,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={"prog": "deeplab", **STRICT, command: STRICT},
            args=[command, *_with_run_folders(options)],
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # static in the base class
        """The requested command alone, so that one parser is built instead of four, and the arguments to leave out."""
        own = {"verbose", "return_predictions", "weights_only"}
        return {self.command: LightningCLI.subcommands()[self.command] | own}

    def fit(self, **kwargs: Any) -> None:
        """Train, with the run folder locked. No command executes code from a checkpoint (`weights_only`)."""
        with self._lock.held(self.trainer, kwargs.get("ckpt_path")):
            self.trainer.fit(**kwargs, weights_only=True)

    def validate(self, **kwargs: Any) -> None:
        """Validate. `RecordEvaluation` prints the scores with their identity in place of Lightning."""
        self.trainer.validate(**kwargs, verbose=False, weights_only=True)

    def test(self, **kwargs: Any) -> None:
        """Test. `RecordEvaluation` prints the scores, like for `validate`."""
        self.trainer.test(**kwargs, verbose=False, weights_only=True)

    def predict(self, **kwargs: Any) -> None:
        """Predict. Label maps are not kept in memory, because `WritePredictions` writes them to disk."""
        self.trainer.predict(**kwargs, return_predictions=False, weights_only=True)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of checkpoints, finite_loss, heartbeat and W&B, and the links between data and model."""
        self._own_parser = parser
        if self.command != "fit":
            parser.add_argument("--untrained", type=bool, default=False, help=UNTRAINED_HELP)
        parser.add_lightning_class_args(Checkpoint, "checkpoint")
        parser.link_arguments("trainer.default_root_dir", "checkpoint.dirpath")
        parser.add_lightning_class_args(FiniteLoss, "finite_loss")
        parser.add_lightning_class_args(Heartbeat, "heartbeat")
        parser.add_class_arguments(WandbSettings, "wandb")
        parser.link_arguments("model.init_args.normalization", "data.init_args.normalization")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)
        for name in FROM_DATA:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the options. Lightning's own method would warn, because it gets the options from Python.

        Raises:
            UsageError: A setting or a value is wrong.
        """
        assert isinstance(args, list)
        given = given_by(args[1:])
        check_models(given)
        with Known(types_of(self._own_parser), slots()).explain(given):
            self.config = parser.parse_args(args)
        expand_homes(self.config)
        seed = self.config[self.command].seed_everything
        if not 0 <= seed < SEEDS:
            raise UsageError(f"seed_everything must be a whole number from 0 to {SEEDS - 1}, got {seed}")

    def before_instantiate_classes(self) -> None:
        """Find the checkpoint. If there is one, the settings for other initial weights are reset.

        Raises:
            UsageError: The command would run on untrained weights, or a count is 0.
            FileNotFoundError: There is no such checkpoint.
        """
        config = self.config[self.command]
        counts = (*COUNTS, LIMITS[self.command])
        if zero := [name for name in counts if config.trainer[name] == 0]:
            raise UsageError(f"trainer.{zero[0]} must not be 0")
        if config.trainer.accumulate_grad_batches < 1:
            raise UsageError(
                f"trainer.accumulate_grad_batches must be at least 1; got {config.trainer.accumulate_grad_batches}"
            )
        if config.ckpt_path == "":
            raise UsageError("--ckpt_path is empty; name a checkpoint, or leave the option out")
        self._untrained = config.pop("untrained", False)  # not part of the saved config, which `fit` must accept
        self._given = config.clone()
        if not config.ckpt_path:
            if not config.model.init_args.start_from:
                self._refuse_untrained()
            return
        if self._untrained:
            raise UsageError("--untrained true and --ckpt_path exclude each other; leave out one of them")
        folder = RunFolder(Path(config.trainer.default_root_dir))
        if config.ckpt_path == "best":
            config.ckpt_path = str(folder.best)
        config.ckpt_path = resolve(config.ckpt_path)
        checkpoint = folder.last if config.ckpt_path == "last" else Path(config.ckpt_path)
        if not checkpoint.is_file():
            if checkpoint != folder.last or self.command != "fit":
                raise FileNotFoundError(f"{checkpoint}: no such checkpoint")
            others = [path for path in (folder.previous, folder.best) if path.is_file()]
            if not others:
                rank_zero_info(f"there is no {checkpoint} yet: the training starts from step 0")
                return  # not an error: a job that always passes `--ckpt_path last` starts here
            config.ckpt_path = str(others[0])  # the training was killed before it had written last.ckpt
            rank_zero_warn(f"there is no {checkpoint}; the training resumes from {config.ckpt_path}")
        config.model.init_args.pretrained, config.model.init_args.start_from = False, None

    def _refuse_untrained(self) -> None:
        if self.command != "fit" and not self._untrained:
            way_out = "add --ckpt_path, or --untrained true if that is intended"
            raise UsageError(f"{self.command} would run on untrained weights; {way_out}")

    def instantiate_classes(self) -> None:
        """Build the data, the model and the trainer. Errors of their constructors are not wrapped."""
        self.config_init = instantiate(self.parser, self.config)
        built = self.config_init[self.command]
        self.datamodule, self.model = built.data, built.model
        self.trainer = self.instantiate_trainer()

    def after_instantiate_classes(self) -> None:
        """Check that the weights are trained, except for `fit`, and that the classes are those of the data.

        Raises:
            UsageError: The command would run on weights that are untrained, in whole or in part.
            ValueError: The model's settings name other classes than the data have.
        """
        if not self.config[self.command].ckpt_path and self.model.weights_origin == UNTRAINED:
            self._refuse_untrained()
        for name in FROM_DATA:
            given, own = self.config[self.command].model.init_args.get(name), getattr(self.datamodule, name)
            if given not in (UNSET[name], own):
                raise ValueError(
                    f"{name} follows from the data: {self.datamodule.dataset_name} has {own}, "
                    f"but model.{name} is set to {given}; leave it out"
                )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with this project's loggers and callbacks.

        Raises:
            UsageError: Lightning refuses the trainer's settings.
        """
        # The record holds the settings as given, before a checkpoint changed them, so that it can start a new run.
        self.config[self.command] = self._given
        trainer = self.config_init[self.command].trainer
        callbacks: list[Callback] = list(trainer.callbacks or [])
        if trainer.enable_progress_bar is not False:
            callbacks.append(RunProgress())
        if trainer.enable_model_summary is not False:
            callbacks.append(ParameterSummary())
            kwargs["enable_model_summary"] = False  # `ParameterSummary` replaces Lightning's summary
        if trainer.logger in (None, True):
            wandb = self.config_init[self.command].wandb
            submits = any(isinstance(callback, WriteSubmission) for callback in callbacks)
            kwargs["logger"] = build_loggers(Path(trainer.default_root_dir), self.command, wandb, submits)
            callbacks.append(LearningRateMonitor("step"))
        callbacks += [GlobalBatch(trainer.sync_batchnorm), RecordEvaluation(), WritePredictions(), SeedSteps()]
        kwargs["sync_batchnorm"] = False  # Lightning would also synchronise on CPUs, which torch does not support
        if self.command == "fit":
            self._lock = LockRun()
            callbacks.append(self._lock)
        kwargs["plugins"] = [*(trainer.plugins or []), AtomicCheckpointIO(resumes=self.command == "fit")]
        try:
            return super().instantiate_trainer(callbacks=callbacks, **kwargs)
        except (MisconfigurationException, TypeError, ValueError) as error:
            given = ((name, getattr(trainer, name)) for name in ("accelerator", "devices", "strategy"))
            chosen = ", ".join(f"{name} {value}" for name, value in given if value != "auto")
            settings = f" ({chosen})" if chosen else ""
            raise UsageError(
                f"the trainer refuses its settings{settings}: {str(error).partition('. ')[0].rstrip('.')}"
            ) from error


def _with_run_folders(options: list[str]) -> list[str]:
    """The options, with the current run folder added after each config.yaml from the logs of a run.

    The file itself names the folder that it was written into, but the run may have been moved or copied since.
    """
    placed: list[str] = []
    for before, option in zip(["", *options], options, strict=False):
        placed.append(option)
        name, _, value = option.partition("=")
        folder = RunFolder.of_config(Path(option if before in CONFIG else value if name in CONFIG else ""))
        if folder is not None:
            placed += ["--trainer.default_root_dir", str(folder.path)]
    return placed


def run(command: str, options: list[str]) -> int:
    """Run one of the four commands. A signal n ends it with status 128 + n; a running training saves before it ends."""
    before = {number: signal.signal(number, _end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        DeepLabCLI(command, options)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _end(number: int, *_: object) -> None:
    """End the command. Lightning itself would exit with status 1 or 0, and would finish a prediction first."""
    raise Ended(number)
