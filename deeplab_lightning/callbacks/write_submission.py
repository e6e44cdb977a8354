"""Packing label maps for the evaluation server of a benchmark, because the masks of its test split are not public."""

from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info

from deeplab_lightning.callbacks.evaluation import EvaluationCallback, Split
from deeplab_lightning.datasets.submission import Competition, write_submission
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.trainer_data import datamodule_of


class WriteSubmission(EvaluationCallback):
    """Packs the label maps of the test split, which `WritePredictions` wrote, for the server, beside `predictions/`.

    VOC's server gets a tarball of palette PNGs, that of Cityscapes a zip file of label ids, and that of ADE20K one of
    labels.

    Args:
        competition: Competition of VOC: "comp6" if other data than VOC's were used, such as the masks of SBD or COCO,
            or ImageNet weights; else "comp5".
    """

    splits = ("predict",)

    def __init__(self, competition: Competition = "comp6") -> None:
        self.competition = competition

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse anything but a prediction of the whole split, before it starts.

        Raises:
            ValueError: The command is not `predict`, the split is not the server's, or only some images are predicted.
        """
        super().setup(trainer, pl_module, stage)
        datamodule = datamodule_of(trainer)
        split, images = datamodule.splits["test"], datamodule.predict_images
        served = datamodule.without_masks or "test"
        if stage != "predict":
            raise ValueError("WriteSubmission works with `deeplab predict` only; remove it from other commands")
        if split != served or images is not None:
            raise ValueError(
                f"WriteSubmission packs the whole split {served}: set data.test_split to {served} and no "
                f"data.predict_images; got {split} and {images}"
            )
        self.server = datamodule.server(self.competition)

    def report(self, module: SegmentationModule, split: Split) -> None:
        """Pack the label maps after every rank has written its own."""
        trainer = module.trainer
        trainer.strategy.barrier("predictions")
        if not trainer.is_global_zero:
            return
        dataset = trainer.predict_dataloaders.dataset  # type: ignore[union-attr]
        images = dict(zip(dataset.image_ids, dataset.images, strict=True))
        path = write_submission(
            images,
            predictions=self.logs.predictions,
            server=self.server,
            palette=datamodule_of(trainer).palette,
            folder=self.logs.path,
        )
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.summary["submission"] = str(path)
        rank_zero_info(f"{path} is ready for the server of {self.server.name}")
