import numpy as np
import pytest

from deeplab_lightning.published.formats.crc32c import CHUNK, LANES, POLYNOMIAL, crc32c, masked


def bit_by_bit(content: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in content:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (POLYNOMIAL if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("content", "crc"),
    [  # RFC 3720, appendix B.4, and the check value of the catalogues
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"", 0),
    ],
)
def test_the_published_values(content: bytes, crc: int) -> None:
    assert crc32c(memoryview(content)) == crc


@pytest.mark.parametrize("size", [1, LANES - 1, LANES, LANES + 1, 5 * LANES + 3])
def test_lanes_are_joined_as_if_they_were_one(size: int) -> None:
    content = np.random.default_rng(0).bytes(size)
    assert crc32c(memoryview(content)) == bit_by_bit(content)


def test_chunks_are_joined_too() -> None:
    """The checksum is linear: that of a sum of contents is the sum of their checksums, of an odd number of them."""
    one, two = (np.random.default_rng(seed).integers(0, 256, CHUNK + 17, np.uint8) for seed in (0, 1))
    sums = [crc32c(each.data) for each in (one, two, one ^ two, np.zeros_like(one))]
    assert sums[0] ^ sums[1] ^ sums[2] == sums[3]
    one[-1] ^= 1
    assert crc32c(one.data) != sums[0]


def test_the_mask_is_leveldbs() -> None:
    assert masked(0) == 0xA282EAD8
    assert masked(0x8000) == 0xA282EAD9
