"""`deeplab weights` lists, shows, gets, converts and scores."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from deeplab_lightning import load
from deeplab_lightning.__main__ import main
from deeplab_lightning.published.cache import place
from deeplab_lightning.published.entries import entries, entry
from tests.published.releases import SMALLEST
from tests.segmentation.models import describe_small, write_checkpoint


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list"]) == 0
    lines = capsys.readouterr().out
    assert all(name in lines for name in entries())
    assert main(["weights", "list", "xception65", "ADE20K"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    name = "tensorflow/xception65_coco_voc_trainaug"
    assert main(["weights", "show", name]) == 0
    shown = capsys.readouterr().out
    for words in ("83.58", "pad_to_513", "Apache-2.0", str(entry(name).url), "inception", "not published"):
        assert words in shown


def test_get_and_convert(weights_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "get", SMALLEST]) == 0
    printed = capsys.readouterr().out
    assert str(weights_cache) in printed
    out = tmp_path / "mine.ckpt"
    assert main(["weights", "convert", str(place(entry(SMALLEST))), "--out", str(out)]) == 0
    assert out.is_file()
    assert "Momentum" in capsys.readouterr().out


def test_score(weights_cache: Path, voc_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--root", str(voc_root), "--out", str(tmp_path), "--data.num_workers", "0"]
    assert main(["weights", "score", SMALLEST, *options]) == 0
    printed = capsys.readouterr().out
    for words in ("70.19", f"weights {SMALLEST}", "513x513", "output_stride 16"):
        assert words in printed


def test_scores_that_cannot_be_measured(voc_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, reason in (
        ("caffe/v1_largefov_voc_trainval", "not public"),
        ("mmsegmentation/deeplabv3_r101-d8_480x480_40k_pascal_context", "not among"),
    ):
        assert main(["weights", "score", name, "--root", str(voc_root)]) == 1
        assert reason in " ".join(capsys.readouterr().out.split())


def test_a_name_segments(weights_cache: Path, voc_root: Path) -> None:
    picture = next((voc_root / "JPEGImages").iterdir())
    result = load(SMALLEST, device="cpu").segment(picture)
    with Image.open(picture) as image:
        assert result.mask.shape == image.size[::-1]


def test_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["show", "tensorflow/xception65"], ["get", SMALLEST, "--rot", "x"], ["convert", "nowhere.pth"], []):
        assert main(["weights", *words]) in (1, 2)
        assert capsys.readouterr().err.count("\n") == 1


def test_a_slim_checkpoint_has_only_what_evaluating_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_checkpoint(tmp_path / "best.ckpt", describe_small())
    assert main(["weights", "slim", str(path)]) == 0
    assert "best.slim.ckpt" in capsys.readouterr().out
    content = torch.load(tmp_path / "best.slim.ckpt", weights_only=True)
    assert {"state_dict", "description"} <= content.keys()
    assert "optimizer_states" not in content
