"""Inputs and outputs at fsspec addresses, in the memory of this process: the same files as with paths."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.segmentation.addresses import Address, address_of, delivering, fetched, located
from deeplab_lightning.segmentation.inputs import find_inputs
from deeplab_lightning.usage import UsageError


@pytest.fixture
def memory() -> Iterator[Any]:
    """An empty file system in memory."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


@pytest.fixture
def images(memory: Any, tmp_path: Path) -> Path:
    """Three images in a folder, which are in memory as well, beside what is no image."""
    for number, name in enumerate(("a.png", "sub/b.png", "sub/c.png")):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(values).save(path)
        memory.pipe_file(f"/in/{name}", path.read_bytes())
    memory.pipe_file("/in/notes.txt", b"no image")
    memory.pipe_file("/in/.git/x.png", b"hidden")
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("file:///data/a.png", Path("/data/a.png")),
        ("data/a.png", Path("data/a.png")),
        ("s3://bucket/a.png", Address("s3://bucket/a.png")),
        ("data/a://b.png", Path("data/a://b.png")),
    ],
)
def test_a_word_is_a_path_or_an_address(word: str, expected: Path | Address) -> None:
    assert located(word) == expected


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["memory://in"], ["a", "sub/b", "sub/c"]),
        (["memory://in/sub/*.png"], ["b", "c"]),
        (["memory://in/**/*.png", "memory://in/a.png"], ["a", "sub/b", "sub/c"]),
        (["memory://in/sub/c.png", "memory://missing.png"], ["c", "missing"]),
    ],
)
def test_files_folders_and_patterns_are_found(words: list[str], names: list[str]) -> None:
    items = find_inputs(words).items
    assert [item.name for item in items if ".git" not in str(item.path)] == names
    assert all(str(item.path).startswith("memory://") for item in items)


@pytest.mark.parametrize(
    ("word", "named"),
    [("memory://empty/*.png", "empty"), ("nothing://in", "nothing"), ("ipfs://in", "ipfs")],
)
def test_what_cannot_be_found_is_named(memory: Any, word: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        find_inputs([word])


def test_a_skipped_file_is_counted(images: Path) -> None:
    assert find_inputs(["memory://in"]).skipped == find_inputs([str(images)]).skipped | {".txt": 1}


def test_copies_are_removed_and_files_delivered(memory: Any) -> None:
    memory.pipe_file("/a.bin", b"abc")
    with fetched(Address("memory://a.bin")) as path:
        assert (path.read_bytes(), path.suffix) == (b"abc", ".bin")
    assert not path.exists()
    with pytest.raises(OSError, match="memory://b.bin"), fetched(Address("memory://b.bin")):
        pass
    with delivering(Address("memory://out/")) as folder:
        (folder / "masks").mkdir()
        (folder / "masks" / "a.png").write_bytes(b"png")
    assert memory.cat_file("/out/masks/a.png") == b"png"
    assert not folder.exists()


def test_a_path_has_an_address(tmp_path: Path) -> None:
    assert address_of(str(tmp_path / "x")) == Address(f"file://{tmp_path}/x")
    assert address_of("s3://bucket/x") == Address("s3://bucket/x")


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_file_is_replaced_whole(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    folder = address_of(f"{kind}://{tmp_path}/there")
    place, source = folder / "sub" / "a.bin", tmp_path / "source"
    assert not place.is_file()
    for content in ("first", "second"):
        source.write_text(content)
        place.replace(source)
        assert place.read_text() == content
    assert folder.files() == ["sub/a.bin"]
    files = fsspec.filesystem(kind)
    monkeypatch.setattr(files, "mv", lambda *names: files.nothing())
    source.write_text("third")
    with pytest.raises(OSError, match="there/sub/a.bin"):
        place.replace(source)
    assert place.read_text() == "second"


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_small_files_are_written_and_removed(memory: Any, tmp_path: Path, kind: str) -> None:
    place = address_of(f"{kind}://{tmp_path}/there") / "sub" / "a.txt"
    with pytest.raises(FileNotFoundError, match="a.txt"):
        place.read_text()
    place.remove()
    place.write_text("text")
    assert place.read_text() == "text"
    assert place.is_file()
    place.remove()
    assert not place.is_file()


def test_results_at_an_address_are_those_in_a_folder(
    checkpoint: Path, images: Path, memory: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--csv", "--overlays", "--device", "cpu", "--workers", "2"]
    assert main(["segment", str(checkpoint), str(images), "--out", str(tmp_path / "out"), *options]) == 0
    command = ["segment", str(checkpoint), "memory://in", "--out", "memory://out", *options]
    assert main(command) == 0
    made = {name.removeprefix("/out/"): memory.cat_file(name) for name in memory.find("/out")}
    lines = made.pop("manifest.jsonl").splitlines()
    assert made == {name: (tmp_path / "out" / name).read_bytes() for name in made}
    assert len(made) == 7
    assert [json.loads(line)["input"] for line in lines] == [
        f"memory://in/{name}.png" for name in ("a", "sub/b", "sub/c")
    ]
    memory.rm("/out/masks/sub/b.png")
    memory.pipe_file("/in/a.png", b"no image")
    capsys.readouterr()
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "memory://in/a.png" in printed.err
    assert "1 segmented into memory://out, 1 finished before, 1 failed" in printed.out
    assert memory.cat_file("/out/masks/sub/b.png") == made["masks/sub/b.png"]
