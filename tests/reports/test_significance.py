import math

import numpy as np
import pytest

from deeplab_lightning.reports.significance import resolution, welch


def test_welchs_interval_by_hand() -> None:
    """Two rows of three seeds: means 3 apart and variances 1 and 4 give 2.94 degrees of freedom; t(0.975) = 3.2219."""
    difference = welch([77, 78, 79], [73, 75, 77])
    error, freedom = math.sqrt(1 / 3 + 4 / 3), (5 / 3) ** 2 / ((1 / 3) ** 2 / 2 + (4 / 3) ** 2 / 2)
    assert freedom == pytest.approx(2.94, abs=0.005)
    assert difference.estimate == pytest.approx(3)
    assert (difference.high - difference.low) / 2 == pytest.approx(3.2219 * error, rel=1e-3)
    assert (difference.high + difference.low) / 2 == pytest.approx(3)
    assert not difference.is_significant
    assert difference.p_value > 0.05


def test_the_interval_has_its_stated_coverage() -> None:
    rng = np.random.default_rng(0)
    intervals = [welch(rng.normal(1, 1, 4).tolist(), rng.normal(0, 1, 4).tolist(), 0.9) for _ in range(400)]
    assert sum(each.low < 1 < each.high for each in intervals) / 400 == pytest.approx(0.9, abs=0.05)


def test_significant_means_that_the_interval_excludes_zero() -> None:
    assert welch([80.0, 80.1, 80.2], [70.0, 70.1, 70.2]).is_significant
    assert welch([70.0, 70.1, 70.2], [80.0, 80.1, 80.2]).is_significant


def test_resolution_is_the_half_width_at_equal_spread() -> None:
    rows = [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]
    difference = welch(*rows)
    assert resolution(1.0, 3) == pytest.approx((difference.high - difference.low) / 2)
    assert resolution(1.0, 2) == pytest.approx(4.3027, rel=1e-4)
    assert resolution(1.0, 10) < resolution(1.0, 5) < resolution(1.0, 3)


def test_too_few_seeds() -> None:
    for rows in (([1.0], [2.0, 3.0]), ([1.0, 1.0], [2.0, 2.0])):
        with pytest.raises(ValueError, match=r"\[[12]\.0"):
            welch(*rows)
    with pytest.raises(ValueError, match="num_seeds.* 1"):
        resolution(1.0, 1)
