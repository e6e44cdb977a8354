"""What an exported file says of itself survives as texts."""

import json
from dataclasses import replace

import pytest

from deeplab_lightning.models.build import build_network
from deeplab_lightning.scores import Score, ScoreName
from deeplab_lightning.segmentation.graph_file import GraphFile, Interface
from tests.segmentation.models import describe_small

IDENTITY = {
    "dataset": "shapes",
    "split": "val",
    "labels": "masks",
    "num_images": 5,
    "size_policy": "whole image",
    "output_stride": 16,
    "align_corners": False,
    "scales": [1.0],
    "flip": False,
    "precision": "32",
    "weights": "step 7",
    "crf": None,
}


@pytest.fixture
def facts() -> GraphFile:
    description = describe_small(score=Score(ScoreName("val", "miou"), 0.7125, IDENTITY), pad_to=(513, 513))
    network = build_network(description.network, description.arguments)
    return replace(GraphFile.of(network, description, Interface("pixels", "labels")), precision="int8")


def test_facts_survive_as_texts(facts: GraphFile) -> None:
    texts = facts.as_texts()
    assert GraphFile.of_texts(texts) == facts
    assert (facts.output_stride, facts.logits_stride, facts.align_corners) == (16, 16, False)
    assert texts["score"] == "val/miou 0.7125"
    assert "5 images" in texts["identity"]
    assert json.loads(texts["class_names"]) == ["background", "road", "car"]
    assert (texts["inputs"], texts["outputs"], texts["precision"]) == ("pixels", "labels", "int8")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"description": None}, "deeplab export"),
        ({"description": "{"}, "Expecting"),
        ({"inputs": "bytes"}, "'bytes'"),
        ({"output_stride": "wide"}, "'wide'"),
        ({"precision": None}, "precision"),
    ],
)
def test_faulty_texts_are_refused(facts: GraphFile, change: dict[str, str | None], named: str) -> None:
    texts = {name: text for name, text in {**facts.as_texts(), **change}.items() if text is not None}
    with pytest.raises(ValueError, match=named):
        GraphFile.of_texts(texts)
