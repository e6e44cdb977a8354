"""What the evaluation server of PASCAL VOC scores, since the masks of its test split are not public."""

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info

from deeplab_lightning.callbacks.write_predictions import predictions_folder
from deeplab_lightning.datasets.submission import Competition, write_submission


class WriteSubmission(Callback):
    """Pack what `WritePredictions` wrote of the split "test" as the server takes it, beside `predictions/`.

    Args:
        competition: "comp6" with data that are not VOC's, as masks of SBD, COCO or ImageNet's weights; else "comp5".
    """

    def __init__(self, competition: Competition = "comp6") -> None:
        self.competition = competition

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what is not the whole split before it is predicted."""
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        split, images = datamodule.splits["test"], datamodule.predict_images
        if stage != "predict":
            raise ValueError("WriteSubmission acts on `deeplab predict` alone; leave it out of other commands")
        if split != "test" or images is not None:
            raise ValueError(
                "WriteSubmission packs the whole split test: set data.test_split test and no data.predict_images; "
                f"got {split} and {images}"
            )
        self._predictions = predictions_folder(trainer)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pack them once every rank has written its own."""
        trainer.strategy.barrier("predictions")
        if not trainer.is_global_zero:
            return
        dataset = trainer.predict_dataloaders.dataset  # type: ignore[union-attr]
        images = dict(zip(dataset.image_ids, dataset.images, strict=True))
        folder = self._predictions.parent
        path = write_submission(images, self._predictions, dataset.num_classes, self.competition, folder)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.summary["submission"] = str(path)
        rank_zero_info(f"{path} is ready for the VOC server")
