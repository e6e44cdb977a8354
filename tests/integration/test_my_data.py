"""docs/my_data.md: satellite tiles from check to prediction, and the settings that it shows."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from PIL import Image

from deeplab_lightning.settings.compose import compose
from deeplab_lightning.settings.resolve import resolve
from tests.integration.conftest import ROOT, TINY, Run

PAGE = (ROOT / "docs" / "my_data.md").read_text()
BLOCKS: list[dict[str, Any]] = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
CLASS_FILE = re.findall(r"```conf\n(void = .*?)```", PAGE, re.DOTALL)[0]


def write_tiles(root: Path) -> None:
    """Tiles of four channels, 12 bits in 16, whose mask values follow from the fourth channel."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks", "splits"):
        (root / folder).mkdir(parents=True)
    for split, count in (("train", 8), ("val", 3), ("test", 2)):
        (root / "splits" / f"{split}.txt").write_text("".join(f"{split}_{number}\n" for number in range(count)))
        for number in range(count):
            labels = np.kron(rng.integers(0, 3, (4, 5)), np.ones((10, 10), int))
            tile = rng.integers(200, 1200, (40, 50, 4)) + 1300 * labels[..., None] * [0, 0, 0, 1]
            name = f"{split}_{number}.tif"
            settings: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig", "compression": "zlib"}
            tifffile.imwrite(root / "images" / name, tile.astype(np.uint16), **settings)
            tifffile.imwrite(root / "masks" / name, np.array([0, 300, 65535])[labels].astype(np.uint16))
    (root / "class_names.txt").write_text(CLASS_FILE)


def test_satellite_tiles_from_check_to_prediction(
    tmp_path: Path, deeplab: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiles(tmp_path / "tiles")
    block = BLOCKS[0]
    shown = block["data"]["init_args"]
    assert (shown["in_channels"], shown["value_range"]) == (4, [0, 4095])
    own = {key: value for key, value in shown.items() if key not in ("mean", "std")} | {"root": str(tmp_path / "tiles")}
    data = tmp_path / "data.yaml"
    data.write_text(yaml.safe_dump({"data": {"class_path": "FolderDataModule", "init_args": own}}))
    assert deeplab("data", "check", "-c", data, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"train": 8, "val": 3, "test": 2}
    tiles = [tifffile.imread(path) / 4095 for path in sorted((tmp_path / "tiles/images").glob("train_*"))]
    np.testing.assert_allclose(found["channels"]["mean"], np.mean(tiles, (0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(found["channels"]["std"], np.std(tiles, (0, 1, 2)), atol=1e-4)
    data.write_text(yaml.safe_dump({"data": {"class_path": "FolderDataModule", "init_args": own | found["channels"]}}))
    (tmp_path / "tiny.yaml").write_text(TINY)
    options: list[object] = []
    for config in (ROOT / "experiments/base.yaml", data, tmp_path / "tiny.yaml"):
        options += ["-c", config]
    rotation = "[{torchvision.transforms.v2.RandomRotation: {degrees: [20, 40]}}]"
    options += ["--trainer.default_root_dir", tmp_path / "run", "--data.transforms", rotation]
    assert (
        deeplab("fit", *options, "--model.loss", "{cross_entropy: 1, dice: 0.5}", "--model.class_weights", "auto") == 0
    )
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["in_channels"] == 4
    assert checkpoint["hyper_parameters"]["loss"] == {"cross_entropy": 1, "dice": 0.5}
    weights = [row["weight"] for row in found["class_frequencies"].values()]
    assert checkpoint["hyper_parameters"]["class_weights"] == weights
    assert yaml.safe_load((tmp_path / "run/logs/fit_0/hparams.yaml").read_text())["class_weights"] == weights
    assert checkpoint["state_dict"]["network.backbone.features.0.0.weight"].shape[1] == 4
    assert tuple(checkpoint["description"]["normalization"]["value_range"]) == (0, 4095)
    recorded = yaml.safe_load((tmp_path / "run/logs/fit_0/config.yaml").read_text())["data"]["init_args"]
    assert recorded["transforms"] == yaml.safe_load(rotation)
    last = ("--ckpt_path", tmp_path / "run" / "last.ckpt")
    assert deeplab("validate", *options, *last) == 0
    assert deeplab("predict", *options, *last, "--data.predict_images", tmp_path / "tiles/images") == 0
    predictions = sorted((tmp_path / "run").rglob("predictions/val_*.png"))
    assert len(predictions) == 3
    assert all(np.isin(np.asarray(Image.open(path)), (0, 1)).all() for path in predictions)


@pytest.mark.parametrize("block", BLOCKS[1:], ids=str)
def test_every_setting_that_is_shown_exists(block: dict[str, Any]) -> None:
    base = compose([yaml.safe_load(TINY), {"data": BLOCKS[0]["data"]}])
    resolved = resolve(compose([base, block]))
    for number, callback in enumerate(block.pop("trainer", {}).get("callbacks+", [])):
        assert resolved[f"trainer.callbacks.{number}.class_path"] == callback["class_path"]
        for name, value in callback["init_args"].items():
            assert resolved[f"trainer.callbacks.{number}.init_args.{name}"] == value
    for part, content in block.items():
        for name, value in content["init_args"].items():
            assert resolved[f"{part}.init_args.{name}"] == value
