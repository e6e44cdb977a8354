"""Sound archives are unpacked completely; all others are refused, and no file of them remains."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from deeplab_lightning.datasets.archives import unpack
from deeplab_lightning.datasets.images import DataError
from tests.devkits import write_voc

FOLDER = "VOCdevkit/VOC2012"


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


def compressed(content: bytes, kind: str) -> bytes:
    if kind == "gz":
        return gzip.compress(content)
    if kind == "bz2":
        return bz2.compress(content)
    return lzma.compress(content) if kind == "xz" else content


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A tar of a small VOC2012."""
    made, buffer = tmp_path_factory.mktemp("made"), io.BytesIO()
    write_voc(made / FOLDER)
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(made / "VOCdevkit", "VOCdevkit")
    return buffer.getvalue()


def unpacked(tmp_path: Path, content: bytes, max_bytes: int = 10_000_000) -> Path:
    """Unpack an archive, and return the root folder."""
    root = tmp_path / "data"
    root.mkdir(exist_ok=True)
    (root / "voc.tar").write_bytes(content)
    unpack(root / "voc.tar", [(FOLDER, FOLDER)], root, max_bytes)
    return root


def refused(tmp_path: Path, content: bytes, message: str, max_bytes: int = 10_000_000) -> None:
    with pytest.raises(DataError, match=message) as caught:
        unpacked(tmp_path, content, max_bytes)
    assert caught.value.path == tmp_path / "data" / "voc.tar"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["voc.tar"]


@pytest.mark.parametrize("kind", ["tar", "gz", "bz2", "xz", "zip"])
def test_unpacked_files_equal_the_packed_ones(archive: bytes, tmp_path: Path, kind: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        content = {each.name: tar.extractfile(each).read() for each in tar if each.isfile()}  # type: ignore[union-attr]
    root = unpacked(tmp_path, zipped(content) if kind == "zip" else compressed(archive, kind))
    found = {str(path.relative_to(root)): path.read_bytes() for path in (root / FOLDER).rglob("*.*")}
    assert found == content
    assert {path.name for path in root.iterdir()} == {"voc.tar", "VOCdevkit"}


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("name", ["../escaped", "/escaped", "VOCdevkit/../../escaped", f"{FOLDER}/../escaped"])
def test_members_outside_the_folder_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    names = (f"{FOLDER}/a", name)
    content = zipped(dict.fromkeys(names, b"x")) if kind == "zip" else tarred(*map(tarfile.TarInfo, names))
    refused(tmp_path, content, f"voc.tar: .*'{name}' would leave the folder")
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
@pytest.mark.parametrize("target", ["/etc", "a"])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    """Links to targets inside the folder are refused too."""
    link = tarfile.TarInfo(f"{FOLDER}/link")
    link.type, link.linkname = kind, target
    refused(tmp_path, tarred(tarfile.TarInfo(f"{FOLDER}/a"), link), "'VOCdevkit/VOC2012/link' is a link or a device")


def test_a_full_disk_while_unpacking(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "makefile", full)
    with pytest.raises(DataError, match=r"voc\.tar .*No space left on device") as caught:
        unpacked(tmp_path, archive)
    assert caught.value.path == tmp_path / "data"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["voc.tar"]


def test_a_file_that_is_not_an_archive(tmp_path: Path) -> None:
    refused(tmp_path, b"no archive" * 100, r"voc\.tar: cannot be unpacked")


def test_an_archive_without_the_wanted_folder(tmp_path: Path) -> None:
    refused(tmp_path, zipped({"VOCdevkit/a": b""}), f"no folder {FOLDER}")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_wrong_checksum_of_the_compression(archive: bytes, tmp_path: Path, kind: str) -> None:
    """gzip stores its checksum behind the last member."""
    content = bytearray(compressed(archive, kind))
    content[-6] ^= 1
    refused(tmp_path, bytes(content), r"voc\.tar: cannot be unpacked")


@pytest.mark.parametrize("kind", ["tar", "gz"])
@pytest.mark.parametrize("blocks", [20, 21, 22, 23])
def test_an_archive_that_is_cut_off(archive: bytes, tmp_path: Path, kind: str, blocks: int) -> None:
    """The cuts lie within members and between two of them."""
    refused(tmp_path, compressed(archive[: blocks * tarfile.BLOCKSIZE], kind), r"voc\.tar: cannot be unpacked")


def test_a_damaged_header_is_not_the_end(archive: bytes, tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        start = tar.getmembers()[-3].offset
    refused(tmp_path, archive[:start] + b"?" + archive[start + 1 :], rf"voc\.tar: .*cut off at {start} bytes")


def test_a_zip_with_a_wrong_checksum_or_a_password(tmp_path: Path) -> None:
    content = zipped({f"{FOLDER}/a": b"content"})
    refused(tmp_path, content.replace(b"content", b"contenu"), r"voc\.tar: .*Bad CRC-32")
    locked = bytearray(content)
    locked[6] |= 1
    locked[content.index(b"PK\1\2") + 8] |= 1
    refused(tmp_path, bytes(locked), r"voc\.tar: .*encrypted")


def bomb(kind: str) -> bytes:
    """A small archive that unpacks to 2 MB; "a zip that lies" declares a size of one byte."""
    buffer = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo(f"{FOLDER}/a")
            member.pax_headers = {
                "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": member.name,
                "GNU.sparse.size": "2000000", "GNU.sparse.numblocks": "1", "GNU.sparse.map": "2000000,0",
            }  # fmt: skip
            tar.addfile(member)
        return buffer.getvalue()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{FOLDER}/a", bytes(2_000_000))
    content = bytearray(buffer.getvalue())
    if kind == "a zip that lies":
        for start in (22, content.index(b"PK\1\2") + 24):
            content[start : start + 4] = (1).to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("zip", "its contents"), ("tar", "its contents"), ("a zip that lies", "cannot be unpacked")],
)
def test_the_unpacked_size_is_bounded(tmp_path: Path, kind: str, message: str) -> None:
    content = bomb(kind)
    assert len(content) < 20_000
    refused(tmp_path, content, rf"voc\.tar: {message}", max_bytes=1_000_000)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_number_of_members_is_bounded(
    archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("deeplab_lightning.datasets.archives.MAX_MEMBERS", 5)
    content = archive if kind == "tar" else zipped({f"{FOLDER}/{number}": b"" for number in range(6)})
    refused(tmp_path, content, r"voc\.tar: .*more than 5 members")
