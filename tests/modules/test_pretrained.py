"""`pretrained` takes a name: the backbone of published weights starts a training, the rest of the network is new."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.modules import pretrained
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule
from deeplab_lightning.published.cache import place
from deeplab_lightning.published.converting import convert
from deeplab_lightning.published.entries import entry
from deeplab_lightning.usage import UsageError
from tests.published.releases import SMALLEST, random_network

MOBILENET = {
    "backbone": "mobilenet_v2",
    "batch_norm_eps": 1e-3,
    "strided_padding": "same",
    "normalization": "inception",
}


def build(**changes: object) -> DeepLabV3PlusModule:
    settings = {"width_multiplier": 0.5, "pretrained": SMALLEST, "aspp_channels": 8, **MOBILENET, **changes}
    return DeepLabV3PlusModule(3, **settings)  # type: ignore[arg-type]


def test_the_backbone_is_that_of_the_published_weights(weights_cache: Path) -> None:
    module, published = build(), random_network()
    own, theirs = module.network.state_dict(), published.state_dict()
    backbone = [key for key in own if key.startswith("backbone.")]
    assert all(torch.equal(own[key], theirs[key]) for key in backbone)
    assert module.hparams["pretrained"] == SMALLEST
    assert module.network.num_classes == 3


def test_images_of_more_channels(weights_cache: Path) -> None:
    module = build(in_channels=4)
    assert module.network.state_dict()["backbone.features.0.0.weight"].shape[1] == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"normalization": "imagenet"}, "model.normalization"),
        ({"width_multiplier": 1.0}, "backbone.features.0"),
        ({"batch_norm_eps": None}, "batch_norm_eps 0.001 there"),
        (
            {"backbone": "resnet18", "batch_norm_eps": None, "strided_padding": "symmetric", "width_multiplier": 1.0},
            "strided_padding same there",
        ),
    ],
)
def test_another_backbone_is_refused(changes: dict[str, object], words: str, weights_cache: Path) -> None:
    with pytest.raises(ValueError, match=words):
        build(**changes)


def test_names(weights_cache: Path) -> None:
    with pytest.raises(UsageError, match=SMALLEST):
        build(pretrained=SMALLEST[:-1])
    with pytest.raises(ValueError, match="a module"):
        DeepLabV3(3, "resnet18", pretrained=entry(SMALLEST).name)


def test_a_backbone_alone(weights_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of ImageNet weights have no segmentation network; `pretrained` takes them, `start_from` does not."""
    own = replace(entry(SMALLEST), network=None, trunk={"backbone": "mobilenet_v2", "width_multiplier": 0.5})
    path = tmp_path / "trunk.ckpt"
    converted = convert(place(entry(SMALLEST)), own)
    converted.write(path)
    assert "logits/semantic/weights" in converted.ignored
    with pytest.raises(ValueError, match=r"model\.pretrained"):
        build(pretrained=False, start_from=str(path))
    monkeypatch.setattr(pretrained, "checkpoint", {"tensorflow/backbone": path}.__getitem__)
    weights, published = build(pretrained="tensorflow/backbone").network.state_dict(), random_network().state_dict()
    statistics = [key for key in published if key.startswith("backbone.") and not key.endswith("tracked")]
    assert all(torch.equal(weights[key], published[key]) for key in statistics)
