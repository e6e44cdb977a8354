import os
from pathlib import Path

import pytest

from deeplab_lightning.segmentation.inputs import find_inputs, of_shard
from deeplab_lightning.usage import UsageError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "b/2.JPG",
        "b/1.png",
        "b/c/3.tif",
        "b/notes.txt",
        "b/.hidden.png",
        "b/.git/x.png",
        "clip.mp4",
        "a.png",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("tree")
def test_folders_keep_their_structure_and_say_what_they_skip() -> None:
    found = find_inputs(["in"])
    assert [item.name for item in found.items] == ["a", "clip", "b/1", "b/2", "b/c/3"]
    assert [item.is_video for item in found.items] == [False, True, False, False, False]
    assert found.skipped == {".txt": 1, ".png": 1}


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["in/b/1.png", "missing.png"], ["1", "missing"]),
        (["in/**/*.png"], ["a", "b/1"]),
        (["in/b/?.png", "in/a.png"], ["1", "a"]),
        (["-", "in/clip.mp4"], ["a", "1", "clip"]),
        (["in/a.png", "in"], ["a", "clip", "b/1", "b/2", "b/c/3"]),
    ],
)
def test_files_patterns_and_lists(words: list[str], names: list[str]) -> None:
    listed = ["in/a.png\n", "\n", "in/b/1.png\n"]
    assert [item.name for item in find_inputs(words, listed).items] == names


@pytest.mark.usefixtures("tree")
def test_files_that_differ_in_their_suffix_keep_it() -> None:
    Path("in/b/1.jpg").touch()
    names = [item.name for item in find_inputs(["in/b"]).items]
    assert names == ["1.jpg", "1.png", "2", "c/3"]


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["in/*.webp"], r"in/\*.webp"),
        (["empty"], "empty"),
        (["in/b/1.png", "other/1.png"], "in/b/1.png and other/1.png"),
    ],
)
def test_nothing_to_do_and_equal_names_are_refused(words: list[str], named: str) -> None:
    os.mkdir("empty")
    with pytest.raises(UsageError, match=named):
        find_inputs(words)


@pytest.mark.usefixtures("tree")
def test_the_outputs_are_no_inputs() -> None:
    assert [item.name for item in find_inputs(["in"], out=Path("in/b")).items] == ["a", "clip"]
    assert [item.name for item in find_inputs(["in/b"], out=Path("in")).items] == ["1", "2", "c/3"]
    with pytest.raises(UsageError, match="--out in/b"):
        find_inputs([f"{Path.cwd()}/in/b/"], out=Path("in/b"))


@pytest.mark.usefixtures("tree")
def test_shards_add_up() -> None:
    items = find_inputs(["in"]).items
    shards = [of_shard(items, index, 3) for index in range(3)]
    assert sorted(item.name for shard in shards for item in shard) == sorted(item.name for item in items)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
