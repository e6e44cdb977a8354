"""The difference between two rows, as far as a handful of seeds can show it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean


@dataclass(frozen=True)
class Difference:
    """The mean of one row less that of another.

    Args:
        estimate: The difference of the means.
        low: The lower end of its confidence interval.
        high: The upper end.
        p_value: How often seeds alone would make a difference at least as large, were there none.
    """

    estimate: float
    low: float
    high: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.low <= 0 <= self.high


def welch(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Difference:
    """Welch's t test of `first` less `second`: rows of unequal spread, seeds independent and about normal.

    Args:
        first: The scores of one row, one a seed.
        second: The scores of the other.
        confidence: How often such an interval holds the true difference, in 0..1.

    Raises:
        ValueError: One has fewer than two scores, or none of them has any spread; that shows nothing of the noise.
    """
    from scipy.stats import ttest_ind

    have_no_spread = len({*first}) == len({*second}) == 1
    if min(len(first), len(second)) < 2 or have_no_spread:
        raise ValueError(f"a test needs two seeds or more of each row, with scores that differ: {first}, {second}")
    test = ttest_ind(first, second, equal_var=False)
    low, high = test.confidence_interval(confidence)
    return Difference(mean(first) - mean(second), float(low), float(high), float(test.pvalue))


def resolution(spread: float, num_seeds: int, confidence: float = 0.95) -> float:
    """The smallest difference that is significant between two rows of `num_seeds` seeds each and this spread.

    It is half the width of the interval, t * spread * sqrt(2 / num_seeds) with 2 num_seeds - 2 degrees of freedom.

    Args:
        spread: The standard deviation over the seeds of each row.
        num_seeds: The number of seeds of each row.
        confidence: How often such an interval holds the true difference, in 0..1.

    Raises:
        ValueError: There are fewer than two seeds, which have no spread.
    """
    from scipy.stats import t

    if num_seeds < 2:
        raise ValueError(f"num_seeds must be at least 2, got {num_seeds}")
    return float(t.ppf((1 + confidence) / 2, 2 * num_seeds - 2)) * spread * math.sqrt(2 / num_seeds)
