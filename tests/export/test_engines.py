"""Every engine gives the network's logits."""

from pathlib import Path

import pytest
import torch

from deeplab_lightning import Segmenter
from deeplab_lightning.export.engines import ENGINES


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in ("compiled", "onnxruntime") else ()) for name in ENGINES],
)
def test_an_engine_gives_the_networks_logits(thin_segmenter: tuple[Path, Segmenter], name: str) -> None:
    images = torch.rand(1, 3, 41, 33)
    with torch.inference_mode():
        expected = thin_segmenter[1].network(images)
        found = ENGINES[name].prepare(thin_segmenter[1])(images).float()
    tolerance = 0.05 if name == "bf16" else 1e-4
    assert (found - expected).abs().max() <= tolerance * (expected.max() - expected.min())
    is_exact = bool(torch.equal(found, expected))
    assert not is_exact or name in ("eager", "channels_last")
