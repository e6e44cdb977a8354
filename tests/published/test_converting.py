"""Published files become checkpoints that describe themselves, by their names in the catalogue or by their contents."""

from pathlib import Path

import pytest
import torch
from torch import nn

from deeplab_lightning.checkpoint_file import read_checkpoint
from deeplab_lightning.description import DESCRIPTION, ModelDescription
from deeplab_lightning.models.build import build_network
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.published.cache import place
from deeplab_lightning.published.catalogue import checkpoint, converted_place, is_cached, load, resolve
from deeplab_lightning.published.converting import convert
from deeplab_lightning.published.entries import entries, entry
from deeplab_lightning.usage import UsageError
from tests.published.formats.writers import write_bundle
from tests.published.releases import PREFIX, SMALLEST, random_network, variables


@pytest.fixture(scope="session")
def released() -> SegmentationNetwork:
    """The network that lies in `weights_cache`."""
    return random_network()


def test_a_name_gives_the_network_and_its_description(weights_cache: Path, released: SegmentationNetwork) -> None:
    network, description = load(SMALLEST)
    images = torch.randn(1, 3, 33, 41)
    with torch.no_grad():
        assert torch.equal(network(images), released(images))
    assert (description.network, description.pad_to) == ("DeepLabV3", (513, 513))
    assert description.class_names[15] == "person"
    assert description.normalization.mean == (0.5, 0.5, 0.5)
    assert converted_place(entry(SMALLEST)).is_file()


def test_the_cache_is_asked_without_a_download(weights_cache: Path) -> None:
    assert is_cached(SMALLEST)
    assert not is_cached("torchvision/deeplabv3_resnet101")


def test_a_converted_checkpoint_is_one_of_ours(weights_cache: Path, released: SegmentationNetwork) -> None:
    path = checkpoint(SMALLEST)
    assert resolve(SMALLEST) == str(path)
    assert resolve(str(path)) == str(path)
    module = SegmentationModule.load_from_checkpoint(path)
    assert type(module).__name__ == "DeepLabV3Module"
    assert torch.equal(module.network.get_parameter("classifier.weight"), released.get_parameter("classifier.weight"))
    assert read_checkpoint(path)["origin"] == SMALLEST


def test_a_file_is_recognised_by_its_contents(weights_cache: Path) -> None:
    converted = convert(place(entry(SMALLEST)))
    description = ModelDescription.of_dict(converted.checkpoint[DESCRIPTION])
    assert converted.source == "tensorflow"
    assert description.class_names[15] == "person"
    assert description.arguments["width_multiplier"] == 0.5
    assert {name.rpartition("/")[2] for name in converted.ignored} == {"Momentum", "global_step"}
    num_convolutions = len([name for name in converted.used if name.endswith("weights")])
    assert len(converted.ignored) == num_convolutions + 1


def test_a_network_of_other_classes(tmp_path: Path) -> None:
    own = build_network("DeepLabV3", {**entry(SMALLEST).arguments, "num_classes": 5})
    write_bundle(tmp_path / PREFIX, variables(own))
    description = ModelDescription.of_dict(convert(tmp_path).checkpoint[DESCRIPTION])
    assert description.class_names == ("0", "1", "2", "3", "4")
    assert len(description.assumed) == 1


def test_another_network_than_the_catalogue_says(weights_cache: Path) -> None:
    other = entry("tensorflow/mobilenetv2_coco_voc_trainaug")
    with pytest.raises(ValueError, match=r"width_multiplier 0\.5 there, 1"):
        convert(place(entry(SMALLEST)), other)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty.*no checkpoint"):
        convert(tmp_path / "empty")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(ValueError, match=r"linear\.pth.*known source.*weight"):
        convert(tmp_path / "linear.pth")
    (tmp_path / "broken.tar.gz").write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(ValueError, match=r"broken\.tar\.gz"):
        convert(tmp_path / "broken.tar.gz")
    for name in ("a.index", "b.index"):
        (tmp_path / "empty" / name).touch()
    with pytest.raises(ValueError, match=r"2 checkpoints.*a\.index, b\.index"):
        convert(tmp_path / "empty")


def test_a_checkpoint_that_cannot_be_read_says_so(weights_cache: Path) -> None:
    for each in entries().values():
        if each.unsupported:
            with pytest.raises(UsageError, match="cannot be read"):
                checkpoint(each.name)


def test_a_backbone_alone_is_no_network(weights_cache: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.pretrained"):
        load("tensorflow/xception65_imagenet")
