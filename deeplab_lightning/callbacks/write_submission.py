"""The label maps that the evaluation server of PASCAL VOC scores, since the masks of its test split are not public."""

from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info

from deeplab_lightning.callbacks.evaluation import EvaluationCallback, Split
from deeplab_lightning.datasets.submission import Competition, write_submission
from deeplab_lightning.modules.base import SegmentationModule


class WriteSubmission(EvaluationCallback):
    """Pack the label maps that `WritePredictions` wrote of the split "test" for the server, beside `predictions/`.

    Args:
        competition: "comp6" where other data than VOC's were used, such as masks of SBD, COCO or ImageNet's weights;
            else "comp5".
    """

    splits = ("predict",)

    def __init__(self, competition: Competition = "comp6") -> None:
        self.competition = competition

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse anything but the whole split, before it is predicted.

        Raises:
            ValueError: The command is another one, the split is not "test", or some images are picked.
        """
        super().setup(trainer, pl_module, stage)
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        split, images = datamodule.splits["test"], datamodule.predict_images
        if stage != "predict":
            raise ValueError("WriteSubmission acts on `deeplab predict` alone; leave it out of other commands")
        if split != "test" or images is not None:
            raise ValueError(
                "WriteSubmission packs the whole split test: set data.test_split test and no data.predict_images; "
                f"got {split} and {images}"
            )

    def report(self, module: SegmentationModule, split: Split) -> None:
        """Pack them once every rank has written its own."""
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
