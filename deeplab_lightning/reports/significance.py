"""The statistical significance of the difference between two rows, given a few seeds of each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean


@dataclass(frozen=True)
class Difference:
    """The difference of the means of two rows.

    Args:
        estimate: The mean of the first row minus the mean of the second.
        low: The lower end of the confidence interval.
        high: The upper end of the confidence interval.
        p_value: The probability of a difference at least as large if the rows had equal means.
    """

    estimate: float
    low: float
    high: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the confidence interval excludes 0."""
        return not self.low <= 0 <= self.high


def welch(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Difference:
    """Welch's t-test of `first` minus `second`. The variances may differ; seeds are independent and about normal.

    Args:
        first: The scores of one row, one for each seed.
        second: The scores of the other row, one for each seed.
        confidence: The confidence level of the interval, in 0..1.

    Raises:
        ValueError: A row has fewer than two scores, or neither row has any variance, so the noise is unknown.
    """
    from scipy.stats import ttest_ind

    have_no_spread = len({*first}) == len({*second}) == 1
    if min(len(first), len(second)) < 2 or have_no_spread:
        raise ValueError(f"a test needs at least two seeds of each row, whose scores differ; got {first} and {second}")
    test = ttest_ind(first, second, equal_var=False)
    low, high = test.confidence_interval(confidence)
    return Difference(mean(first) - mean(second), float(low), float(high), float(test.pvalue))


def resolution(spread: float, num_seeds: int, confidence: float = 0.95) -> float:
    """The smallest significant difference between two rows with `num_seeds` seeds each and equal spread.

    It is half the width of the interval, t * spread * sqrt(2 / num_seeds) with 2 num_seeds - 2 degrees of freedom.

    Args:
        spread: The standard deviation of each row over its seeds.
        num_seeds: The number of seeds of each row.
        confidence: The confidence level of the interval, in 0..1.

    Raises:
        ValueError: There are fewer than two seeds, which have no standard deviation.
    """
    from scipy.stats import t

    if num_seeds < 2:
        raise ValueError(f"num_seeds must be at least 2, got {num_seeds}")
    return float(t.ppf((1 + confidence) / 2, 2 * num_seeds - 2)) * spread * math.sqrt(2 / num_seeds)
