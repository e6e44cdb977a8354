import json
import os
from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.segmentation.manifest import Manifest, file_digest, matches, open_manifest

ORIGIN = {"sha256": "0" * 64, "settings": {"flip": False}}


def record(name: str, folder: Path, **changes: Any) -> dict[str, Any]:
    (folder / f"{name}.png").touch()
    return {"name": name, "outputs": [f"{name}.png"], "areas": {"road": 3, "car": 1}, **ORIGIN, **changes}


def test_what_is_finished_is_known_again(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    manifest.add(record("a", tmp_path))
    manifest.add(record("b", tmp_path))
    again = Manifest(tmp_path)
    assert matches(again.origin("a"), ORIGIN)
    assert not matches(again.origin("c"), ORIGIN)
    assert not matches(again.origin("a"), ORIGIN | {"settings": {"flip": True}})
    (tmp_path / "a.png").unlink()
    assert not matches(again.origin("a"), ORIGIN)


def test_a_half_line_is_dropped_and_a_later_one_replaces_an_earlier(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    for name in ("a", "b", "a"):
        manifest.add(record(name, tmp_path, time=name))
    with manifest.path.open("a") as file:
        file.write('{"name": "c", "outputs": ["c.p')
    again = Manifest(tmp_path)
    assert again.origin("c") is None
    again.add(record("c", tmp_path))
    lines = [json.loads(line) for line in again.path.read_text().splitlines()]
    assert [line["name"] for line in lines] == ["a", "b", "c"]


def test_shards_know_of_each_other_and_add_up(tmp_path: Path) -> None:
    Manifest(tmp_path, (0, 2)).add(record("a", tmp_path))
    second = Manifest(tmp_path, (1, 2))
    second.add(record("b", tmp_path))
    assert matches(second.origin("a"), ORIGIN)
    assert len(list(tmp_path.glob("manifest-*.jsonl"))) == 2
    rows = second.write_areas().read_text().split()
    assert rows == ["image,class,pixels,share", *(f"{name},{row}" for name in "ab" for row in
                    ("road,3,0.750000", "car,1,0.250000"))]  # fmt: skip


def test_the_newest_record_counts_for_any_number_of_shards(tmp_path: Path) -> None:
    before, since = {"settings": "a", "areas": {"road": 10}}, {"settings": "b", "areas": {"road": 90}}
    Manifest(tmp_path).add(record("x", tmp_path, time="2026-01-01T00:00:00+00:00", **before))
    Manifest(tmp_path, (0, 2)).add(record("x", tmp_path, time="2026-01-01T00:00:00.000001+00:00", **since))
    for shard in ((0, 1), (0, 2), (1, 2)):
        again = Manifest(tmp_path, shard)
        assert (again.origin("x") or {})["settings"] == "b"
        assert again.write_areas().read_text().split() == ["image,class,pixels,share", "x,road,90,1.000000"]


def test_one_process_at_a_time_writes_the_file_of_a_shard(tmp_path: Path) -> None:
    with open_manifest(tmp_path, (0, 2)) as held:
        with pytest.raises(ValueError, match=f"process {os.getpid()} "), open_manifest(tmp_path, (0, 2)):
            pass
        with open_manifest(tmp_path, (1, 2)) as other:
            other.add(record("b", tmp_path))
        held.add(record("a", tmp_path))
    with open_manifest(tmp_path, (0, 2)) as again:
        assert {name for name in "ab" if again.origin(name)} == {"a", "b"}


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert file_digest(path).startswith("ba7816bf8f01cfea")
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "missing")
