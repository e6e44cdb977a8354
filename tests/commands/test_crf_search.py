"""The files that `deeplab crf-search` writes."""

from pathlib import Path

import pytest

from deeplab_lightning.__main__ import main
from deeplab_lightning.commands.crf_search import SearchFolder, write
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf_search import NO_CRF, Search

WEAK, STRONG = DenseCRF(1, 10, 10, 1, 1), DenseCRF(3, 10, 10, 1, 1)


def searched(folder: Path, without: float, weak: float, strong: float) -> Search:
    search = Search([folder / "0.npz"], folder / "search.csv", 1)
    search.scores = {NO_CRF: without, WEAK: weak, STRONG: strong}
    return search


def test_if_no_crf_helps_no_setting_is_written(tmp_path: Path) -> None:
    """The setting of an earlier search is removed."""
    (tmp_path / "best.yaml").touch()
    for without, weak, strong in ((0.5, 0.3, 0.4), (0.5, 0.3, 0.5)):
        said = write(searched(tmp_path, without, weak, strong), SearchFolder(tmp_path))
        assert (
            f"The best of 2 CRF settings, normalised after filtering, on 1 validation image: mIoU {strong:.4f}" in said
        )
        assert "0.5000 without CRF" in said
        assert "no CRF improves the prediction" in said
        assert {path.name for path in tmp_path.iterdir()} == {"heat_map.png"}


def test_the_best_setting_is_written(tmp_path: Path) -> None:
    said = write(searched(tmp_path, 0.3, 0.35, 0.4), SearchFolder(tmp_path))
    assert "wrote best.yaml" in said
    assert "bilateral_weight: 3" in (tmp_path / "best.yaml").read_text()


def test_other_files_in_the_folder_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the files of an earlier search are removed from a chosen folder."""
    (tmp_path / "best.ckpt").touch()
    config = tmp_path / "logs" / "fit_0" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("{model: {class_path: DeepLabV1Module}, data: {class_path: VOCDataModule}}")
    folder = tmp_path / "mine"
    (folder / "logits").mkdir(parents=True)
    kept = [folder / "thesis.tex", folder / "logits" / "notes.txt"]
    for path in (*kept, folder / "logits" / "0.npz", folder / "search.csv", folder / "best.yaml"):
        path.touch()
    assert main(["crf-search", str(tmp_path / "best.ckpt"), "--output", str(folder), "--data.root", "nowhere"]) == 1
    assert "error" in capsys.readouterr().err
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted([*kept, folder / "settings.yaml"])
