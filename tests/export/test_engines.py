"""Every engine gives the network's logits."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning import Segmenter
from deeplab_lightning.export.engines import ENGINES
from deeplab_lightning.models import winograd


def test_only_segment_runs_by_winograds_filtering(
    thin_segmenter: tuple[Path, Segmenter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "SMALLEST_PRODUCT", 1)
    segmenter = copy.deepcopy(thin_segmenter[1])
    winograd.use_winograd(segmenter.network)
    ran: list[str] = []

    def convolve(*given: Any) -> torch.Tensor:
        ran.append(name)
        return original(*given)

    original = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", convolve)
    tensors = {tensor.data_ptr() for tensor in segmenter.network.parameters()}
    with torch.inference_mode():
        for name in ("segment", "eager", "channels_last", "bf16"):
            ENGINES[name].prepare(segmenter)(torch.rand(1, 3, 41, 33))
    assert set(ran) == {"segment"}
    assert {tensor.data_ptr() for tensor in segmenter.network.parameters()} == tensors  # all but eager share them


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
    assert not is_exact or name in ("eager", "channels_last", "segment")
