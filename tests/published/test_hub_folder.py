"""Folders of the hub, as `save_pretrained` writes them, give the source's logits; damaged ones are refused by name."""

from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file

from deeplab_lightning.published.importing import Imported
from deeplab_lightning.published.reading import read_weights
from deeplab_lightning.published.smp import from_smp_config
from tests.models.test_resnet import settled


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("DeepLabV3", {"decoder_aspp_separable": True, "decoder_atrous_rates": (6, 12, 18), "decoder_channels": 64}),
        ("DeepLabV3", {"encoder_output_stride": 16, "upsampling": 16, "decoder_aspp_dropout": 0.1}),
        ("DeepLabV3Plus", {"decoder_aspp_separable": False, "aux_params": {"classes": 2}}),
        ("DeepLabV3Plus", {"decoder_channels": 48, "encoder_output_stride": 8, "encoder_name": "tu-resnet18"}),
    ],
)
def test_a_folder_gives_the_logits_of_smp(architecture: str, options: dict[str, Any], tmp_path: Path) -> None:
    given = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 5} | options
    source = settled(getattr(smp, architecture)(**given))
    assert isinstance(source, smp.base.SegmentationModel)
    source.save_pretrained(tmp_path)
    kind, imported = read_weights(tmp_path)
    assert kind == "smp"
    assert isinstance(imported, Imported)
    network = imported.network
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = source(images)
        expected = expected[0] if "aux_params" in options else expected
        logits = network(images)
    assert (logits - expected).abs().max() < 1e-4 * (expected.max() - expected.min())
    assert all(name.startswith("classification_head.") for name in imported.ignored)
    assert bool(imported.ignored) == ("aux_params" in options)
    names = {name for name in source.state_dict() if not name.endswith("num_batches_tracked")}
    assert {*imported.used, *(name for name in imported.ignored if not name.endswith("num_batches_tracked"))} == names


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"_model_class": "Unet"}, "Unet"),
        ({"activation": "softmax"}, "activation 'softmax'"),
        ({"encoder_depth": 4}, "encoder_depth 4"),
        ({"upsampling": 2}, "upsampling 2"),
        ({"decoder_interpolation": "nearest"}, "decoder_interpolation"),
    ],
)
def test_options_without_a_counterpart_are_refused_by_name(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_smp_config({"_model_class": "DeepLabV3Plus"} | changed, {})


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    smp.DeepLabV3("resnet18", encoder_weights=None, classes=5).save_pretrained(tmp_path)
    config, path = tmp_path / "config.json", tmp_path / "model.safetensors"
    for content, words in (("{", "JSON"), ("[1]", "no options")):
        config.write_text(content)
        with pytest.raises(ValueError, match=rf"config.json.*{words}"):
            read_weights(tmp_path)
    config.unlink()
    with pytest.raises(ValueError, match="config.json"):
        read_weights(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="model.safetensors"):
        read_weights(tmp_path)
    save_file({}, path)
    with pytest.raises(ValueError, match="no tensors"):
        read_weights(tmp_path)
