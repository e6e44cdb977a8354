"""The classes that settings may refer to by their short names, and the settings that take these classes."""

from functools import cache

from lightning import Callback
from lightning.pytorch import callbacks

from deeplab_lightning.callbacks.bootstrap_hard_images import BootstrapHardImages
from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation
from deeplab_lightning.callbacks.log_predictions import LogPredictions
from deeplab_lightning.callbacks.save_logits import SaveLogits
from deeplab_lightning.callbacks.trimap_evaluation import TrimapEvaluation
from deeplab_lightning.callbacks.write_submission import WriteSubmission
from deeplab_lightning.datamodules.ade20k import ADE20KDataModule
from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datamodules.cityscapes import CityscapesDataModule
from deeplab_lightning.datamodules.coco import COCODataModule
from deeplab_lightning.datamodules.coco_stuff import COCOStuffDataModule
from deeplab_lightning.datamodules.folder import FolderDataModule
from deeplab_lightning.datamodules.pascal_context import PascalContextDataModule
from deeplab_lightning.datamodules.person_part import PersonPartDataModule
from deeplab_lightning.datamodules.shapes import ShapesDataModule
from deeplab_lightning.datamodules.voc import VOCDataModule
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.deeplab_v1 import DeepLabV1Module
from deeplab_lightning.modules.deeplab_v2 import DeepLabV2Module
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from deeplab_lightning.modules.deeplab_v3_cascade import DeepLabV3CascadeModule
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule
from deeplab_lightning.modules.lraspp import LRASPPModule
from deeplab_lightning.modules.smp_network import SMPModule
from deeplab_lightning.settings.known import Slot
from deeplab_lightning.settings.parameters import FROM_DATA

CALLBACKS = (BootstrapHardImages, CRFEvaluation, LogPredictions, SaveLogits, TrimapEvaluation, WriteSubmission)
DATAMODULES = (
    ADE20KDataModule,
    CityscapesDataModule,
    COCODataModule,
    COCOStuffDataModule,
    FolderDataModule,
    PascalContextDataModule,
    PersonPartDataModule,
    ShapesDataModule,
    VOCDataModule,
)
MODULES = (
    DeepLabV1Module,
    DeepLabV2Module,
    DeepLabV3Module,
    DeepLabV3CascadeModule,
    DeepLabV3PlusModule,
    LRASPPModule,
    SMPModule,
)

TRAINER_DEFAULTS = {"default_root_dir": "runs/default", "use_distributed_sampler": False, "sync_batchnorm": True}
"""The settings of the trainer whose defaults differ from Lightning's."""

EXAMPLES = {
    "model": "-c experiments/model/deeplab_v3plus.yaml, for example",
    "data": "-c experiments/data/shapes.yaml, for example",
}
"""The options that the errors about a missing model and missing data suggest."""


def slots() -> dict[str, Slot]:
    """The settings that take a class. No class is chosen yet."""
    return {
        "model": Slot(SegmentationModule, "model", EXAMPLES["model"], FROM_DATA),
        "data": Slot(SegmentationDataModule, "datamodule", EXAMPLES["data"], ("seed", "normalization")),
        "trainer.callbacks": Slot(Callback, "callback"),
    }


@cache
def short_names() -> dict[str, type]:
    """The classes that a table may refer to by their short names: this package's, and Lightning's callbacks."""
    lightnings = {name: getattr(callbacks, name) for name in callbacks.__all__}
    return lightnings | {cls.__name__: cls for cls in (*CALLBACKS, *DATAMODULES, *MODULES)}
