"""The price of a smaller file: its scores beside those of the network, on labelled images."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.export.graph import ExportedNetwork
from deeplab_lightning.metrics import ConfusionMatrix, mean_iou

Run = Callable[[Tensor], Tensor]
"""A function from a batch of inputs to logits or probabilities (B, K, H, W), or labels (B, H, W)."""


@torch.no_grad()
def mean_ious(
    network: ExportedNetwork, run: Run, data: SegmentationDataset, on_progress: Callable[[], None]
) -> tuple[float, float]:
    """Return the mean IoU of a network and that of a graph of it.

    Args:
        network: The network as it was exported.
        run: Function that runs the graph.
        data: Images with masks.
        on_progress: Function that is called after each image.
    """
    matrices = ConfusionMatrix(data.num_classes), ConfusionMatrix(data.num_classes)
    for index in range(len(data)):
        pixels, mask = data.pair(index)
        target = torch.from_numpy(np.array(mask))[None].long()
        batch = network.inputs_of(pixels)
        for matrix, outputs in zip(matrices, (network(batch)[0], run(batch)), strict=True):
            labels = outputs if outputs.ndim == 3 else outputs.argmax(1)
            matrix.update(labels[:, : target.shape[1], : target.shape[2]].long(), target)
        on_progress()
    return mean_iou(matrices[0].compute()), mean_iou(matrices[1].compute())
