"""The effects of settings are differences between rows of the papers' tables."""

import pytest

from deeplab_lightning.reports.effects import EFFECTS, effect_of


@pytest.mark.parametrize("effect", EFFECTS, ids=str)
def test_both_rows_have_numbers(effect: object) -> None:
    assert 0 < next(each for each in EFFECTS if each is effect).points < 20


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("data.init_args.batch_size", 77.21 - 64.43),  # v3, Table 9
        ("model.init_args.scales", 79.45 - 78.51),  # v3, Table 6
        ("crf", 77.69 - 76.35),  # v2, Table 4
    ],
)
def test_the_papers_numbers(name: str, points: float) -> None:
    effect = effect_of(name)
    assert effect is not None
    assert effect.points == pytest.approx(points)


def test_nothing_is_said_of_other_settings() -> None:
    assert effect_of("model.init_args.decoder_channels") is None
