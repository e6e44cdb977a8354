"""TensorFlow's files: those that TensorFlow wrote, and what they do not hold, written by hand."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deeplab_lightning.published.formats.files import FormatError
from deeplab_lightning.published.formats.tensorflow import read_checkpoint, read_graph
from tests.published.formats.writers import message, shape, table, write_bundle

SMALL: dict[str, NDArray[np.generic]] = {
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "global_step": np.array(7, np.int64),
}


@pytest.fixture(scope="module")
def samples(real_data: Path) -> Path:
    return real_data / "checkpoints" / "tf"


@pytest.fixture(scope="module")
def expected(samples: Path) -> dict[str, NDArray[np.generic]]:
    with np.load(samples / "expected.npz") as arrays:
        return {name.replace("|", "/"): arrays[name] for name in arrays}


@pytest.mark.parametrize(
    "name",
    [
        "one_shard/model.ckpt",
        "one_shard/model.ckpt.index",
        "two_shards/model.ckpt",
        "two_shards/model.ckpt.data-00001-of-00002",
        "v1/model.ckpt",
    ],
)
def test_checkpoints_are_read_to_the_bit(samples: Path, expected: dict[str, NDArray[np.generic]], name: str) -> None:
    arrays = read_checkpoint(samples / name)
    assert set(arrays) == set(expected)
    for key, array in expected.items():
        assert arrays[key].dtype == array.dtype
        np.testing.assert_array_equal(arrays[key], array, strict=True)


def test_a_frozen_graph_is_read_to_the_bit(samples: Path, expected: dict[str, NDArray[np.generic]]) -> None:
    graph = read_graph(samples / "frozen_inference_graph.pb")
    frozen = set(expected) & set(graph.constants)
    assert len(frozen) == 15
    assert {"Conv2D", "Const", "Placeholder"} <= graph.operations
    for key in frozen:
        np.testing.assert_array_equal(graph.constants[key], expected[key], strict=True)


def test_all_types_are_read(tmp_path: Path) -> None:
    names = ("float32", "float64", "int32", "uint8", "int16", "int8", "int64", "bool", "float16")
    arrays = {name: np.array([[0, 1, 2]]).astype(name) for name in names}
    found = read_checkpoint(write_bundle(tmp_path / "model", arrays))
    assert {name: array.dtype.name for name, array in found.items()} == {name: name for name in names}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    bits = np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16
    prefix = write_bundle(tmp_path / "model", {"weights": bits.astype(np.int16)}, extra=message({1: 7}))
    index = prefix.with_name("model.index")
    entry = message({1: 14, 2: shape((2,)), 5: 4})
    index.write_bytes(table({"": message({1: 1}), "text": message({1: 7}), "weights": entry}))
    found = read_checkpoint(prefix, verify=False)
    assert list(found) == ["weights"]
    np.testing.assert_array_equal(found["weights"], np.array([1.5, -2.0], np.float32), strict=True)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({1: 1, 2: shape((3,)), 5: [1.0, 2.0]}, np.array([1, 2, 2], np.float32)),
        ({1: 3, 2: shape((2, 2)), 7: [9]}, np.full((2, 2), 9, np.int32)),
        ({1: 9, 2: shape((2,)), 10: [2**64 - 1, 5]}, np.array([-1, 5])),
        ({1: 10, 2: shape(()), 11: [1]}, np.array(True)),
    ],
)
def test_constants_of_single_numbers(tmp_path: Path, fields: dict[int, object], expected: NDArray[np.generic]) -> None:
    """As TensorFlow writes small constants: one number may stand for all that follow."""
    path = tmp_path / "graph.pb"
    node = {1: "constant", 2: "Const", 5: {1: "value", 2: {8: fields}}}
    path.write_bytes(message({1: [node, {1: "text", 2: "Const", 5: {1: "value", 2: {8: {1: 7}}}}]}))
    graph = read_graph(path)
    assert list(graph.constants) == ["constant"]
    np.testing.assert_array_equal(graph.constants["constant"], expected, strict=True)


def test_a_compressed_index_is_read(tmp_path: Path) -> None:
    prefix = write_bundle(tmp_path / "model", SMALL)
    entry = message({1: 1, 2: shape((2, 3)), 4: 8, 5: 24})
    prefix.with_name("model.index").write_bytes(table({"": message({1: 1}), "weights": entry}, compression=1))
    np.testing.assert_array_equal(read_checkpoint(prefix, verify=False)["weights"], SMALL["weights"])


ENTRY = {1: 1, 2: shape((2, 3)), 5: 24}
FAULTS: dict[str, tuple[dict[str, bytes], str]] = {
    "another shard": ({"weights": message(ENTRY | {3: 1})}, "shard 1 of 1"),
    "slices": ({"weights": message(ENTRY | {7: {1: {}}})}, "weights.*slices"),
    "big-endian": ({"": message({1: 1, 2: 1})}, "big-endian"),
    "beyond the end": ({"weights": message(ENTRY | {4: 1000})}, "24 bytes at 1000"),
    "another shape": ({"weights": message(ENTRY | {2: shape((3, 3))})}, r"weights.*\[3, 3\]"),
    "a giant": ({"weights": message(ENTRY | {2: shape((2**63, 2**63))})}, "weights"),
    "another type": ({"weights": message(ENTRY | {1: 99})}, "weights.*99"),
    "no checksum": ({"weights": message(ENTRY)}, "checksum of weights"),
    "no message": ({"weights": b"\x07\x07"}, "damaged"),
    "an endless number": ({"weights": b"\x08" + b"\xff" * 20}, "damaged"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_index_is_one_sentence(tmp_path: Path, fault: str) -> None:
    replaced, words = FAULTS[fault]
    prefix = write_bundle(tmp_path / "model", SMALL, **replaced)
    with pytest.raises(FormatError, match=words) as raised:
        read_checkpoint(prefix)
    assert str(raised.value).startswith(f"{prefix}.index: ") or str(raised.value).startswith(f"{prefix}: ")
    assert "\n" not in str(raised.value)


def test_a_missing_shard_and_a_missing_header_are_said(tmp_path: Path) -> None:
    prefix = write_bundle(tmp_path / "model", SMALL)
    prefix.with_name("model.data-00000-of-00001").unlink()
    with pytest.raises(FormatError, match="model.data-00000-of-00001"):
        read_checkpoint(prefix)
    prefix.with_name("model.index").write_bytes(table({"weights": b""}))
    with pytest.raises(FormatError, match="header"):
        read_checkpoint(prefix)


@pytest.mark.parametrize("content", [b"", b"\x00" * 10, b"PK\x03\x04" * 50, b"{}" * 100])
def test_a_foreign_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(content)
    for read in (read_checkpoint, read_graph):
        with pytest.raises(FormatError, match=f"^{path}: ") as raised:
            read(path)
        assert "\n" not in str(raised.value)


def test_a_damaged_tensor_is_named(samples: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(samples / "one_shard", tmp_path / "copy", copy_function=shutil.copyfile)
    data = folder / "model.ckpt.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[10] ^= 1
    data.chmod(0o644)
    data.write_bytes(content)
    with pytest.raises(FormatError, match="checksum of aspp0/weights"):
        read_checkpoint(folder / "model.ckpt")
    assert "aspp0/weights" in read_checkpoint(folder / "model.ckpt", verify=False)
