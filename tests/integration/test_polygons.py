"""Folders whose labels are polygons, from check to training, against the same folder with masks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.datamodules.folder import FolderDataModule
from tests.integration.conftest import ROOT

FOLDER = str(ROOT / "experiments" / "data" / "folder.yaml")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six images with a box of each of two classes, as COCO JSONs of the splits, labelme's files and masks."""
    rng = np.random.default_rng(0)
    root = tmp_path / "boxes"
    for folder in ("images", "annotations", "labelme", "masks", "splits"):
        (root / folder).mkdir(parents=True)
    (root / "class_names.txt").write_text("background\nroad\ncar\n")
    for split, names in (("train", "abcd"), ("val", "ef")):
        (root / "splits" / f"{split}.txt").write_text("\n".join(names))
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
        content["categories"] = [{"id": 5, "name": "car"}, {"id": 6, "name": "road"}]
        for number, name in enumerate(names):
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(root / "images" / f"{name}.png")
            mask, shapes = np.zeros((40, 50), np.uint8), []
            content["images"].append({"id": number, "file_name": f"{name}.png", "height": 40, "width": 50})
            for label, category in (("road", 6), ("car", 5)):
                left, top = rng.integers(0, 25, 2).tolist()
                right, bottom = left + 14, top + 12
                mask[top:bottom, left:right] = 1 if label == "road" else 2
                corners = [left, top, right, top, right, bottom, left, bottom]
                own = {"id": len(content["annotations"]), "image_id": number, "category_id": category}
                content["annotations"].append(own | {"segmentation": [corners]})
                points = [[left, top], [right - 1, bottom - 1]]  # Pillow fills the outline too
                shapes.append({"label": label, "shape_type": "rectangle", "points": points})
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")
            drawing = {"imageHeight": 40, "imageWidth": 50, "shapes": shapes}
            (root / "labelme" / f"{name}.json").write_text(json.dumps(drawing))
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def test_polygons_train_like_the_masks_that_they_draw(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, batches = [], []
    for annotations in (None, "labelme", "annotations/instances_{split}.json"):
        options = [] if annotations is None else ["--data.annotations", annotations]
        assert main(["data", "check", "-c", FOLDER, "--root", str(root), "--json", *options]) == 0
        found.append(json.loads(capsys.readouterr().out))
        own = FolderDataModule(str(root), annotations=annotations, batch_size=4, crop_size=(32, 32), num_workers=0)
        own.setup("fit")
        (batch,) = own.train_dataloader()
        batches.append(batch)
    assert found[0]["counts"] == {"train": 4, "val": 2}
    assert found[0] == found[1] == found[2]
    assert all(torch.equal(batches[0][key], batch[key]) for batch in batches[1:] for key in ("image", "mask"))
    picture = tmp_path / "samples.png"
    shown = ["--image-id", "a", "--data.annotations", "labelme", "--out", str(picture)]
    assert main(["data", "show", "-c", FOLDER, "--root", str(root), *shown]) == 0
    with Image.open(picture) as shown_samples:
        assert shown_samples.width > 1000
