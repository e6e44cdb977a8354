"""Files with chance damage: each is read, or refused by one sentence, and nothing else happens."""

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from deeplab_lightning.published.formats.caffe import read_caffemodel
from deeplab_lightning.published.formats.crc32c import crc32c, masked
from deeplab_lightning.published.formats.files import FormatError
from deeplab_lightning.published.formats.tensorflow import read_checkpoint, read_graph

MUTATIONS = 150
READERS: dict[str, Callable[[Path], object]] = {
    "tf/one_shard/model.ckpt.index": lambda path: read_checkpoint(path, verify=False),
    "tf/v1/model.ckpt": read_checkpoint,
    "tf/frozen_inference_graph.pb": read_graph,
    "caffe/v1_vgg_form.caffemodel": read_caffemodel,
    "caffe/v2_resnet_form.caffemodel": read_caffemodel,
}


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Bytes with one to four faults: bits flipped, bytes replaced, stretches removed, doubled or cut off."""
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(content)), chance.randint(1, 40)
        kind = chance.randrange(5)
        if kind == 0:
            content = content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]
        elif kind == 1:
            content = content[:place] + chance.randbytes(length) + content[place + length :]
        elif kind == 2:
            content = content[:place] + content[place + length :]
        elif kind == 3:
            content = content[: place + length] + content[place:]
        else:
            content = content[: max(place, 1)]
    return content


def is_refused(read: Callable[[Path], object], path: Path) -> bool:
    """Whether a file is refused, by a sentence that names a file of its folder."""
    try:
        read(path)
    except FormatError as error:
        return str(error).startswith(str(path.parent)) and "\n" not in str(error)
    return False


@pytest.mark.parametrize("name", READERS)
def test_damage_is_one_sentence(real_data: Path, tmp_path: Path, name: str) -> None:
    original = (real_data / "checkpoints" / name).read_bytes()
    path = tmp_path / Path(name).name
    for data in (real_data / "checkpoints" / name).parent.glob("*.data-*"):
        (tmp_path / data.name).write_bytes(data.read_bytes())
    refused = 0
    for seed in range(MUTATIONS):
        path.write_bytes(mutated(original, random.Random(seed)))
        refused += is_refused(READERS[name], path)
    assert refused > MUTATIONS // 3


def test_damage_behind_a_right_checksum_is_one_sentence(real_data: Path, tmp_path: Path) -> None:
    """The entries of an index are damaged and their checksum is made anew, as nobody but an attacker would."""
    folder = real_data / "checkpoints" / "tf" / "one_shard"
    (tmp_path / "model.ckpt.data-00000-of-00001").write_bytes((folder / "model.ckpt.data-00000-of-00001").read_bytes())
    original = (folder / "model.ckpt.index").read_bytes()
    ends = [
        end
        for end in range(5, len(original))
        if masked(crc32c(memoryview(original[: end - 4]))) == struct.unpack("<I", original[end - 4 : end])[0]
    ]
    size = ends[0] - 5
    refused = 0
    for seed in range(MUTATIONS):
        block = bytearray(original[: size + 1])
        chance = random.Random(seed)
        for _ in range(chance.randint(1, 4)):
            block[chance.randrange(size)] = chance.randrange(256)
        checksum = struct.pack("<I", masked(crc32c(memoryview(bytes(block)))))
        path = tmp_path / "model.ckpt.index"
        path.write_bytes(bytes(block) + checksum + original[size + 5 :])
        refused += is_refused(READERS["tf/one_shard/model.ckpt.index"], path)
    assert refused > MUTATIONS // 3
