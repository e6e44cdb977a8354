"""Cityscapes from training to submission, scored like cityscapesScripts does it."""

import io
import json
import zipfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.datamodules.cityscapes import CityscapesDataModule
from deeplab_lightning.datasets.cityscapes import CLASS_NAMES, LABEL_IDS, CityscapesDataset
from deeplab_lightning.datasets.submission import write_submission
from deeplab_lightning.datasets.transforms import EvaluationTransform
from deeplab_lightning.drawing import label_image
from deeplab_lightning.metrics import ConfusionMatrix, iou_per_class, mean_iou
from tests.devkits import SIZE, write_cityscapes
from tests.integration.conftest import ROOT, TINY, Failure, Run

MADE_UP = {
    "road": 0.1111111111111111, "building": 0.11103074141048824, "person": 0.10773680404916848,
    "car": 0.10966810966810966, "bicycle": 0.1123960968558005,
}  # fmt: skip
"""IoUs of the made-up predictions of `guesses` according to cityscapesScripts 2.3.0; it prints nan for the others."""
MADE_UP_AVERAGE = 0.1103885726189356


def guesses(number: int) -> NDArray[np.uint8]:
    """Made-up classes (H, W) for an image, which depend on nothing but its number."""
    positions = np.arange(SIZE[0] * SIZE[1], dtype=np.int64).reshape(SIZE)
    drawn = (positions * 1103515245 + 12345 * (number + 1)) // 65536 % 5
    return np.array([0, 2, 11, 13, 18], np.uint8)[drawn]


def officially(predictions: dict[str, NDArray[np.uint8]], truth: dict[str, Path], folder: Path) -> list[float]:
    """The IoUs of the 19 classes by cityscapesScripts, from files of label ids; only where it is installed."""
    official: Any = import_module("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    files = []
    for image_id, labels in predictions.items():
        files.append(str(folder / f"{image_id}_pred.png"))
        Image.fromarray(labels).save(files[-1])
    official.args.quiet, official.args.evalInstLevelScore, official.args.JSONOutput = True, False, False
    results = official.evaluateImgLists(files, [str(truth[image_id]) for image_id in predictions], official.args)
    return [results["classScores"][name] for name in CLASS_NAMES]


def by_label_ids(predictions: dict[str, NDArray[np.uint8]], truth: dict[str, Path]) -> list[float]:
    """The IoUs counted like evalPixelLevelSemanticLabeling.py: on label ids, where the truth has a scored one."""
    matrix = np.zeros((256, 256), np.int64)
    for image_id, labels in predictions.items():
        np.add.at(matrix, (np.asarray(Image.open(truth[image_id])), labels), 1)
    scored = matrix[list(LABEL_IDS)]
    ious = []
    for label in LABEL_IDS:
        hits = int(matrix[label, label])
        union = int(matrix[label].sum()) + int(scored[:, label].sum()) - hits
        ious.append(hits / union if union else float("nan"))
    return ious


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cityscapes(tmp_path_factory.mktemp("data") / "cityscapes")


def test_scores_are_those_of_the_official_script(root: Path, tmp_path: Path) -> None:
    dataset = CityscapesDataset(root, "val", EvaluationTransform((0.5,) * 3, (0.25,) * 3), SIZE)
    matrix = ConfusionMatrix(19)
    predictions = {}
    for index, image_id in enumerate(dataset.image_ids):
        classes = guesses(index)
        matrix.update(torch.from_numpy(classes)[None], dataset[index]["mask"][None])
        predictions[image_id] = np.array(LABEL_IDS, np.uint8)[classes]
    truth = dict(zip(dataset.image_ids, dataset.mask_files, strict=True))
    found = iou_per_class(matrix.compute()).tolist()
    assert {name: iou for name, iou in zip(CLASS_NAMES, found, strict=True) if iou == iou} == MADE_UP
    assert mean_iou(matrix.compute()) == pytest.approx(MADE_UP_AVERAGE, rel=1e-15)
    assert by_label_ids(predictions, truth) == pytest.approx(found, rel=0, abs=0, nan_ok=True)
    if find_spec("cityscapesscripts"):
        assert officially(predictions, truth, tmp_path) == pytest.approx(found, rel=0, abs=0, nan_ok=True)


def options(root: Path, folder: Path) -> list[str]:
    """The options of a small training on Cityscapes that is evaluated in sliding windows."""
    (folder / "tiny.yaml").write_text(TINY.replace("num_workers: 0", f"num_workers: 0, image_size: {list(SIZE)}"))
    parts = [
        ROOT / "experiments" / "base.yaml",
        ROOT / "experiments" / "data" / "cityscapes.yaml",
        folder / "tiny.yaml",
    ]
    windows = [
        "--data.evaluation_size",
        "whole_image",
        "--model.window",
        "[32, 48]",
        "--model.window_stride",
        "[16, 16]",
    ]
    configs = [option for part in parts for option in ("-c", str(part))]
    return [*configs, "--data.root", str(root), *windows, "--trainer.default_root_dir", str(folder / "run")]


def test_cityscapes_from_training_to_submission(root: Path, tmp_path: Path, deeplab: Run) -> None:
    """12 images are trained on and validated in sliding windows; what is scored is what is submitted."""
    experiment = options(root, tmp_path)
    deeplab("fit", *experiment, "--model.batch_norm_momentum", "1.0", "--model.dropout", "0")
    last = ["--ckpt_path", str(tmp_path / "run" / "last.ckpt")]
    deeplab("validate", *experiment, *last)
    logs = tmp_path / "run" / "logs"
    records = json.loads((logs / "validate_0" / "evaluation.json").read_text())
    identity = records[0]["identity"]
    assert identity["num_images"] == 4
    assert identity["size_policy"].startswith("sliding windows of 48x32 every 16x16, scored at its original")
    deeplab("predict", *experiment, *last)
    dataset = CityscapesDataset(root, "val", EvaluationTransform((0.5,) * 3, (0.25,) * 3), SIZE)
    data = CityscapesDataModule(str(root), image_size=SIZE)
    package = write_submission(
        dict(zip(dataset.image_ids, dataset.images, strict=True)),
        logs / "predict_0" / "predictions",
        data.server("comp6"),
        palette=data.palette,
        folder=tmp_path,
    )
    predictions = unpacked(package)
    truth = dict(zip(dataset.image_ids, dataset.mask_files, strict=True))
    values = {record["metric"]: record["value"] for record in records}
    expected = [values.get(f"val/iou/{name}", float("nan")) for name in CLASS_NAMES]
    found = by_label_ids(predictions, truth)
    assert len(np.unique(list(predictions.values()))) > 1
    assert found == pytest.approx(expected, rel=1e-6, nan_ok=True)  # Lightning logs float32
    assert np.nanmean(found) == pytest.approx(values["val/miou"], rel=1e-6)
    if find_spec("cityscapesscripts"):
        assert officially(predictions, truth, tmp_path) == pytest.approx(found, rel=0, abs=0, nan_ok=True)
    deeplab("predict", *experiment, *last, "--data.test_split", "test", "--trainer.callbacks+", "WriteSubmission")
    check_submission(logs / "predict_1" / "cityscapes_test_results.zip", root)


def unpacked(package: Path) -> dict[str, NDArray[np.uint8]]:
    """The label maps in a zip file, by image."""
    with zipfile.ZipFile(package) as archive:
        opened = {name.removesuffix(".png"): Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()}
    assert {image.mode for image in opened.values()} == {"L"}
    return {name: np.asarray(image) for name, image in opened.items()}


def check_submission(package: Path, root: Path) -> None:
    """Check for one 8-bit grey PNG of scored label ids for each test image, named after it, of its size."""
    label_maps = unpacked(package)
    images = sorted((root / "leftImg8bit" / "test").glob("*/*.png"))
    assert sorted(label_maps) == [path.name.removesuffix("_leftImg8bit.png") for path in images]
    for labels in label_maps.values():
        assert labels.shape == SIZE
        assert set(np.unique(labels)) <= set(LABEL_IDS)


def test_predictions_at_half_resolution_are_not_packed(root: Path, tmp_path: Path, failure: Failure) -> None:
    submit = ["--data.test_split", "test", "--trainer.callbacks+", "WriteSubmission", "--data.half_resolution", "true"]
    assert "half_resolution" in failure("predict", *options(root, tmp_path), "--untrained", "true", *submit)


def test_every_class_is_packed_as_its_label_id(root: Path, tmp_path: Path) -> None:
    data = CityscapesDataModule(str(root), image_size=SIZE)
    classes = (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 19).astype(np.uint8)
    (tmp_path / "predictions").mkdir()
    images = {path.name.removesuffix("_leftImg8bit.png"): path for path in (root / "leftImg8bit/test").glob("*/*.png")}
    for image_id in images:
        label_image(classes, data.palette).save(tmp_path / "predictions" / f"{image_id}.png")
    package = write_submission(
        images, tmp_path / "predictions", data.server("comp6"), palette=data.palette, folder=tmp_path
    )
    for labels in unpacked(package).values():
        assert labels.ravel()[:19].tolist() == list(LABEL_IDS)
