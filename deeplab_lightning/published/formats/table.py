"""LevelDB's table, in which TensorFlow stores the index of a checkpoint or, in version 1, a whole checkpoint."""

import struct
from collections.abc import Iterator

from deeplab_lightning.published.formats.crc32c import crc32c, masked
from deeplab_lightning.published.formats.files import Bytes, FormatError, part
from deeplab_lightning.published.formats.protobuf import varint

FOOTER = 48
MAGIC = 0xDB4775248B80FB57
TRAILER = 5  # bytes after a block: its compression, and a checksum of both
PLAIN, SNAPPY = 0, 1
LARGEST_BLOCK = 1 << 28  # bytes of a block after decompression


def read_table(content: Bytes) -> Iterator[tuple[bytes, Bytes]]:
    """Yield the keys and values of a table in their order, after verifying the checksum of their block.

    Raises:
        FormatError: The bytes are not a table, or damaged.
    """
    if len(content) < FOOTER or struct.unpack("<Q", content[-8:])[0] != MAGIC:
        raise FormatError("it does not end like a table of TensorFlow: it is another file, or cut short")
    footer, offset = content[-FOOTER:], 0
    for _ in range(2):  # skips the offset and size of the metaindex, which is empty
        _, offset = varint(footer, offset)
    index_offset, offset = varint(footer, offset)
    index_size, _ = varint(footer, offset)
    for _, handle in _entries(_block(content, index_offset, index_size)):
        block_offset, behind = varint(handle, 0)
        yield from _entries(_block(content, block_offset, varint(handle, behind)[0]))


def _block(content: Bytes, offset: int, size: int) -> Bytes:
    """Return the entries of a block, without its restart points."""
    whole = part(content, offset, size + TRAILER)
    if masked(crc32c(whole[: size + 1])) != struct.unpack("<I", whole[size + 1 :])[0]:
        raise FormatError(f"it is damaged: the checksum of the block at {offset} is wrong")
    if whole[size] not in (PLAIN, SNAPPY):
        raise FormatError(f"the block at {offset} is compressed in an unknown way, {whole[size]}")
    block = whole[:size] if whole[size] == PLAIN else _unsnap(whole[:size])
    num_restarts = struct.unpack("<I", block[-4:])[0]
    return part(block, 0, len(block) - 4 * (num_restarts + 1))


def _entries(block: Bytes) -> Iterator[tuple[bytes, Bytes]]:
    """Yield the entries of a block; each key shares a prefix with the key before it."""
    offset, key = 0, b""
    while offset < len(block):
        shared, offset = varint(block, offset)
        unshared, offset = varint(block, offset)
        size, offset = varint(block, offset)
        key = bytes(part(memoryview(key), 0, shared)) + bytes(part(block, offset, unshared))
        offset += unshared
        yield key, part(block, offset, size)
        offset += size


def _unsnap(content: Bytes) -> Bytes:
    """Decompress bytes in snappy's raw format (google/snappy, format_description.txt)."""
    size, offset = varint(content, 0)
    if size > LARGEST_BLOCK:
        raise FormatError(f"it is damaged: a block claims {size} bytes")
    found = bytearray()
    while offset < len(content):
        tag = content[offset]
        offset += 1
        if tag & 3 == 0:  # a literal
            length = tag >> 2
            if length >= 60:  # the next one to four bytes hold the length
                width = length - 59
                length = int.from_bytes(part(content, offset, width), "little")
                offset += width
            found += part(content, offset, length + 1)
            offset += length + 1
        else:  # a copy of earlier output, which may overlap with its own
            if tag & 3 == 1:
                length, width = (tag >> 2 & 7) + 4, 1
                distance = (tag >> 5) << 8 | int.from_bytes(part(content, offset, width), "little")
            else:
                length, width = (tag >> 2) + 1, 2 if tag & 3 == 2 else 4
                distance = int.from_bytes(part(content, offset, width), "little")
            offset += width
            if not 0 < distance <= len(found):
                raise FormatError("it is damaged: a compressed block copies from before its start")
            for _ in range(length):
                found.append(found[-distance])
        if len(found) > size:
            raise FormatError("it is damaged: a compressed block is longer than it says")
    if len(found) != size:
        raise FormatError("it is damaged: a compressed block is shorter than it says")
    return memoryview(bytes(found))
