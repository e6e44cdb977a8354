"""dense_crf.js in node gives what the torch engine gives: at odd sizes, for 1 to 21 labels, normalised in both ways."""

import json
import shutil
import subprocess
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.crf import CRFSettings, DenseCRF
from tests.crf.scenes import random_input

SCRIPT = Path(__file__).parents[2] / "deeplab_lightning" / "export" / "dense_crf.js"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


@dataclass
class Case:
    """An image (H, W, 3) with probabilities (K, H, W), and the settings of its refinement."""

    image: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    settings: dict[str, Any] = field(default_factory=dict)
    pixel_stride: int = 3


def in_node(folder: Path, cases: list[Case]) -> tuple[dict[str, Any], list[Any], list[NDArray[np.float32] | None]]:
    """The script's default settings, and what it says and returns for each case."""
    options = []
    for number, case in enumerate(cases):
        file = folder / str(number)
        height, width = case.image.shape[:2]
        (folder / f"{number}.image").write_bytes(case.image.tobytes())
        (folder / f"{number}.probabilities").write_bytes(case.probabilities.tobytes())
        own = {"height": height, "width": width, "settings": case.settings, "pixelStride": case.pixel_stride}
        options.append({"file": str(file), **own})
    (folder / "cases.json").write_text(json.dumps(options))
    words = ["node", Path(__file__).with_name("refine.cjs"), SCRIPT, folder / "cases.json"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    refined = [
        np.fromfile(path, np.float32).reshape(case.probabilities.shape) if path.is_file() else None
        for case, path in ((case, folder / f"{number}.refined") for number, case in enumerate(cases))
    ]
    return printed["defaults"], printed["said"], refined


def assert_equal_to_torch(case: Case, refined: NDArray[np.float32] | None) -> None:
    expected = DenseCRF(**case.settings)(case.image[..., :3], case.probabilities)
    assert refined is not None
    assert np.mean(refined.argmax(0) == expected.argmax(0)) >= 0.999
    np.testing.assert_allclose(refined, expected, rtol=0, atol=1e-3)
    assert np.abs(refined - expected).mean() < 1e-5


@needs_node
def test_it_gives_what_torch_gives(tmp_path: Path) -> None:
    sizes = {1: (9, 8), 2: (33, 47), 3: (1, 40), 5: (61, 1), 8: (51, 37), 21: (40, 63)}
    cases = [
        Case(*random_input(num_labels, *size), {"normalization": normalization, **own})
        for num_labels, size in sizes.items()
        for normalization, own in (
            ("after", {}),
            ("symmetric", {}),
            ("after", {"bilateral_weight": 10, "bilateral_xy": 80, "bilateral_rgb": 13, "gaussian_xy": 3}),
            ("symmetric", {"bilateral_weight": 0, "gaussian_weight": 2, "gaussian_xy": 2.5, "iterations": 3}),
        )
    ]
    opaque = np.full((33, 47, 1), 200, np.uint8)
    cases.append(Case(np.concatenate([cases[4].image, opaque], 2), cases[4].probabilities, pixel_stride=4))
    flat = Case(np.full_like(cases[4].image, 77), cases[4].probabilities)
    unlikely = Case(cases[-1].image, cases[-1].probabilities, {"min_probability": 0.5}, 4)
    unlikely.probabilities = np.stack([0.6 * unlikely.probabilities[0], 0.4 * unlikely.probabilities[0],
                                       unlikely.probabilities[1]])  # fmt: skip
    cases += [flat, unlikely]
    _, said, refined = in_node(tmp_path, cases)
    for case, own in zip(cases, refined, strict=True):
        assert_equal_to_torch(case, own)
    assert refined[-1] is not None
    assert (refined[-1][1] == 0).all()
    for each, case in zip(said, cases, strict=True):
        shares = each["shares"]
        assert shares == sorted(shares)
        assert (len(shares), shares[-1]) == (2 + case.settings.get("iterations", 10), 1)


@needs_node
@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["after", "symmetric"])
def test_it_gives_what_torch_gives_on_photographs(real_data: Path, normalization: str, tmp_path: Path) -> None:
    cases = []
    for image_id in ("2011_000003", "2011_000006", "2007_000129"):
        image = np.array(Image.open(real_data / "voc_samples" / "JPEGImages" / f"{image_id}.jpg").convert("RGB"))
        _, probabilities = random_input(21, *image.shape[:2])
        cases.append(Case(image, probabilities, {"normalization": normalization}))
    for case, refined in zip(cases, in_node(tmp_path, cases)[2], strict=True):
        assert_equal_to_torch(case, refined)


@needs_node
def test_its_settings_and_their_faults_are_those_of_python(tmp_path: Path) -> None:
    image, probabilities = random_input(2, 4, 5)
    wrong: list[dict[str, Any]] = [
        {"bilateral_weight": -1}, {"bilateral_xy": 0}, {"bilateral_rgb": 0}, {"gaussian_weight": -1},
        {"gaussian_xy": 0}, {"iterations": 0}, {"normalization": "before"}, {"min_probability": 0.9999}, {"sigma": 3},
    ]  # fmt: skip
    misfits = [Case(image[1:], probabilities), Case(image, probabilities[:, 1:]), Case(image, probabilities[:0])]
    cases = [Case(image, probabilities, settings) for settings in wrong] + misfits
    defaults, said, refined = in_node(tmp_path, cases)
    known = {each.name: each.default for each in fields(CRFSettings)} | {"min_probability": 0.0}
    assert defaults == known
    assert refined == [None] * len(cases)
    for settings, each in zip(wrong, said[: len(wrong)], strict=True):
        ((name, value),) = settings.items()
        assert name in each["error"]
        assert str(value) in each["error"] or name == "sigma"
    assert all("do not fit" in each["error"] for each in said[len(wrong) :])


def test_it_is_one_classic_script_that_loads_nothing() -> None:
    """A page holds it inline, under a policy that allows no evaluation of text and no request."""
    text = SCRIPT.read_text()
    for word in ("import ", "export ", "require(", "fetch(", "eval(", "new Function", "</script"):
        assert word not in text
    assert text.count("module.exports") == 1
