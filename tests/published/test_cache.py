"""Published files are fetched once into a folder that processes share, and verified where a checksum is published."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.published.cache import fetch, folder, place
from deeplab_lightning.published.entries import Entry, entry
from tests.datasets.test_prepare import Server, server

__all__ = ["server"]
CONTENT = bytes(range(256)) * 4000
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def offered(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """An entry whose address is that of the server."""
    server.files["/network-1.pth"] = CONTENT
    monkeypatch.setenv("DEEPLAB_WEIGHTS", str(tmp_path / "weights"))
    own = entry("torchvision/deeplabv3_resnet50")
    return replace(own, url=f"{server.url}/network-1.pth", file="network-1.pth", sha256=DIGITS)


def test_a_file_is_fetched_once_and_verified(server: Server, offered: Entry, tmp_path: Path) -> None:
    path = fetch(offered)
    assert path == tmp_path / "weights" / "torchvision" / "network-1.pth"
    assert path.read_bytes() == CONTENT
    assert fetch(offered) == path
    assert len(server.ranges) == 1


def test_an_interrupted_download_is_resumed(server: Server, offered: Entry) -> None:
    server.break_after = [300_000]
    assert fetch(offered).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-"]


def test_processes_that_ask_at_once_share_one_download(server: Server, offered: Entry) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(fetch, [offered] * 4))
    assert len(paths) == 1
    assert len(server.ranges) == 1


def test_another_file_is_refused(server: Server, offered: Entry) -> None:
    server.files["/network-1.pth"] = CONTENT[:-1] + b"x"
    with pytest.raises(DataError, match=f"SHA256.*begins with {DIGITS}"):
        fetch(offered)
    assert not place(offered).exists()


def test_a_file_that_the_user_put_there_is_verified(offered: Entry) -> None:
    place(offered).parent.mkdir(parents=True)
    place(offered).write_bytes(b"something else")
    with pytest.raises(DataError, match=r"network-1.pth.*SHA256"):
        fetch(offered)


def test_without_a_network_the_message_says_where_to_put_the_file(offered: Entry) -> None:
    gone = replace(offered, url="http://127.0.0.1:1/network-1.pth")
    with pytest.raises(DataError) as caught:
        fetch(gone)
    assert all(words in str(caught.value) for words in (gone.name, str(gone.url), str(place(gone)), "DEEPLAB_WEIGHTS"))


def test_a_file_without_an_address(offered: Entry) -> None:
    with pytest.raises(DataError, match=f"the drive.*{place(offered)}"):
        fetch(replace(offered, url=None, where="the drive"))


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DEEPLAB_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder() == tmp_path / "deeplab_lightning" / "weights"
