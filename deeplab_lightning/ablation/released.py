"""The settings with which the published score of a checkpoint is measured again."""

from dataclasses import fields
from typing import Any

from deeplab_lightning.published.entries import Entry, PublishedScore

DATA = {
    "VOC 2012": "VOCDataModule",
    "Cityscapes": "CityscapesDataModule",
    "ADE20K": "ADE20KDataModule",
    "COCO 2017 with VOC's classes": "COCODataModule",
    "COCO-Stuff 164k": "COCOStuffDataModule",
}
"""The datamodules of the data sets whose published scores can be measured here."""
EVALUATION_SIZE = "data.init_args.evaluation_size"
SIZES: dict[tuple[str, str], dict[str, Any]] = {
    ("whole_image", "own size"): {EVALUATION_SIZE: "whole_image"},
    ("pad_to_513", "own size"): {EVALUATION_SIZE: "pad_to_513"},
    ("pad_to_1025x2049", "own size"): {EVALUATION_SIZE: "pad_to_1025x2049"},
    ("short_side_520", "resized alike"): {EVALUATION_SIZE: "short_side_520"},
    ("short_side_513_centre_crop_513", "resized and cropped alike"): {EVALUATION_SIZE: "centre_crop_513"},
    ("short_side_512", "own size"): {EVALUATION_SIZE: "whole_image", "model.init_args.fit_to": [2048, 512]},
    ("windows_769_stride_513", "own size"): {
        EVALUATION_SIZE: "whole_image",
        "model.init_args.window": [769, 769],
        "model.init_args.window_stride": [513, 513],
    },
}
"""The settings for the published sizes of images and labels that can be measured here."""
NUM_CLASSES = {
    "VOC 2012": 21,
    "Cityscapes": 19,
    "ADE20K": 150,
    "COCO 2017 with VOC's classes": 21,
    "COCO-Stuff 164k": 182,
}


def reason_against(entry: Entry, score: PublishedScore) -> str:
    """Say why a published score cannot be measured here; empty if it can."""
    if entry.unsupported:
        return f"the checkpoint cannot be read: {entry.unsupported}"
    if score.data not in DATA:
        return f"{score.data} is not among the data sets, or its classes have another order there"
    theirs, here = entry.arguments["num_classes"], NUM_CLASSES[score.data]
    if theirs != here:
        return f"the network has {theirs} classes, and {score.data} has {here} here"
    if (score.size, score.labels) not in SIZES:
        return f"evaluation at {score.size}, labels {score.labels}, is not among the sizes here"
    return ""


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
    return settings | SIZES[score.size, score.labels]


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
