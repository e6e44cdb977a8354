"""What stands before and after the network in a graph is what the segmenter does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_lightning import Segmenter
from deeplab_lightning.crf import CRFRNN
from deeplab_lightning.description import PixelNormalization
from deeplab_lightning.export.graph import ExportedNetwork
from deeplab_lightning.segmentation.graph_file import Interface
from deeplab_lightning.segmentation.model_file import Model
from deeplab_lightning.segmentation.pictures import normalize

RNG = np.random.default_rng(0)


def segmenter_like(segmenter: Segmenter, normalization: PixelNormalization) -> Segmenter:
    description = replace(segmenter.description, normalization=normalization)
    return Segmenter(Model(segmenter.network, description, None, ""), "cpu")


@pytest.mark.parametrize("order", ["stored", "reversed"])
def test_pixels_are_normalised_as_the_segmenter_does(thin_segmenter: tuple[Path, Segmenter], order: str) -> None:
    normalization = PixelNormalization((0.5, 0.4, 0.3), (0.25, 0.2, 0.3), channel_order=order)  # type: ignore[arg-type]
    segmenter = segmenter_like(thin_segmenter[1], normalization)
    pixels = RNG.integers(0, 256, (17, 23, 3), np.uint8)
    graph = ExportedNetwork(segmenter, Interface("pixels", "labels")).eval()
    inside = graph.normalized(graph.inputs_of(pixels))[0]
    assert torch.equal(inside, normalize(pixels, segmenter.reader))
    assert graph.inputs_of(pixels).dtype == graph.example().dtype == torch.uint8
    np.testing.assert_array_equal(graph(graph.inputs_of(pixels))[0][0], segmenter.segment(pixels).mask)


def test_pixels_of_more_than_8_bits_are_floats_in_the_models_range(thin_segmenter: tuple[Path, Segmenter]) -> None:
    normalization = PixelNormalization((0.5,) * 3, (0.2,) * 3, (-10.0, 4095.0))
    segmenter = segmenter_like(thin_segmenter[1], normalization)
    graph = ExportedNetwork(segmenter, Interface("pixels", "labels")).eval()
    assert graph.example().dtype == torch.float32
    assert graph.example().max() > 3000
    for pixels in (RNG.uniform(-10, 4095, (5, 7, 3)).astype(np.float32), RNG.integers(0, 256, (5, 7, 3), np.uint8)):
        inside = graph.normalized(graph.inputs_of(pixels))[0]
        torch.testing.assert_close(inside, normalize(pixels, segmenter.reader), rtol=1e-5, atol=1e-5)


def test_the_outputs_are_those_asked_for(thin_segmenter: tuple[Path, Segmenter]) -> None:
    graphs = {name: ExportedNetwork(thin_segmenter[1], Interface("normalized", name)).eval()
              for name in ("logits", "probabilities", "labels")}  # fmt: skip
    images = graphs["logits"].example(2, 33, 41)
    logits, coarse = graphs["logits"](images)
    assert logits.shape == (2, 3, 33, 41)
    assert coarse.shape == (2, 3, 5, 6)
    torch.testing.assert_close(graphs["probabilities"](images)[0], logits.softmax(1))
    assert torch.equal(graphs["labels"](images)[0], logits.argmax(1).byte())
    assert [graph.output_names for graph in graphs.values()] == [
        ["logits", "coarse_logits"],
        ["probabilities"],
        ["labels"],
    ]
    assert graphs["logits"].open_dimensions() == {0: "batch", 2: "height", 3: "width"}
    pixels = ExportedNetwork(thin_segmenter[1], Interface("pixels"))
    assert pixels.open_dimensions() == {0: "batch", 1: "height", 2: "width"}


def test_a_crf_as_layers_cannot_be_exported(thin_segmenter: tuple[Path, Segmenter]) -> None:
    segmenter = thin_segmenter[1]
    layered = Segmenter(Model(segmenter.network, segmenter.description, CRFRNN(3), ""), "cpu")
    with pytest.raises(ValueError, match="crf_rnn"):
        ExportedNetwork(layered, Interface())
