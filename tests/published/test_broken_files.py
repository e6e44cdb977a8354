"""Files that are damaged, foreign or of another network: each is refused in one sentence that names the file."""

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeplab_lightning.models.deeplab_v1 import DeepLabV1
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.lraspp import LRASPP
from deeplab_lightning.published.reading import read_weights
from deeplab_lightning.published.tensorflow_names import lraspp_places, mobilenet_places
from tests.published import test_caffe, test_jfzhang95
from tests.published.formats.writers import DTYPES, fixed32, message, shape, write_bundle
from tests.thin import an_eighth_of_the_channels

Variables = dict[str, NDArray[Any]]
Maker = Callable[[Path], Path]
BLOCK = "MobilenetV3/expanded_conv_3/project/weights"


def small() -> Variables:
    """The variables of two layers."""
    return {"aspp0/weights": np.ones((1, 1, 2, 3), np.float32), "global_step": np.array(7, np.int64)}


def lraspp() -> Variables:
    """The variables of the release's smallest network."""
    own = LRASPP(19, "mobilenet_v3_small_seg").state_dict()
    variables: Variables = {}
    for scope, (conv, norm) in (*mobilenet_places("mobilenet_v3_small_seg"), *lraspp_places()):
        sizes = own[f"{conv}.weight"].shape
        depthwise = scope.endswith("depthwise")
        axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
        kind = "depthwise_weights" if depthwise else "weights"
        variables[f"{scope}/{kind}"] = np.zeros([sizes[axis] for axis in axes], np.float32)
        names = ["BatchNorm/gamma", "BatchNorm/beta", "BatchNorm/moving_mean", "BatchNorm/moving_variance"]
        for name in names if norm else ["biases"]:
            variables[f"{scope}/{name}"] = np.zeros(sizes[0], np.float32)
    return variables


def bundle(variables: Callable[[], Variables], change: Callable[[Variables], object] = lambda _: None) -> Maker:
    def make(folder: Path) -> Path:
        arrays = variables()
        change(arrays)
        return write_bundle(folder / "model.ckpt", arrays)

    return make


def frozen(variables: Callable[[], Variables], change: Callable[[Variables], object] = lambda _: None) -> Maker:
    """A frozen graph, which has no checksums."""

    def make(folder: Path) -> Path:
        arrays = variables()
        change(arrays)
        path = folder / "frozen_inference_graph.pb"
        path.write_bytes(b"".join(constant(name, array) for name, array in arrays.items()))
        return path

    return make


def constant(name: str, array: NDArray[Any]) -> bytes:
    tensor = {1: DTYPES[array.dtype.name], 2: shape(array.shape), 4: array.tobytes()}
    return message({1: {1: name, 2: "Const", 5: {1: "value", 2: {8: tensor}}}})


def without(name: str) -> Callable[[Variables], object]:
    return lambda arrays: arrays.pop(name)


def with_array(name: str, array: NDArray[Any]) -> Callable[[Variables], object]:
    return lambda arrays: arrays.update({name: array})


def index(change: Callable[[bytes], bytes], suffix: str = ".index") -> Maker:
    """A checkpoint one of whose files has other bytes."""

    def make(folder: Path) -> Path:
        prefix = write_bundle(folder / "model.ckpt", small())
        path = prefix.with_name(f"{prefix.name}{suffix}")
        path.write_bytes(change(path.read_bytes()))
        return prefix

    return make


DATA = ".data-00000-of-00001"


def flipped(content: bytes) -> bytes:
    return content[:3] + bytes([content[3] ^ 1]) + content[4:]


def without_data(folder: Path) -> Path:
    prefix = write_bundle(folder / "model.ckpt", small())
    prefix.with_name(f"{prefix.name}{DATA}").unlink()
    return prefix


def swapped(folder: Path) -> Path:
    """The data of another checkpoint with the same shapes."""
    write_bundle(folder / "other.ckpt", {name: array + 1 for name, array in small().items()})
    prefix = write_bundle(folder / "model.ckpt", small())
    (folder / f"other.ckpt{DATA}").replace(folder / f"model.ckpt{DATA}")
    return prefix


def entry(name: str, **fields: object) -> Maker:
    """A checkpoint with one entry of its index replaced."""
    content = message({1: 1, 2: shape((1,)), 5: 4} | {int(key[1:]): value for key, value in fields.items()})
    return lambda folder: write_bundle(folder / "model.ckpt", small(), **{name: content + fixed32(6, 0)})


def graph(folder: Path, name: str = "MobilenetV2/Conv/weights_quant/min") -> Path:
    """A frozen graph with one constant."""
    return frozen(lambda: {name: np.zeros(1, np.float32)})(folder)


def file(name: str, content: bytes) -> Maker:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def caffe(drop: str = "", cut: int = 0, tail: bytes = b"") -> Maker:
    def make(folder: Path) -> Path:
        path = folder / "net.caffemodel"
        test_caffe.write(DeepLabV1(5), path, drop=drop)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) - cut] + tail)
        return path

    return make


def saved(content: Callable[[], object], cut: int = 0) -> Maker:
    def make(folder: Path) -> Path:
        path = folder / "model.pth"
        torch.save(content(), path)
        path.write_bytes(path.read_bytes()[: -cut or None])
        return path

    return make


def jfzhang95(change: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> dict[str, Tensor]:
    settings: dict[str, Any] = {"multi_grid": (1, 2, 4), "stride_unit": "first_dilated", "align_corners": True}
    network = DeepLabV3Plus(5, "resnet101", 16, (6, 12, 18), **settings)
    return {name: change(tensor) for name, tensor in test_jfzhang95.layout(network).items()}


def other_classes() -> dict[str, Tensor]:
    """A classifier of five classes with six biases."""
    return jfzhang95() | {"decoder.last_conv.8.bias": torch.zeros(6)}


def archive(*names: str) -> Maker:
    def make(folder: Path) -> Path:
        path = folder / "model.tar.gz"
        with tarfile.open(path, "w:gz") as packed:
            for name in names:
                packed.addfile(tarfile.TarInfo(name), io.BytesIO())
        return path

    return make


def cut_archive(folder: Path) -> Path:
    path = archive("model/a.index", "model/b.txt")(folder)
    path.write_bytes(path.read_bytes()[:40])
    return path


BROKEN: dict[str, tuple[Maker, str]] = {
    "index cut short": (index(lambda content: content[:-20]), "table"),
    "index empty": (index(lambda _: b""), "empty"),
    "index with a flipped bit": (index(flipped), "checksum"),
    "index that is text": (index(lambda _: b"weights = 1\n" * 20), "table"),
    "data cut short": (index(lambda content: content[:-4], DATA), "short"),
    "data with a flipped bit": (index(flipped, DATA), "checksum of"),
    "data missing": (without_data, "missing beside"),
    "data of another checkpoint": (swapped, "checksum of"),
    "big-endian": (lambda folder: write_bundle(folder / "model.ckpt", small(), **{"": message({1: 1, 2: 1})}), "big"),
    "partitioned": (entry("aspp0/weights", f7=message({1: 1})), "slices"),
    "unknown type": (entry("aspp0/weights", f1=23), "type 23"),
    "shard that does not exist": (entry("aspp0/weights", f3=4), "shard 4 of 1"),
    "not a segmentation network": (frozen(lraspp, without("decoder/decoder_conv0/weights")), "decoder_conv0"),
    "another network": (bundle(small), "aspp0"),
    "a layer missing": (frozen(lraspp, without(BLOCK)), "needs"),
    "a layer too many": (frozen(lraspp, with_array("Logits/weights", np.zeros(3, np.float32))), "Logits/weights"),
    "another shape": (frozen(lraspp, with_array(BLOCK, np.zeros((1, 1, 96, 24), np.float32))), "expanded_conv_3"),
    "half precision": (frozen(lraspp, with_array(BLOCK, np.zeros((1, 1, 96, 40), np.float16))), "float16"),
    "not finite": (frozen(lraspp, with_array(BLOCK, np.full((1, 1, 96, 40), np.inf, np.float32))), "finite"),
    "other classes in two places": (
        frozen(lraspp, with_array("decoder/feature_projection0/biases", np.zeros(21, np.float32))),
        "feature_projection0",
    ),
    "quantised graph": (graph, "8 bits"),
    "graph of another network": (lambda folder: graph(folder, "InceptionV3/Conv/weights"), "InceptionV3"),
    "graph that is text": (file("frozen_inference_graph.pb", b"node { name: 'x' }"), "graph"),
    "caffemodel cut short": (caffe(cut=30), "short"),
    "caffemodel with a layer twice": (
        caffe(tail=message({100: {1: "conv1_1", 2: "Convolution", 7: {7: {1: [1]}, 5: bytes(4)}}})),
        "same name",
    ),
    "caffemodel without its classifier": (caffe(drop="fc8_voc12"), "classifier"),
    "prototxt for a caffemodel": (file("net.caffemodel", b'name: "VGG_ILSVRC_16_layers"'), "caffemodel"),
    "pth cut short": (saved(jfzhang95, cut=200), "torch.save"),
    "pth that could execute": (saved(lambda: {"state_dict": Path("anything")}), "execute"),
    "pth without tensors": (saved(lambda: {"epoch": 3}), "state dictionary"),
    "pth of another network": (saved(lambda: nn.Linear(2, 2).state_dict()), "known source"),
    "pth in half precision": (saved(lambda: jfzhang95(Tensor.half)), "float16"),
    "pth quantised": (saved(lambda: jfzhang95(Tensor.char)), "int8"),
    "pth with other classes in two places": (saved(other_classes), "last_conv.8.bias"),
    "pth of a MobileNet": (
        saved(
            lambda: {
                "backbone.low_level_features.0.0.weight": torch.zeros(1),
                "classifier.aspp.convs.0.0.weight": torch.zeros(1),
            }
        ),
        "MobileNet",
    ),
    "archive cut short": (cut_archive, "model.tar.gz"),
    "archive without a checkpoint": (archive("model/readme.txt"), "holds no"),
    "archive with two checkpoints": (archive("model/a.index", "model/b.index"), "2 checkpoints"),
}


@pytest.fixture(autouse=True)
def thin(request: pytest.FixtureRequest) -> Iterator[None]:
    """The networks of the pth files and caffemodels have an eighth of their width."""
    if "pth" in request.node.name or "caffemodel" in request.node.name:
        with an_eighth_of_the_channels():
            yield
    else:
        yield


@pytest.mark.parametrize("name", BROKEN)
def test_each_is_refused_in_one_sentence_that_names_the_file(name: str, tmp_path: Path) -> None:
    make, words = BROKEN[name]
    path = make(tmp_path)
    with pytest.raises(ValueError, match=words) as raised:
        read_weights(path)
    message = str(raised.value)
    assert str(path) in message
    assert "\n" not in message
    assert ". " not in message.replace(str(path), "")


def test_there_are_more_than_thirty() -> None:
    assert len(BROKEN) >= 30
