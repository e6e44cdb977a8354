"""TensorFlow's checkpoints of both versions and its frozen graphs, as numpy arrays.

Field numbers are those of tensor_bundle.proto, saved_tensor_slice.proto, tensor.proto, tensor_shape.proto and
graph.proto.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.published.formats.crc32c import crc32c, masked
from deeplab_lightning.published.formats.files import Bytes, FormatError, open_bytes, part, reading
from deeplab_lightning.published.formats.protobuf import Message
from deeplab_lightning.published.formats.table import read_table

BFLOAT16, STRING = 14, 7
DTYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    9: "<i8",
    10: "?",
    BFLOAT16: "<u2",
    19: "<f2",
}
"""The supported types of tensors, by their number in types.proto."""
VALUES = {1: (5, "<f4"), 2: (6, "<f8"), 3: (7, "int"), 9: (10, "int"), 10: (11, "int")}
"""The field that holds the numbers of a tensor without `tensor_content`, and how it stores them, by type."""
LARGEST_TENSOR = 1 << 26
"""The largest size of a tensor without `tensor_content`: one number can stand for all, so a damaged file could claim
any size."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Graph:
    """A frozen graph.

    Args:
        constants: Constants by name, including the frozen variables.
        operations: Kinds of operations in the graph.
    """

    constants: Arrays
    operations: frozenset[str]


def read_checkpoint(prefix: Path, verify: bool = True) -> Arrays:
    """Return the variables of a checkpoint by name, without those that hold text.

    Arrays are views of the memory-mapped files, so that only the parts in use take memory. A checkpoint of version 2 is
    `prefix.index` and its shards; one of version 1 is a single file.

    Args:
        prefix: Path without `.index` and `.data-...`, or of one of these files, or of a file of version 1.
        verify: Every tensor is compared with its checksum; the index always is.

    Raises:
        FormatError: A file is damaged, missing, or not a checkpoint.
        OSError: A file cannot be opened.
    """
    prefix = bundle_prefix(prefix)
    index = prefix.with_name(f"{prefix.name}.index")
    if index.is_file():
        with reading(index, "index of a TensorFlow checkpoint"):
            return _read_bundle(prefix, dict(read_table(open_bytes(index))), verify)
    with reading(prefix, "TensorFlow checkpoint"):
        return _read_slices(dict(read_table(open_bytes(prefix))))


def bundle_prefix(path: Path) -> Path:
    """Return the prefix of a checkpoint from itself or from the path of the index or a shard."""
    if path.suffix == ".index":
        return path.with_suffix("")
    stem, separator, _ = path.name.rpartition(".data-")
    return path.with_name(stem) if separator else path


def _read_bundle(prefix: Path, table: dict[bytes, Bytes], verify: bool) -> Arrays:
    if b"" not in table:
        raise FormatError("it has no header of a checkpoint")
    header = Message(table.pop(b""))
    num_shards = header.integer(1)
    if header.integer(2):
        raise FormatError("its tensors are big-endian, which is not supported")
    shards: dict[int, Bytes] = {}
    arrays = {}
    for key, value in table.items():
        name, entry = key.decode(), Message(value)
        if 7 in entry:
            raise FormatError(f"{name} is stored in slices (a partitioned variable), which is not supported")
        if entry.integer(1) == STRING:
            continue
        shard = entry.integer(3)
        if shard not in shards:
            shards[shard] = _open_shard(prefix, shard, num_shards)
        content = part(shards[shard], entry.integer(4), entry.integer(5))
        arrays[name] = _array(name, entry.integer(1), _shape(entry.message(2)), content)
        if verify and masked(crc32c(content)) != entry.fixed32(6):
            raise FormatError(f"its data are damaged or belong to another checkpoint: the checksum of {name} is wrong")
    return arrays


def _open_shard(prefix: Path, shard: int, num_shards: int) -> Bytes:
    if not 0 <= shard < num_shards:
        raise FormatError(f"it names shard {shard} of {num_shards}")
    path = prefix.with_name(f"{prefix.name}.data-{shard:05}-of-{num_shards:05}")
    if not path.is_file():
        raise FormatError(f"its data file {path.name} is missing beside it")
    return open_bytes(path)


def _read_slices(table: dict[bytes, Bytes]) -> Arrays:
    """Return the variables of a checkpoint of version 1."""
    if b"" not in table:
        raise FormatError("it has no header of a checkpoint")
    known = {}
    for content in Message(table.pop(b"")).message(1).contents(1):
        meta = Message(content)
        known[meta.text(1)] = (meta.integer(3), _shape(meta.message(2)))
    arrays = {}
    for value in table.values():
        data = Message(value).message(2)
        name = data.text(1)
        if name not in known:
            raise FormatError(f"it holds {name}, which its header does not list")
        dtype, shape = known[name]
        if dtype == STRING:
            continue
        if name in arrays or any(len(extent) for extent in data.message(2).contents(1)):
            raise FormatError(f"{name} is stored in slices (a partitioned variable), which is not supported")
        arrays[name] = _tensor(name, data.message(3), dtype, shape)
    if missing := sorted(name for name, (dtype, _) in known.items() if name not in arrays and dtype != STRING):
        raise FormatError(f"its header lists {missing[0]}, which it does not hold")
    return arrays


def read_graph(path: Path) -> Graph:
    """Return a frozen graph: its constants, without those that hold text, and its operations.

    Raises:
        FormatError: The file is damaged or not a graph.
        OSError: It cannot be opened.
    """
    with reading(path, "TensorFlow graph"):
        constants, operations = {}, set()
        for content in Message(open_bytes(path)).contents(1):
            node = Message(content)
            name, operation = node.text(1), node.text(2)
            if not name or not operation:
                raise FormatError("it is not a TensorFlow graph, or a damaged one: a node has no name or no operation")
            operations.add(operation)
            if operation != "Const":
                continue
            attributes = {each.text(1): each.content(2) for each in map(Message, node.contents(5))}
            tensor = Message(attributes.get("value", memoryview(b""))).message(8)
            dtype = tensor.integer(1)
            if dtype in DTYPES:
                constants[name] = _tensor(name, tensor, dtype, _shape(tensor.message(2)))
        if not operations:
            raise FormatError("it is not a TensorFlow graph: it has no nodes")
        return Graph(constants, frozenset(operations))


def _shape(message: Message) -> tuple[int, ...]:
    return tuple(Message(content).integer(1) for content in message.contents(2))


def _tensor(name: str, tensor: Message, dtype: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the array of a TensorProto; if it lists fewer numbers than the shape has, the last one is repeated."""
    if 4 in tensor:
        return _array(name, dtype, shape, tensor.content(4))
    field, stored = VALUES.get(dtype, (0, ""))
    if not field:
        raise FormatError(f"{name} has type {dtype}, which is not supported")
    if stored == "int":
        numbers = np.array(tensor.integers(field), np.uint64).view(np.int64)
    else:
        numbers = tensor.numbers(field, stored)
    size = math.prod(shape)
    if len(numbers) > size or (size and not len(numbers)) or size > LARGEST_TENSOR:
        raise FormatError(f"it is damaged: {name} has {len(numbers)} numbers for a shape of {list(shape)}")
    numbers = numbers.astype(DTYPES[dtype], copy=False)
    if len(numbers) < size:
        numbers = np.concatenate([numbers, np.broadcast_to(numbers[-1:], size - len(numbers))])
    return numbers.reshape(shape)


def _array(name: str, dtype: int, shape: tuple[int, ...], content: Bytes) -> NDArray[Any]:
    if dtype not in DTYPES:
        raise FormatError(f"{name} has type {dtype}, which is not supported")
    kind = np.dtype(DTYPES[dtype])
    if min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize != len(content):
        raise FormatError(f"it is damaged: {name} has {len(content)} bytes for a shape of {list(shape)}")
    array = np.frombuffer(content, kind).reshape(shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype == BFLOAT16 else array
