from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.published.formats.caffe import read_caffemodel
from deeplab_lightning.published.formats.files import FormatError
from tests.published.formats.writers import message

LAYER = {1: "conv1", 2: "Convolution", 7: {7: {1: b"\x01\x02"}, 5: np.array([1, 2], "<f4").tobytes()}}


@pytest.mark.parametrize("name", ["v1_vgg_form", "v2_resnet_form"])
def test_arrays_are_read_to_the_bit(real_data: Path, name: str) -> None:
    layers = {
        layer.name: layer for layer in read_caffemodel(real_data / "checkpoints" / "caffe" / f"{name}.caffemodel")
    }
    with np.load(real_data / "checkpoints" / "caffe" / f"{name}.npz") as expected:
        named = [key.split(":") for key in expected]
        assert {layer for layer, _ in named} <= {name for name, layer in layers.items() if layer.blobs}
        for layer, number in named:
            array = expected[f"{layer}:{number}"]
            np.testing.assert_array_equal(layers[layer].blobs[int(number)].reshape(array.shape), array)


def test_the_graph_is_read(real_data: Path) -> None:
    layers = {
        each.name: each for each in read_caffemodel(real_data / "checkpoints" / "caffe" / "v1_vgg_form.caffemodel")
    }
    assert layers["fc6"].dilation == 12
    assert layers["fc6"].bottoms == ("pool5a",)
    assert layers["relu1_1"].kind == "ReLU"
    assert layers["fc6"].blobs[1].shape == (16,)
    layers = {
        each.name: each for each in read_caffemodel(real_data / "checkpoints" / "caffe" / "v2_resnet_form.caffemodel")
    }
    assert layers["conv1"].stride == 2
    assert layers["scale_conv1"].kind == "Scale"


def test_numbers_one_by_one_are_read(tmp_path: Path) -> None:
    """Of a field that is repeated and not packed, as early writers left it."""
    path = tmp_path / "net.caffemodel"
    path.write_bytes(message({100: LAYER | {7: {1: 2, 2: 1, 3: 1, 4: 1, 5: [1.0, 2.0]}}}))
    (layer,) = read_caffemodel(path)
    np.testing.assert_array_equal(layer.blobs[0], np.array([1, 2], np.float32).reshape(2, 1, 1, 1))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (message({100: LAYER | {7: {7: {1: b"\x03"}, 5: 1.0}}}), r"conv1.*1 numbers.*\[3\]"),
        (message({100: [LAYER, LAYER]}), "same name"),
        (message({100: {1: "data", 2: "Data"}}), "no layers with weights"),
        (message({100: LAYER})[:-3], "cut short"),
        (message({100: LAYER | {7: 5}}), "damaged"),
        (b"PK\x03\x04 something else altogether", "net.caffemodel"),
        (b"", "empty"),
    ],
)
def test_a_damaged_or_foreign_file_is_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=words) as raised:
        read_caffemodel(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)
