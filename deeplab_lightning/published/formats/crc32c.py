"""CRC-32C, the checksum of TensorFlow's files, computed for many segments of the bytes in parallel."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.published.formats.files import Bytes

POLYNOMIAL = 0x82F63B78  # Castagnoli's, with reversed bits
LANES = 4096
CHUNK = 1 << 24  # bytes that are processed at a time
MASK_DELTA = 0xA282EAD8

Registers = NDArray[np.uint32]


@cache
def _table() -> Registers:
    """Return the register after each possible byte, starting from an empty one."""
    register = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        register = (register >> np.uint32(1)) ^ (np.uint32(POLYNOMIAL) * (register & np.uint32(1)))
    return register


def _append_zeros(registers: Registers, count: int) -> Registers:
    """Return the registers after a number of zero bytes, each a linear map of the bits, by repeated squaring."""
    basis = np.uint32(1) << np.arange(32, dtype=np.uint32)
    step = _zero_byte(basis)  # the images of the 32 single bits under one zero byte
    while count:
        if count & 1:
            registers = _apply(step, registers)
        step = _apply(step, step)
        count >>= 1
    return registers


def _zero_byte(registers: Registers) -> Registers:
    shifted: Registers = _table()[registers & np.uint32(255)] ^ (registers >> np.uint32(8))
    return shifted


def _apply(images: Registers, registers: Registers) -> Registers:
    """Apply a linear map, given by its images of the single bits, to all registers."""
    bits = (registers[..., None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
    mapped: Registers = np.bitwise_xor.reduce(bits * images, axis=-1)
    return mapped


def crc32c(content: Bytes) -> int:
    """Return the CRC-32C of bytes (RFC 3720, section 12.1)."""
    register = 0xFFFFFFFF
    for start in range(0, len(content), CHUNK):
        register = _extend(register, np.frombuffer(content[start : start + CHUNK], np.uint8))
    return register ^ 0xFFFFFFFF


def _extend(register: int, content: NDArray[np.uint8]) -> int:
    """Return the register after more bytes, from lanes of equal length that run in parallel and are joined in pairs."""
    length = len(content) // LANES
    table: Any = _table()
    if length:
        lanes = content[: LANES * length].reshape(LANES, length)
        registers = np.zeros(LANES, np.uint32)
        registers[0] = register
        for column in np.ascontiguousarray(lanes.T):
            registers = table[(registers ^ column) & np.uint32(255)] ^ (registers >> np.uint32(8))
        # The CRC is linear: a lane's register after the next lane is itself after zeros, xor the next lane's own.
        while len(registers) > 1:
            registers = _append_zeros(registers[::2], length) ^ registers[1::2]
            length *= 2
        register = int(registers[0])
    for byte in content[len(content) - len(content) % LANES :].tolist():
        register = int(table[(register ^ byte) & 255]) ^ (register >> 8)
    return register


def masked(crc: int) -> int:
    """Return a checksum as TensorFlow and LevelDB store it: masked, since a CRC of bytes that hold CRCs is weak."""
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF
