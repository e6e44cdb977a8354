"""Files that are either complete or missing."""

import ast
from pathlib import Path

import pytest

import deeplab_lightning
from deeplab_lightning.atomic import replacing, write_atomically

PACKAGE = Path(deeplab_lightning.__file__).parent
WRITES_IN_PLACE = {"write_text", "write_bytes"}
MOVES = {"os.replace", "os.rename", "shutil.move", "tempfile.mkstemp", "tempfile.NamedTemporaryFile"}
MAY_MOVE = {
    "atomic.py",
    "archives.py",  # it moves unpacked folders
    "prepare.py",  # a partial download must be kept, so that it can be continued
}
"""Source files that replace files without atomic.py."""


def test_a_file_is_written_with_the_folders_above_it(tmp_path: Path) -> None:
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
                assert path.name == "atomic.py", f"{path}:{node.lineno} writes a file in place"
            if isinstance(node, ast.Attribute) and ast.unparse(node) in MOVES:
                assert path.name in MAY_MOVE, f"{path}:{node.lineno} has a draft of its own"
