"""Messages in the wire format of protocol buffers, read without their schemas (protobuf.dev, "Encoding")."""

import struct
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.published.formats.files import Bytes, FormatError, part

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10  # bytes of a number of 64 bits
WIDTHS = {FIXED64: 8, FIXED32: 4}


def varint(content: Bytes, offset: int) -> tuple[int, int]:
    """Return the number that starts at an offset, with seven bits per byte, and the offset after it.

    Raises:
        FormatError: The number does not end.
    """
    number = 0
    for position, byte in enumerate(content[offset : offset + LONGEST_VARINT]):
        number |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return number, offset + position + 1
    raise FormatError("it is damaged: a number does not end")


def fields(content: Bytes) -> Iterator[tuple[int, int | Bytes]]:
    """Yield the number and the value of each field of a message, in their order.

    A value is an integer, or the bytes of a text, of a message, of packed numbers, or of one number of fixed width.

    Raises:
        FormatError: The bytes are not a message.
    """
    offset = 0
    while offset < len(content):
        tag, offset = varint(content, offset)
        number, wire = tag >> 3, tag & 7
        if not number or wire not in (VARINT, LENGTH, *WIDTHS):
            raise FormatError("it is damaged: a field has no number or an unknown type")
        if wire == VARINT:
            value, offset = varint(content, offset)
            yield number, value
            continue
        size = WIDTHS.get(wire)
        if size is None:
            size, offset = varint(content, offset)
        yield number, part(content, offset, size)
        offset += size


class Message:
    """A message whose fields are read by number and type.

    Args:
        content: The bytes of the message.
    """

    def __init__(self, content: Bytes) -> None:
        self._fields: defaultdict[int, list[int | Bytes]] = defaultdict(list)
        for number, value in fields(content):
            self._fields[number].append(value)

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def integer(self, number: int) -> int:
        """Return the last value of a field as an integer; 0 if it is absent, as in proto3."""
        values = self._fields.get(number, [0])
        return _integer(values[-1])

    def integers(self, number: int) -> list[int]:
        """Return all values of a repeated field of integers, packed or not."""
        found: list[int] = []
        for value in self._fields.get(number, []):
            if isinstance(value, int):
                found.append(value)
                continue
            offset = 0
            while offset < len(value):
                integer, offset = varint(value, offset)
                found.append(integer)
        return found

    def fixed32(self, number: int) -> int:
        """Return the last value of a field of fixed width as an integer; 0 if it is absent."""
        values = self._fields.get(number)
        return int(struct.unpack("<I", _bytes(values[-1]))[0]) if values else 0

    def text(self, number: int) -> str:
        """Return the last value of a field as text; empty if it is absent."""
        values = self._fields.get(number)
        return bytes(_bytes(values[-1])).decode() if values else ""

    def texts(self, number: int) -> list[str]:
        """Return all values of a repeated field as texts."""
        return [bytes(_bytes(value)).decode() for value in self._fields.get(number, [])]

    def content(self, number: int) -> Bytes:
        """Return the last value of a field as bytes; empty if it is absent."""
        values = self._fields.get(number)
        return _bytes(values[-1]) if values else memoryview(b"")

    def message(self, number: int) -> "Message":
        """Return the last value of a field as a message; an empty one if it is absent."""
        return Message(self.content(number))

    def contents(self, number: int) -> list[Bytes]:
        """Return all values of a repeated field as bytes."""
        return [_bytes(value) for value in self._fields.get(number, [])]

    def numbers(self, number: int, dtype: str) -> NDArray[Any]:
        """Return all values of a repeated field of fixed-width numbers, packed or not; packed ones are not copied.

        Args:
            number: Number of the field.
            dtype: Type of the values in numpy's notation, such as "<f4".
        """
        parts = [np.frombuffer(_bytes(value), dtype) for value in self._fields.get(number, [])]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])


def _integer(value: int | Bytes) -> int:
    if isinstance(value, int):
        return value
    raise FormatError("it is damaged: a field holds a text or a message instead of a number")


def _bytes(value: int | Bytes) -> Bytes:
    if isinstance(value, int):
        raise FormatError("it is damaged: a field holds a number instead of a text or a message")
    return value
