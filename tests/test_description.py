import json
from dataclasses import replace
from typing import Any

import pytest

from deeplab_lightning.description import ModelDescription, PixelNormalization
from deeplab_lightning.palette import Palette
from deeplab_lightning.scores import Score, ScoreName
from tests.test_identity import IDENTITY

PIXELS = PixelNormalization((0.5, 0.25, 0.1), (0.5, 0.2, 0.1), channel_order="reversed")
FULL = ModelDescription(
    network="DeepLabV3Plus",
    arguments={"num_classes": 2, "atrous_rates": (6, 12), "backbone": "resnet18"},
    palette=Palette(("background", "road"), ((0, 0, 0), (255, 0, 7)), void=(1, 2, 3)),
    normalization=PIXELS,
    pad_to=(513, 513),
    crf_layers="after",
    crf={"bilateral_xy": 50.0},
    score=Score(ScoreName("val", "miou"), 0.75, IDENTITY.as_dict()),
    assumed=("the images were not padded",),
)


def test_a_description_survives_json() -> None:
    again = ModelDescription.of_dict(json.loads(json.dumps(FULL.as_dict())))
    assert again == replace(FULL, arguments=FULL.arguments | {"atrous_rates": [6, 12]})
    short = replace(FULL, pad_to=None, crf_layers=None, crf=None, score=None, assumed=())
    assert ModelDescription.of_dict(short.as_dict()).as_dict() == short.as_dict()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"network": 3}, "network"),
        ({"arguments": []}, "arguments"),
        ({"arguments": {"num_classes": 3}}, "num_classes 3"),
        ({"palette": FULL.as_dict()["palette"] | {"class_names": "ab"}}, "palette"),
        ({"palette": FULL.as_dict()["palette"] | {"class_names": ["a", "b", "c"]}}, "3 classes"),
        ({"palette": FULL.as_dict()["palette"] | {"colors": [[0, 0, 0], [0, 0, 256]]}}, "palette"),
        ({"palette": FULL.as_dict()["palette"] | {"void": [0, 0]}}, "palette"),
        ({"palette": FULL.as_dict()["palette"] | {"void": [0, 0, float("nan")]}}, "palette"),
        ({"normalization": {}}, "normalization"),
        ({"score": FULL.as_dict()["score"] | {"identity": {"dataset": "VOC 2012"}}}, "score"),
        ({"normalization": FULL.as_dict()["normalization"] | {"std": [1, 1, 0]}}, "std"),
        ({"normalization": FULL.as_dict()["normalization"] | {"mean": [True, 1, 1]}}, "True"),
        ({"normalization": FULL.as_dict()["normalization"] | {"value_range": [255, 0]}}, "value_range"),
        ({"normalization": FULL.as_dict()["normalization"] | {"channel_order": "RGB"}}, "channel_order"),
        ({"pad_to": [513]}, "pad_to"),
        ({"pad_to": [513, float("inf")]}, "pad_to"),
        ({"score": {"metric": "val/miou"}}, "score"),
        ({"assumed": [1]}, "assumed"),
        ({"unknown": 1}, "entries"),
    ],
)
def test_values_that_are_no_description_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ModelDescription.of_dict(FULL.as_dict() | changes)


@pytest.mark.parametrize("values", [None, [], {}, {"network": "DeepLabV3", "arguments": {}}])
def test_what_is_incomplete_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="entries|incomplete"):
        ModelDescription.of_dict(values)
