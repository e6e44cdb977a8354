"""A trained checkpoint segments images: the same label maps as `deeplab predict`, from Python and by command."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning import load
from deeplab_lightning.__main__ import main
from deeplab_lightning.crf import DenseCRF

CRF = {"bilateral_xy": 20.0, "iterations": 3}


@pytest.fixture(scope="module")
def run(finished: Path, tmp_path_factory: pytest.TempPathFactory, shapes_root: Path) -> Path:
    """The run folder of a small training, whose best.ckpt got a classifier that finds every class."""
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("segment") / "run"))
    best = folder / "best.ckpt"
    features: list[torch.Tensor] = []
    model = load(best, device="cpu")
    classifier: Any = model.network.classifier
    classifier.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    model.segment(next((shapes_root / "JPEGImages").iterdir()))
    middle, spread = features[0].mean((0, 2, 3)), features[0].std((0, 2, 3)) + 1e-6
    checkpoint = torch.load(best, weights_only=True)
    weight, bias = (checkpoint["state_dict"][f"network.classifier.{name}"] for name in ("weight", "bias"))
    weight.normal_(generator=torch.Generator().manual_seed(3)).div_(spread[:, None, None])
    bias.copy_(-weight[:, :, 0, 0] @ middle)
    torch.save(checkpoint, best)
    return folder


def predicted(run: Path, images: Path, *options: str) -> dict[str, np.ndarray]:
    config = run / "logs" / "fit_0" / "config.yaml"
    command = ["predict", "-c", str(config), "--ckpt_path", "best", "--data.predict_images", str(images), *options]
    assert main(command) == 0
    folder = max(run.glob("logs/predict_*"), key=lambda path: int(path.name.rpartition("_")[2])) / "predictions"
    return {path.stem: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))}


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ([], {}),
        (
            ["--model.scales", "[0.25, 0.4]", "--model.flip", "true", "--data.evaluation_size", "pad_to_513"],
            {"scales": [0.25, 0.4], "flip": True},
        ),
        (
            ["--trainer.callbacks+", "CRFEvaluation", *(f"--trainer.callbacks.{name}={CRF[name]}" for name in CRF)],
            {"crf": DenseCRF(bilateral_xy=20, iterations=3)},
        ),
    ],
)
def test_the_label_maps_are_those_of_predict(
    run: Path, shapes_root: Path, tmp_path: Path, options: list[str], method: dict[str, object]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((shapes_root / "JPEGImages").iterdir())[:3]:
        shutil.copy(path, images)
    expected = predicted(run, images, *options)
    model = load(run / "best.ckpt", device="cpu")
    if "pad_to_513" in options:
        object.__setattr__(model.description, "pad_to", (513, 513))
    results = model.segment((path for path in sorted(images.iterdir())), **method)
    found = {Path(result.name).stem: result.mask for result in results}
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask, err_msg=name)
    assert len(np.unique(np.stack(list(found.values())))) > 1


def test_load_needs_no_lightning() -> None:
    program = (
        "import sys; from deeplab_lightning import load; "
        "sys.exit(len({'lightning', 'jsonargparse', 'torchvision', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_checkpoint_knows_its_score_and_classes(run: Path) -> None:
    model = load(run / "best.ckpt", device="cpu")
    assert model.class_names[0] == "background"
    assert model.description.score is not None
    assert str(model.description.score.name) == "val/miou"
    assert not torch.is_grad_enabled() or not any(each.requires_grad for each in model.network.parameters())
