"""The CRF settings of the released models, for images of VOC's size and messages normalised after filtering.

Those of DeepLab, -MSc and -COCO are in DeepLab-Context's SetupEnv.m; the others are quoted by third parties (?).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deeplab_lightning.crf.dense_crf import DenseCRF

DEEPLAB = DenseCRF(bilateral_weight=5, bilateral_xy=50, bilateral_rgb=10, gaussian_weight=3, gaussian_xy=3)
DEEPLAB_MSC = replace(DEEPLAB, bilateral_weight=3, bilateral_xy=95, bilateral_rgb=3)
DEEPLAB_COCO = replace(DEEPLAB, bilateral_weight=5, bilateral_xy=67, bilateral_rgb=3)
DEEPLAB_LARGEFOV = replace(DEEPLAB, bilateral_weight=4, bilateral_xy=121, bilateral_rgb=5)
DEEPLAB_MSC_LARGEFOV = replace(DEEPLAB, bilateral_weight=4, bilateral_xy=83, bilateral_rgb=5)
DEEPLAB_COCO_LARGEFOV = replace(DEEPLAB, bilateral_weight=5, bilateral_xy=69, bilateral_rgb=5)
DEEPLAB_MSC_COCO_LARGEFOV = replace(DEEPLAB, bilateral_weight=4, bilateral_xy=59, bilateral_rgb=5)
DEEPLAB_V2_VGG16 = DenseCRF(bilateral_weight=4, bilateral_xy=65, bilateral_rgb=3, gaussian_weight=2, gaussian_xy=2)
DEEPLAB_V2_RESNET101 = DenseCRF(bilateral_weight=4, bilateral_xy=67, bilateral_rgb=3, gaussian_weight=3, gaussian_xy=1)

SETTINGS: dict[str, DenseCRF] = {
    "deeplab": DEEPLAB,
    "deeplab_msc": DEEPLAB_MSC,
    "deeplab_coco": DEEPLAB_COCO,
    "deeplab_largefov": DEEPLAB_LARGEFOV,
    "deeplab_msc_largefov": DEEPLAB_MSC_LARGEFOV,
    "deeplab_coco_largefov": DEEPLAB_COCO_LARGEFOV,
    "deeplab_msc_coco_largefov": DEEPLAB_MSC_COCO_LARGEFOV,
    "deeplab_v2_vgg16": DEEPLAB_V2_VGG16,
    "deeplab_v2_resnet101": DEEPLAB_V2_RESNET101,
}
"""The settings by the names of their models."""


def crf_named(name: str, found: Mapping[str, Any] | None) -> DenseCRF:
    """Return the CRF of a released model, or as "checkpoint" the one that was searched for a model.

    Args:
        name: "checkpoint", or a name of `SETTINGS`.
        found: Settings in the description of the model, if there are any.

    Raises:
        ValueError: There is no such CRF, or its settings cannot be used.
    """
    if name != "checkpoint":
        if name not in SETTINGS:
            raise ValueError(f"there is no CRF {name!r}; there are checkpoint, {', '.join(SETTINGS)}")
        return SETTINGS[name]
    if found is None:
        raise ValueError("the checkpoint holds no CRF setting; `deeplab crf-search` finds one and writes it there")
    try:
        return DenseCRF(**found)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the checkpoint's CRF setting cannot be used: {error}") from error
