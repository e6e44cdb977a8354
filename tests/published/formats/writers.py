"""Messages and tables as TensorFlow and Caffe write them, of what the samples do not hold."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.published.formats.crc32c import crc32c, masked
from deeplab_lightning.published.formats.table import FOOTER, MAGIC

DTYPES = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "int64": 9,
    "bool": 10,
    "float16": 19,
}
Fields = Mapping[int, object]


def varint(number: int) -> bytes:
    found = b""
    while number >= 0x80:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def message(fields: Fields) -> bytes:
    """A message; a list is a repeated field, a float one of 32 bits, a mapping a message."""
    found = b""
    for number, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, int):
                found += varint(number << 3) + varint(value)
            elif isinstance(value, float):
                found += varint(number << 3 | 5) + struct.pack("<f", value)
            else:
                content = message(value) if isinstance(value, dict) else value
                content = content.encode() if isinstance(content, str) else content
                assert isinstance(content, bytes)
                found += varint(number << 3 | 2) + varint(len(content)) + content
    return found


def fixed32(number: int, value: int) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<I", value)


def table(entries: Mapping[str, bytes], compression: int = 0) -> bytes:
    """A table of one block; a compressed one is one literal of snappy."""
    content, previous = b"", b""
    for name, value in entries.items():
        key = name.encode()
        shared = next((i for i, pair in enumerate(zip(previous, key, strict=False)) if len(set(pair)) > 1), 0)
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        previous = key
    data = block(content, compression)
    handle = varint(0) + varint(len(data) - 5)
    index = block(varint(0) + varint(1) + varint(len(handle)) + b"~" + handle, 0)
    handles = varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)
    return data + index + handles.ljust(FOOTER - 8, b"\0") + struct.pack("<Q", MAGIC)


def block(content: bytes, compression: int) -> bytes:
    content += struct.pack("<II", 0, 1)
    if compression:
        content = varint(len(content)) + bytes([61 << 2]) + struct.pack("<H", len(content) - 1) + content
    content += bytes([compression])
    return content + struct.pack("<I", masked(crc32c(memoryview(content))))


def shape(sizes: tuple[int, ...]) -> dict[int, object]:
    return {2: [{1: size} for size in sizes]}


def write_bundle(prefix: Path, arrays: Mapping[str, NDArray[np.generic]], **replaced: bytes) -> Path:
    """A checkpoint of one shard; an entry of the index may be replaced or added."""
    data, entries = b"", {"": message({1: 1, 3: {1: 1}})}
    for name, array in sorted(arrays.items()):
        content = array.tobytes()
        entry = {1: DTYPES[array.dtype.name], 2: shape(array.shape), 4: len(data), 5: len(content)}
        entries[name] = message(entry) + fixed32(6, masked(crc32c(memoryview(content))))
        data += content
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries | replaced))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
    return prefix
