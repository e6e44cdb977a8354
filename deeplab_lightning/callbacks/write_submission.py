"""Packing label maps for PASCAL VOC's evaluation server, because the masks of its test split are not public."""

from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info

from deeplab_lightning.callbacks.evaluation import EvaluationCallback, Split
from deeplab_lightning.datasets.submission import Competition, write_submission
from deeplab_lightning.modules.base import SegmentationModule


class WriteSubmission(EvaluationCallback):
    """Packs the label maps of the split "test", which `WritePredictions` wrote, for the server, beside `predictions/`.

    Args:
        competition: Competition of the submission: "comp6" if other data than VOC's were used, such as the masks of SBD
            or COCO, or ImageNet weights; else "comp5".
    """

    splits = ("predict",)

    def __init__(self, competition: Competition = "comp6") -> None:
        self.competition = competition

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse anything but a prediction of the whole split, before it starts.

        Raises:
            ValueError: The command is not `predict`, the split is not "test", or only some images are predicted.
        """
        super().setup(trainer, pl_module, stage)
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        split, images = datamodule.splits["test"], datamodule.predict_images
        if stage != "predict":
            raise ValueError("WriteSubmission works with `deeplab predict` only; remove it from other commands")
        if split != "test" or images is not None:
            raise ValueError(
                "WriteSubmission packs the whole split test: set data.test_split to test and no data.predict_images; "
                f"got {split} and {images}"
            )

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
            num_classes=dataset.num_classes,
            competition=self.competition,
            folder=self.logs.path,
        )
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.summary["submission"] = str(path)
        rank_zero_info(f"{path} is ready for the VOC server")
