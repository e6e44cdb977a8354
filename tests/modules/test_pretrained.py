"""`pretrained` takes a name: the backbone of published weights starts a training, the rest of the network is new."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.modules import pretrained
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule
from deeplab_lightning.published.cache import place
from deeplab_lightning.published.converting import convert
from deeplab_lightning.published.entries import Entry, entry
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
    monkeypatch.setattr(pretrained, "checkpoint", lambda name, substitute: path)
    weights, published = build(pretrained="tensorflow/backbone").network.state_dict(), random_network().state_dict()
    statistics = [key for key in published if key.startswith("backbone.") and not key.endswith("tracked")]
    assert all(torch.equal(weights[key], published[key]) for key in statistics)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backbone": "resnet18", "normalization": "caffe"}, "'imagenet'"),
        ({"backbone": "xception65", "normalization": "imagenet"}, "'inception'"),
    ],
)
def test_imagenet_weights_of_another_normalization_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=f"normalization {words}"):
        DeepLabV3PlusModule(3, pretrained=True, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "settings", "options"),
    [
        ("caffe/vgg16_20M", {"normalization": "caffe"}, "--model.pretrained true --model.normalization imagenet"),
        (
            "tensorflow/resnet50_beta_imagenet",
            {"backbone": "resnet50", "stem": "three_conv3x3", "stride_unit": "last", "normalization": "inception"},
            "--model.pretrained true --model.normalization imagenet --model.stride_unit first --model.stem conv7x7",
        ),
        ("tensorflow/xception65_imagenet", {"backbone": "xception65", "normalization": "inception"}, "true"),
    ],
)
def test_without_the_file_other_weights_are_offered(
    name: str, settings: dict[str, object], options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(entry: Entry) -> Path:
        raise DataError(f"{entry.name}: no network")

    monkeypatch.setenv("DEEPLAB_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("deeplab_lightning.published.cache.fetch", absent)
    with pytest.raises(DataError, match="no network; or start from (torchvision|timm)'s") as refused:
        pretrained.load_pretrained(torch.nn.Identity(), name, settings)
    assert str(refused.value).endswith(options)


def test_a_start_point_that_a_checkpoint_replaces_is_not_loaded() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"a\.ckpt"
    ):  # which comes after the start point, of which there is none
        DeepLabV3PlusModule(3, pretrained="tensorflow/none", backbone="resnet18", start_from="a.ckpt")
