"""A program of torch.export runs without this package, at any size, and holds the description."""

import json
from pathlib import Path

import pytest
import torch

from deeplab_lightning import Segmenter, load
from deeplab_lightning.export.check import ExportError
from deeplab_lightning.export.exported_program import write_exported_program
from deeplab_lightning.export.graph import ExportedNetwork
from deeplab_lightning.segmentation.graph_file import Interface


def test_the_program_gives_the_networks_labels(thin_segmenter: tuple[Path, Segmenter], tmp_path: Path) -> None:
    path, interface = tmp_path / "model.pt2", Interface("pixels", "labels")
    agreement = write_exported_program(thin_segmenter[1], path, interface)
    assert agreement.equal == 1
    texts = {"description": "", "class_names": "", "outputs": ""}
    program = torch.export.load(str(path), extra_files=texts).module()
    network = ExportedNetwork(thin_segmenter[1], interface).eval()
    pixels = network.example(3, 45, 77)
    assert torch.equal(program(pixels)[0], network(pixels)[0])
    assert json.loads(texts["description"]) == thin_segmenter[1].description.as_dict()
    assert (json.loads(texts["class_names"])[1], texts["outputs"]) == ("road", "labels")
    with pytest.raises(ValueError, match="execute code"):
        load(path)


def test_a_program_of_one_size_is_not_kept(
    thin_segmenter: tuple[Path, Segmenter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = torch.export.export(torch.nn.Identity(), (torch.zeros(2, 3, 129, 161),))
    monkeypatch.setattr(torch.export, "export", lambda *_, **__: network)
    with pytest.raises(ExportError, match="every size"):
        write_exported_program(thin_segmenter[1], tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []
