"""The price of a file in mIoU, on images whose masks are the network's own labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from deeplab_lightning import Segmenter
from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.transforms import EvaluationTransform
from deeplab_lightning.export.cost import mean_ious
from deeplab_lightning.export.graph import ExportedNetwork
from deeplab_lightning.segmentation.graph_file import Interface, Outputs


@pytest.mark.parametrize("outputs", ["logits", "labels"])
def test_the_network_and_the_graph_are_scored(
    thin_segmenter: tuple[Path, Segmenter], tmp_path: Path, outputs: Outputs
) -> None:
    network = ExportedNetwork(thin_segmenter[1], Interface("pixels", outputs)).eval()
    for name in ("images", "masks", "splits"):
        (tmp_path / name).mkdir()
    for number in range(2):
        pixels = network.example(1, 40 + number, 56)[0].numpy()
        mask = thin_segmenter[1].segment(pixels).mask.copy()
        mask[:5] = 255
        Image.fromarray(pixels).save(tmp_path / f"images/{number}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/{number}.png")
    (tmp_path / "splits/val.txt").write_text("0\n1\n")
    data = FolderDataset(tmp_path, "val", 3, EvaluationTransform((0.5,) * 3, (0.5,) * 3))
    seen: list[object] = []

    def found(batch: Tensor) -> Tensor:
        """Every road is a car."""
        seen.append(tuple(batch.shape[1:3]))
        labels = network(batch)[0]
        labels = labels if outputs == "labels" else labels.argmax(1)
        wrong = labels.masked_fill(labels == 1, 2)
        return wrong if outputs == "labels" else torch.nn.functional.one_hot(wrong.long(), 3).permute(0, 3, 1, 2)

    masks = np.concatenate([np.array(data.pair(index)[1]).ravel() for index in range(2)])
    counts = np.bincount(masks[masks != 255], minlength=3)
    assert counts.all()
    expected = (1 + 0 + counts[2] / (counts[1] + counts[2])) / 3
    whole, own = mean_ious(network, found, data, lambda: seen.append("one"))
    assert whole == 1
    assert own == pytest.approx(expected)
    assert seen == [(40, 56), "one", (41, 56), "one"]
