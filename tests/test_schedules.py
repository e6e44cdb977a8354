import pytest

from deeplab_lightning.schedules import poly, step_decay


def test_poly() -> None:
    assert poly(0, 100) == 1
    assert poly(50, 100) == pytest.approx(0.5**0.9)
    assert poly(100, 100) == 0
    assert poly(150, 100) == 0
    assert poly(25, 100, 1.0) == 0.75


def test_step_decay() -> None:
    assert [step_decay(step, 2000) for step in (0, 1999, 2000, 4000)] == pytest.approx([1, 1, 0.1, 0.01])
    assert step_decay(5, 2, factor=0.5) == 0.25
