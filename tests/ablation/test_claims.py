"""Claims of machines, each of which is a run root of its own, at an address in memory and in a folder."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from deeplab_lightning.ablation import claims
from deeplab_lightning.ablation.claims import BID, EXPIRY, HELD, Claims
from deeplab_lightning.run_folder import JobKey
from deeplab_lightning.segmentation.addresses import Address, address_of
from tests.patience import wait_until

TRAINING = JobKey("0a_seed0")
EVALUATION = JobKey("0a_seed0", "1b")


class Clock:
    """The clock of the observer, which a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1e6
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=lambda seconds: None)
        monkeypatch.setattr(claims, "time", clock)


@pytest.fixture(params=["memory", "folder"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield address_of("memory://claims" if request.param == "memory" else str(tmp_path / "claims"))
    files.store.clear()


def machines(folder: Address, tmp_path: Path) -> list[Claims]:
    """Two machines, sorted by the names that decide between them."""
    return sorted((Claims(folder, tmp_path / name) for name in ("one", "two")), key=lambda each: each.name)


def test_a_job_is_claimed_once(folder: Address, tmp_path: Path) -> None:
    one, two = machines(folder, tmp_path)
    assert one.claim(TRAINING) == ""
    assert two.claim(TRAINING) == one.holder
    assert two.claim(EVALUATION) == ""  # whose claims lie within the folder of the training's
    assert one.claim(EVALUATION) == two.holder
    assert Claims(folder, tmp_path / "x").claim(TRAINING) == one.holder  # those who asked in vain have left nothing
    one.release(TRAINING)
    assert two.claim(TRAINING) == ""


def test_a_machine_that_is_started_again_has_its_claims(folder: Address, tmp_path: Path) -> None:
    one, two = machines(folder, tmp_path)
    assert two.claim(TRAINING) == ""
    again = Claims(folder, Path(two.holder.partition(":")[2]))
    assert again.claim(TRAINING) == ""
    assert one.claim(TRAINING) == two.holder


def test_a_claim_that_is_not_renewed_expires(folder: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    one, two = machines(folder, tmp_path)
    one.claim(TRAINING)
    assert two.claim(TRAINING) == one.holder  # seen for the first time
    clock.now += EXPIRY - 1
    assert two.claim(TRAINING) == one.holder
    one.claim(TRAINING)  # renewed
    clock.now += EXPIRY - 1
    assert two.claim(TRAINING) == one.holder
    clock.now += EXPIRY + 1
    assert two.claim(TRAINING) == ""
    assert one.claim(TRAINING) == two.holder


def test_claims_are_renewed_and_released(folder: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.001)
    one, two = machines(folder, tmp_path)
    one.claim(TRAINING)
    claim = folder / str(TRAINING) / one.name
    first = claim.read_text()
    with one.renewing():
        wait_until(lambda: claim.read_text() not in (first, ""))
        assert two.claim(TRAINING) != ""
    assert not claim.is_file()
    assert two.claim(TRAINING) == ""


@pytest.mark.parametrize("state", [BID, HELD])
def test_of_two_that_bid_at_once_one_gives_way(
    folder: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """The one with the smaller name waits for the other to give way, which it does unless it holds the job."""
    one, two = machines(folder, tmp_path)
    bid = folder / str(TRAINING) / two.name
    bid.write_text(f"{state} 0 {two.holder}")
    looks: list[float] = []

    def give_way(seconds: float) -> None:
        looks.append(seconds)
        bid.remove()

    monkeypatch.setattr(claims, "time", SimpleNamespace(monotonic=time.monotonic, sleep=give_way))
    assert one.claim(TRAINING) == ("" if state == BID else two.holder)
    assert len(looks) == (state == BID)
    bid.remove()
    (folder / str(TRAINING) / one.name).write_text(f"{state} 0 {one.holder}")
    assert two.claim(TRAINING) == one.holder
    assert not bid.is_file()


def test_many_that_claim_at_once_do_not_share_a_job(tmp_path: Path) -> None:
    folder, won = address_of(str(tmp_path / "claims")), []
    barrier = threading.Barrier(4)

    def claim(name: str) -> None:
        own = Claims(folder, tmp_path / name)
        barrier.wait()
        if own.claim(TRAINING) == "":
            won.append(name)

    threads = [threading.Thread(target=claim, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_claim_that_is_being_written_counts_and_expires(
    folder: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    one, _ = machines(folder, tmp_path)
    (folder / str(TRAINING) / "ff").write_text("")
    assert one.claim(TRAINING) == "another machine"
    clock.now += EXPIRY + 1
    assert one.claim(TRAINING) == ""
