import pytest

from deeplab_lightning.callbacks.heartbeat import Heartbeat, Silence


def test_a_rank_that_does_not_beat_is_silent_after_so_many_checks() -> None:
    silence, beats = Silence(range(3), patience=4), dict.fromkeys(range(3), 0)
    for check in range(10):
        beats = {rank: count + (rank != 2 or check < 5) for rank, count in beats.items()}
        assert silence.check(beats) == (2 if check >= 8 else None)


def test_a_rank_that_beats_now_and_then_is_alive() -> None:
    silence = Silence(range(2), patience=4)
    assert all(silence.check({0: check, 1: check // 4}) is None for check in range(1, 50))


def test_without_any_beats_the_rank_of_the_store_is_silent() -> None:
    silence = Silence(range(3), patience=2)
    assert silence.check({0: 1, 1: 1, 2: 1}) is None
    assert silence.check({}) is None
    assert silence.check({}) == 0


def test_an_invalid_time_is_refused() -> None:
    with pytest.raises(ValueError, match="heartbeat.minutes .*got 0"):
        Heartbeat(0)
