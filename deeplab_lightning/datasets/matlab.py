"""Label maps in MATLAB files (MAT 5, the format of MATLAB 5 to 7.2), read without native code.

scipy's reader trusts the sizes and types in a file, and a damaged file can crash the process. Here each is checked.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.datasets.images import MAX_PIXELS, DataError

HEADER_SIZE = 128
MATRIX, COMPRESSED = 14, 15
STORAGE = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Number format of an element as it is stored in the file, by the element's type."""
STRUCT = 2
NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Number format of an array as it is in MATLAB, by the array's class."""
MAX_BYTES = 4 * MAX_PIXELS
"""Largest size of a decompressed variable in bytes."""


class _DamagedError(Exception):
    """A fault of the file's format; the message does not name the file."""


class _Array(NamedTuple):
    """One array: its class, shape and name, and the elements that hold its contents."""

    kind: int
    shape: tuple[int, ...]
    name: bytes
    contents: Iterator[tuple[int, bytes]]


def read_matlab_labels(path: Path, variable: str, field: str | None = None) -> NDArray[np.uint8]:
    """The label map (H, W) of 8-bit values in a MATLAB file; see `read_matlab_numbers`."""
    return read_matlab_numbers(path, variable, field).astype(np.uint8)


def read_matlab_numbers(path: Path, variable: str, field: str | None = None, maximum: int = 255) -> NDArray[np.uint16]:
    """The label map (H, W) in a MATLAB file.

    Args:
        path: MATLAB file.
        variable: Name of the variable that holds the label map.
        field: Name of the field that holds it, if the variable is a struct.
        maximum: Largest label, below 65536.

    Raises:
        DataError: The file is missing, is not a MATLAB file, or holds no such label map of whole numbers from 0 to the
            largest label.
    """
    try:
        content = path.read_bytes()
        order = _byte_order(content)
        array = _find(content, order, variable.encode())
        if array is not None and field is not None:
            array = _field(array, order, field.encode())
        labels = None if array is None else _numbers(array, order)
    except FileNotFoundError as error:
        raise DataError("no such file", path) from error
    except (OSError, _DamagedError) as error:
        raise DataError(f"cannot be read as a MATLAB file ({error})", path) from error
    if labels is None:
        raise DataError(f"it holds no {variable}{f'.{field}' if field else ''}", path)
    is_map = labels.ndim == 2 and labels.size > 0 and labels.dtype.kind in "ui"
    if not is_map or labels.min() < 0 or labels.max() > maximum:
        fault = f"its label map is {labels.dtype} of shape {labels.shape}; values from 0 to {maximum} are expected"
        raise DataError(f"{fault}, of shape (H, W)", path)
    return np.ascontiguousarray(labels, np.uint16)


def _byte_order(content: bytes) -> str:
    if len(content) < HEADER_SIZE:
        raise _DamagedError(f"it has only {len(content)} bytes, fewer than a header has")
    if content.startswith(b"MATLAB 7.3"):
        raise _DamagedError("it is an HDF5 file of MATLAB 7.3; save it again with -v7")
    if content[126:128] not in (b"IM", b"MI"):
        raise _DamagedError("its header is not that of MATLAB 5 to 7.2")
    return "<" if content[126:128] == b"IM" else ">"


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """The type and content of each element in a sequence of bytes."""
    start = 0
    while start < len(content):
        if start + 8 > len(content):
            raise _DamagedError("it ends in the middle of an element")
        kind, size = struct.unpack_from(f"{order}II", content, start)
        if small := kind >> 16:  # a small element: two bytes of type, two of size, and at most four of content
            kind, size, begin, end = kind & 0xFFFF, small, start + 4, start + 8
        else:
            begin = start + 8
            end = begin + size + (0 if kind == COMPRESSED else -size % 8)
        if begin + size > (end if small else len(content)):
            raise _DamagedError(f"an element of {size} bytes extends beyond the end of the file")
        yield kind, content[begin : begin + size]
        start = end


def _find(content: bytes, order: str, name: bytes) -> _Array | None:
    """The variable with a name, or None if the file does not hold it."""
    for kind, element in _elements(content[HEADER_SIZE:], order):
        if kind == COMPRESSED:
            kind, element = next(_elements(_decompressed(element), order), (0, b""))
        if kind == MATRIX and element and (array := _array(element, order)).name == name:
            return array
    return None


def _decompressed(element: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(element, MAX_BYTES)
    except zlib.error as error:
        raise _DamagedError(str(error)) from error
    if not decompressor.eof:
        raise _DamagedError(f"a variable is cut off, or larger than {MAX_BYTES} bytes")
    return content


def _array(element: bytes, order: str) -> _Array:
    contents = _elements(element, order)
    (_, flags), (_, shape), (_, name) = (next(contents, (0, b"")) for _ in range(3))
    if len(flags) != 8 or len(shape) % 4:
        raise _DamagedError("the header of an array is damaged")
    kind = struct.unpack(f"{order}I", flags[:4])[0] & 0xFF
    return _Array(kind, struct.unpack(f"{order}{len(shape) // 4}i", shape), name, contents)


def _field(array: _Array, order: str, name: bytes) -> _Array | None:
    """A field of a struct; in an array of structs, the field of the first one."""
    if array.kind != STRUCT:
        return None
    (_, width), (_, names) = (next(array.contents, (0, b"")) for _ in range(2))
    if len(width) != 4 or (step := struct.unpack(f"{order}i", width)[0]) < 1:
        raise _DamagedError("the header of a struct is damaged")
    for start in range(0, len(names), step):
        kind, element = next(array.contents, (0, b""))
        if names[start : start + step].rstrip(b"\0") == name:
            return _array(element, order) if kind == MATRIX and element else None
    return None


def _numbers(array: _Array, order: str) -> NDArray[np.generic] | None:
    """The numbers of an array, or None if it is not numeric."""
    if array.kind not in NUMBERS:
        return None
    kind, content = next(array.contents, (0, b""))
    if kind not in STORAGE or min(array.shape, default=0) < 0:
        raise _DamagedError(f"an array of shape {array.shape} is stored as type {kind}")
    storage = np.dtype(order + STORAGE[kind])
    if math.prod(array.shape) * storage.itemsize != len(content):
        raise _DamagedError(f"an array of shape {array.shape} has {len(content)} bytes")
    values = np.frombuffer(content, storage).reshape(array.shape, order="F")
    return values.astype(NUMBERS[array.kind])
