"""The settings with which the published score of a checkpoint is measured again."""

from dataclasses import fields
from typing import Any

from deeplab_lightning.published.entries import Entry, PublishedScore

DATA = {
    "VOC 2012": "VOCDataModule",
    "Cityscapes": "CityscapesDataModule",
    "COCO-Stuff 164k": "COCOStuffDataModule",
}
"""The datamodules of the data sets whose published scores can be measured here."""
SIZES = ("whole_image", "pad_to_513", "pad_to_1025x2049")
"""The published sizes that are values of `data.evaluation_size`."""
WINDOWS = {"windows_769_stride_513": (769, 513)}
"""Sides and strides of sliding windows over whole images, by the published protocols that have them."""
NUM_CLASSES = {"VOC 2012": 21, "Cityscapes": 19, "COCO-Stuff 164k": 182}
OWN_SIZE = "own size"


def reason_against(entry: Entry, score: PublishedScore) -> str:
    """Say why a published score cannot be measured here; empty if it can."""
    if entry.unsupported:
        return f"the checkpoint cannot be read: {entry.unsupported}"
    if score.data not in DATA:
        return f"{score.data} is not among the data sets, or its classes have another order there"
    if score.size not in (*SIZES, *WINDOWS) or score.labels != OWN_SIZE:
        return f"evaluation at {score.size}, labels {score.labels}, is not among the sizes of data.evaluation_size here"
    theirs, here = entry.arguments["num_classes"], NUM_CLASSES[score.data]
    return "" if theirs == here else f"the network has {theirs} classes, and {score.data} has {here} here"


def model_settings(entry: Entry) -> dict[str, Any]:
    """The model's part of the settings for a published checkpoint."""
    arguments = {name: value for name, value in entry.arguments.items() if name != "num_classes"}
    return {"class_path": f"{entry.kind}Module", "init_args": {**arguments, "normalization": entry.normalization}}


def protocol_settings(entry: Entry, score: PublishedScore) -> dict[str, Any]:
    """The dotted settings of the evaluation by which a published score was measured, apart from the CRF.

    Atrous rates are as many times larger as the output stride is smaller than that in the catalogue (v3, section 4.2).
    """
    settings: dict[str, Any] = {}
    arguments = entry.arguments
    if "output_stride" in arguments and score.output_stride != arguments["output_stride"]:
        settings["model.init_args.output_stride"] = score.output_stride
        factor = arguments["output_stride"] / score.output_stride
        if rates := [int(rate * factor) for rate in arguments.get("atrous_rates", ())]:
            settings["model.init_args.atrous_rates"] = rates
    if score.scales != (1.0,):
        settings["model.init_args.scales"] = list(score.scales)
    if score.flip:
        settings["model.init_args.flip"] = True
    if score.size in WINDOWS:
        side, stride = WINDOWS[score.size]
        settings |= {"model.init_args.window": [side, side], "model.init_args.window_stride": [stride, stride]}
    settings["data.init_args.evaluation_size"] = "whole_image" if score.size in WINDOWS else score.size
    return settings


def crf_callback(name: str) -> dict[str, Any]:
    """The callback that refines with a released setting of the CRF.

    Args:
        name: Name of a file in `experiments/crf` that holds a released setting.
    """
    from deeplab_lightning.crf.published import SETTINGS  # here because it imports torch

    crf = SETTINGS[name.replace("deeplab_v1", "deeplab")]
    names = [each.name for each in fields(crf) if each.name.startswith(("bilateral", "gaussian", "normalization"))]
    return {"class_path": "CRFEvaluation", "init_args": {each: getattr(crf, each) for each in names}}


def row_name(entry: Entry, score: PublishedScore) -> str:
    """The name of the row of a published score, which tells apart the scores of one checkpoint."""
    words = [f"stride{score.output_stride}"]
    words += ["ms"] if len(score.scales) > 1 else []
    words += ["flip"] if score.flip else []
    words += ["crf"] if score.crf else []
    return f"{entry.name} {'_'.join(words)}"
