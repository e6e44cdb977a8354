"""Caffe's networks in the layout of the releases, with random numbers, are imported to equal logits."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeplab_lightning.models.deeplab_v1 import DeepLabV1
from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.models.vgg import VGG16
from deeplab_lightning.published.caffe import COPY, from_caffe, start_from_caffe
from deeplab_lightning.published.formats.caffe import read_caffemodel
from tests.published.formats.writers import message
from tests.thin import an_eighth_of_the_channels

FACTOR = 2.0  # Caffe's is 999.98; this one divides without rounding
CLASSES = 7
NETWORKS: dict[str, Callable[[], SegmentationNetwork]] = {
    "LargeFOV": lambda: DeepLabV1(CLASSES),
    "MSc-LargeFOV": lambda: DeepLabV1(CLASSES, multi_scale=True),
    "7x7": lambda: DeepLabV1(CLASSES, kernel_size=7, rate=4, fc_channels=4096, pool5a=False),
    "ASPP-L": lambda: DeepLabV2(CLASSES, "vgg16"),
    "ResNet-101": lambda: DeepLabV2(CLASSES, "resnet101", input_scales=(1.0, 0.75, 0.5)),
}
Layer = tuple[str, str, list[Tensor], str]
"""Name, type, arrays and input of a layer."""


@pytest.fixture(autouse=True)
def thin() -> Iterator[None]:
    with an_eighth_of_the_channels():
        yield


def randomised(network: SegmentationNetwork) -> SegmentationNetwork:
    for name, tensor in network.state_dict().items():
        if tensor.dtype.is_floating_point:
            nn.init.uniform_(tensor, 0.5 if name.endswith("running_var") else -0.3, 1.5 if "running" in name else 0.3)
    return network.eval()


def arrays(module: nn.Module) -> list[Tensor]:
    return [tensor for name, tensor in module.state_dict().items() if name in ("weight", "bias")]


def vgg(network: DeepLabV1 | DeepLabV2) -> Iterator[Layer]:
    assert isinstance(network.backbone, VGG16)
    convs = iter(layer for layer in network.backbone.modules() if isinstance(layer, nn.Conv2d))
    bottom = "data"
    for block, num_units in enumerate((2, 2, 3, 3, 3), 1):
        for unit in range(1, num_units + 1):
            name = f"conv{block}_{unit}"
            yield name, "Convolution", arrays(next(convs)), bottom
            bottom = name
        bottom = f"pool{block}"
    classifiers = [arrays(layer) for layer in network.classifier]
    if isinstance(network, DeepLabV2):
        assert network.head is not None
        for number, (branch, classifier) in enumerate(zip(network.head.branches, classifiers, strict=True), 1):
            yield f"fc6_{number}", "Convolution", arrays(branch.get_submodule("0")), "pool5"
            yield f"fc7_{number}", "Convolution", arrays(branch.get_submodule("3")), f"fc6_{number}"
            yield f"fc8_voc12_{number}", "Convolution", classifier, f"fc7_{number}"
        return
    has_pool5a = isinstance(network.backbone.pool5a, nn.AvgPool2d)
    yield "fc6", "Convolution", arrays(network.head[0]), "pool5a" if has_pool5a else "pool5"
    yield "fc7", "Convolution", arrays(network.head[3]), "fc6"
    yield "fc8_voc12", "Convolution", classifiers[0], "fc7"
    if network.decoder is None:
        return
    for source, branch, classifier in zip(
        ("data", "pool1", "pool2", "pool3", "pool4"), network.decoder.branches, classifiers[1:], strict=True
    ):
        yield f"{source}_conv", "Convolution", arrays(branch.get_submodule("0")), source
        yield f"{source}_fc", "Convolution", arrays(branch.get_submodule("3")), f"{source}_conv"
        yield f"{source}_ms_voc12", "Convolution", classifier, f"{source}_fc"


def resnet(network: DeepLabV2) -> Iterator[Layer]:
    modules = dict(network.backbone.named_modules())

    def unit(conv: str, norm: str, name: str, conv_name: str) -> Iterator[Layer]:
        batch_norm = modules[norm]
        statistics = [FACTOR * getattr(batch_norm, each) for each in ("running_mean", "running_var")]
        yield conv_name, "Convolution", arrays(modules[conv]), ""
        yield f"bn{name}", "BatchNorm", [*statistics, torch.tensor([FACTOR])], ""
        yield f"scale{name}", "Scale", arrays(batch_norm), ""

    yield from unit("conv1", "bn1", "_conv1", "conv1")
    letters: dict[int, list[str]] = {2: [*"abc"], 3: ["a", "b1", "b2", "b3"], 5: [*"abc"]}
    letters[4] = ["a", *(f"b{number}" for number in range(1, 23))]
    for stage in (2, 3, 4, 5):
        for index, letter in enumerate(letters[stage]):
            own = f"layer{stage - 1}.{index}"
            if index == 0:
                name = f"{stage}a_branch1"
                yield from unit(f"{own}.downsample.0", f"{own}.downsample.1", name, f"res{name}")
            for number, part in enumerate("abc", 1):
                name = f"{stage}{letter}_branch2{part}"
                yield from unit(f"{own}.conv{number}", f"{own}.bn{number}", name, f"res{name}")
    for index, classifier in enumerate(network.classifier):
        yield f"fc1_voc12_c{index}", "Convolution", arrays(classifier), ""


def rate(network: SegmentationNetwork, name: str) -> int:
    if isinstance(network, DeepLabV1):
        return {(3, 3): 12, (7, 7): 4}[network.head[0].kernel_size] if name == "fc6" else 1  # type: ignore[index]
    return (
        {"1": 6, "2": 12, "3": 18, "4": 24}.get(name[-1], 1)
        if name.startswith("fc6_")
        else (6 * (int(name[-1]) + 1) if name.startswith("fc1_") else 1)
    )


def write(network: SegmentationNetwork, path: Path, drop: str = "", first_generation: bool = False) -> None:
    """Write the layers of a network; those of the ResNet a second time, as of its smaller inputs."""
    assert isinstance(network, DeepLabV1 | DeepLabV2)
    is_vgg = isinstance(network.backbone, VGG16)
    layers = [*(vgg(network) if is_vgg else resnet(network))]  # type: ignore[arg-type]
    if not is_vgg:
        layers += [(f"{name}_res075", kind, blobs, bottom) for name, kind, blobs, bottom in layers[:3]]
        assert all(COPY.fullmatch(name) for name, *_ in layers[-3:])
    content = b""
    for name, kind, blobs, bottom in layers:
        if name == drop:
            continue
        if first_generation:
            shapes = [(1,) * (4 - tensor.ndim) + tuple(tensor.shape) for tensor in blobs]
            parts: list[Any] = [
                dict(zip((1, 2, 3, 4), shape, strict=True)) | {5: tensor.numpy().tobytes()}
                for shape, tensor in zip(shapes, blobs, strict=True)
            ]
            content += message({2: {4: name, 5: 4, 2: bottom, 3: name, 6: parts, 10: {17: rate(network, name)}}})
        else:
            parts = [{7: {1: [*tensor.shape]}, 5: tensor.numpy().tobytes()} for tensor in blobs]
            content += message({100: {1: name, 2: kind, 3: bottom, 4: name, 7: parts, 106: {18: rate(network, name)}}})
    path.write_bytes(content)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_equal(tmp_path: Path, name: str) -> None:
    network = randomised(NETWORKS[name]())
    path = tmp_path / "net.caffemodel"
    write(network, path, first_generation=isinstance(network, DeepLabV1))
    imported = from_caffe(read_caffemodel(path))
    images = torch.randn(1, 3, 65, 73)
    with torch.no_grad():
        assert torch.equal(imported.network(images), network(images))
    assert len(imported.used) == len([key for key in network.state_dict() if "num_batches" not in key])
    assert all("_res075" in ignored for ignored in imported.ignored)


@pytest.mark.parametrize(
    ("name", "dropped"), [("LargeFOV", "fc7"), ("MSc-LargeFOV", "pool3_fc"), ("ResNet-101", "bn4b7_branch2b")]
)
def test_a_missing_layer_is_named(tmp_path: Path, name: str, dropped: str) -> None:
    path = tmp_path / "net.caffemodel"
    write(NETWORKS[name](), path, drop=dropped, first_generation=name != "ResNet-101")
    with pytest.raises(ValueError, match=dropped.partition("_fc")[0]):
        from_caffe(read_caffemodel(path))


def test_other_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    for name, words in (("fc8_voc12", "classifier"), ("conv1_1", "conv1_2")):
        write(DeepLabV1(CLASSES), path, drop=name)
        with pytest.raises(ValueError, match=words):
            from_caffe(read_caffemodel(path))


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = DeepLabV1(CLASSES)
    nn.init.constant_(network.classifier[0].bias, float("nan"))  # type: ignore[arg-type]
    path = tmp_path / "net.caffemodel"
    write(network, path)
    with pytest.raises(ValueError, match="fc8_voc12 bias.*not finite"):
        from_caffe(read_caffemodel(path))


@pytest.mark.parametrize(
    ("name", "missing", "parts"),
    [
        ("LargeFOV", "fc8_voc12", ("backbone.", "head.")),  # vgg16_20M: fc6 and fc7, no classifier of a segmentation
        ("LargeFOV", "fc6", ("backbone.", "head.3.")),
        ("ASPP-L", "", ("backbone.", "head.")),
        ("ResNet-101", "", ("backbone.",)),  # v2's init: the classifier of COCO's 91 classes is dropped
    ],
)
def test_a_training_starts_from_the_trunk_and_what_fits(
    tmp_path: Path, name: str, missing: str, parts: tuple[str, ...]
) -> None:
    network = randomised(NETWORKS[name]())
    path = tmp_path / "init.caffemodel"
    write(network, path, drop=missing)
    start = start_from_caffe(read_caffemodel(path))
    own = {key: value for key, value in network.state_dict().items() if "num_batches" not in key}
    assert set(start.tensors) == {key for key in own if key.startswith(parts)}
    assert all(torch.equal(tensor, own[key]) for key, (_, tensor) in start.tensors.items())
    assert not any(layer.startswith(("conv", "res2")) and "_res075" not in layer for layer in start.dropped)
    if name == "ResNet-101":
        assert {"fc1_voc12_c0", "conv1_res075"} <= set(start.dropped)
        assert start.settings == {"backbone": "resnet101", "stride_unit": "first_1x1"}
    with pytest.raises(ValueError, match="first layers"):
        start_from_caffe([])
