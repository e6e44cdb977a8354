"""The scripts of a page in node give what the segmenter gives: at odd and reduced sizes, padded, reversed, refined."""

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning import load
from deeplab_lightning.crf import DenseCRF
from deeplab_lightning.crf.settings import CRFSettings
from deeplab_lightning.export.web.page import write_page
from deeplab_lightning.palette import Palette
from tests.export.web.conftest import Written, scene, with_text
from tests.segmentation.models import NAMES

CRF = DenseCRF(bilateral_weight=5, bilateral_xy=40, bilateral_rgb=12, gaussian_xy=2, iterations=4)


@dataclass
class Case:
    """A picture (H, W, 3), the graph of the page that segments it, its longest side there, and its CRF."""

    image: NDArray[np.uint8]
    graph: Path
    longest: int = 512
    crf: DenseCRF | None = None


@dataclass
class Found:
    """The probabilities at the size at which they were computed, and the mask with its file's mode and colours."""

    probabilities: NDArray[np.float32]
    mask: NDArray[np.uint8]
    mode: str
    colors: list[int]


def in_node(folder: Path, cases: list[Case]) -> list[Found]:
    """What the scripts of the pages give for each case, in one process."""
    options = []
    for number, case in enumerate(cases):
        page = folder / f"{case.graph.stem}.html"
        if not page.exists():
            write_page(case.graph, page)
        height, width = case.image.shape[:2]
        opaque = np.full((height, width, 1), 255, np.uint8)
        (folder / f"{number}.image").write_bytes(np.concatenate([case.image, opaque], 2).tobytes())
        known = CRFSettings.__dataclass_fields__
        settings = None if case.crf is None else {name: asdict(case.crf)[name] for name in known}
        own: dict[str, Any] = {"size": [height, width], "longest": case.longest, "settings": settings}
        options.append({"page": str(page), "file": str(folder / str(number)), **own})
    (folder / "cases.json").write_text(json.dumps(options))
    words = ["node", Path(__file__).with_name("segment.cjs"), folder / "cases.json", folder]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = []
    for number in range(len(cases)):
        with Image.open(folder / f"{number}.png") as image:
            own = {"mask": np.asarray(image), "mode": image.mode, "colors": image.getpalette()}
        found.append(Found(np.fromfile(folder / f"{number}.probabilities", np.float32), **own))
    return found


def in_python(case: Case) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The probabilities and the mask that the segmenter gives for a case."""
    height, width = case.image.shape[:2]
    factor = min(1, case.longest / max(height, width))
    size = int(height * factor), int(width * factor)
    values = torch.from_numpy(case.image.copy()).permute(2, 0, 1)[None].float()
    small = F.interpolate(values, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).round().byte().numpy()
    result = load(case.graph, device="cpu").segment(small, crf=case.crf)
    assert result.probabilities is not None
    if factor == 1:
        return result.probabilities, result.mask
    present = np.unique(result.mask)
    shares = F.interpolate(torch.from_numpy(result.probabilities[present])[None], (height, width), mode="bilinear")
    return result.probabilities, present[shares[0].argmax(0).numpy()]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_labels_and_probabilities_are_those_of_python(written: Written, tmp_path: Path) -> None:
    padded = with_text(written.graph, tmp_path / "padded.onnx", "description", '"pad_to": null', '"pad_to": [70, 95]')
    other = with_text(padded, tmp_path / "other.onnx", "description", '"stored"', '"reversed"')
    own = written.graph
    cases = [
        *(Case(scene(*size), own) for size in ((33, 47), (64, 41), (97, 130))),
        *(Case(scene(*size), own, crf=CRF) for size in ((64, 41), (97, 130))),
        *(Case(scene(*size), other) for size in ((61, 90), (72, 90))),  # the second is too high to be padded
        Case(scene(150, 201), own, longest=128),
        Case(scene(150, 201), own, longest=90, crf=CRF),
    ]
    num_labels = []
    for case, found in zip(cases, in_node(tmp_path, cases), strict=True):
        probabilities, mask = in_python(case)
        assert np.mean(found.mask == mask) >= 0.999
        np.testing.assert_allclose(found.probabilities, probabilities.ravel(), rtol=0, atol=2e-3)
        num_labels.append(len(np.unique(mask)))
        assert (found.mode, found.colors) == ("P", Palette.voc(NAMES).table().ravel().tolist())
    assert np.mean(np.array(num_labels) > 1) > 0.7
