"""Files are written completely or not at all."""

import ast
from pathlib import Path

import pytest

import deeplab_lightning
from deeplab_lightning.atomic import replacing, write_atomically

PACKAGE = Path(deeplab_lightning.__file__).parent
WRITES_IN_PLACE = {"write_text", "write_bytes"}
MAY_WRITE = {
    "atomic.py",
    "claims.py",  # claims at addresses, whose readers know that one is empty while it is written
    "memory.py",  # into /proc, where there are no files
}
MOVES = {"os.replace", "os.rename", "shutil.move", "tempfile.mkstemp", "tempfile.NamedTemporaryFile"}
MAY_MOVE = {
    "atomic.py",
    "archives.py",  # what is unpacked, once it is whole: folders too
    "mending.py",  # a folder of lists, once it is whole
    "download.py",  # what stays where it breaks off, to go on from there
    "sources.py",  # within a folder that gets its name when it is complete
}
"""Files that move others into place by themselves."""
SAVES, DRAFTS = {"save", "savez", "savefig"}, {"draft", "str(draft)", "file", "page", "content"}
"""Methods that write a file, and the names of arguments that are drafts, streams or memory."""
MAY_SAVE = {
    "data.py",  # the picture of `deeplab data show`, in a format by its name
    "sources.py",  # into a folder that gets its name when it is complete
    "shapes.py",  # a split that has no list yet is generated again
}
"""Files that save under other names."""


def test_a_file_is_written_with_its_parent_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.json"
    write_atomically(path, "größer")
    assert path.read_bytes() == "größer".encode()
    write_atomically(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()], ids=["disk", "Ctrl-C"])
def test_a_failed_write_keeps_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_names_the_file(tmp_path: Path) -> None:
    """A write to a full disk fails without naming the file; any other error keeps the name that it has."""

    def fail(path: Path, error: OSError) -> None:
        with replacing(path):
            raise error

    for error, name in ((OSError(28, "full"), tmp_path / "file.json"), (OSError(28, "full", "/other"), "/other")):
        with pytest.raises(OSError, match="full") as caught:
            fail(tmp_path / "file.json", error)
        assert str(caught.value.filename) == str(name)


def test_two_writers_do_not_share_a_draft(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"


def test_nothing_in_the_package_writes_a_file_in_place() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 30
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in WRITES_IN_PLACE:
                assert path.name in MAY_WRITE, f"{path}:{node.lineno} writes a file in place"
            if isinstance(node, ast.Attribute) and ast.unparse(node) in MOVES:
                assert path.name in MAY_MOVE, f"{path}:{node.lineno} has a draft of its own"


def test_pictures_and_arrays_are_written_to_drafts() -> None:
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                is_elsewhere = not DRAFTS & {ast.unparse(argument) for argument in node.args}
                found |= {(path.name, ast.unparse(node))} if node.func.attr in SAVES and is_elsewhere else set()
    assert {name for name, _ in found} == MAY_SAVE, found
