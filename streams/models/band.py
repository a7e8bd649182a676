"""How far above the median the upper quantile lies: learned from what was missed, corrected by what it covered."""

import math
from bisect import bisect_left, insort
from collections import deque

WINDOW = 500
MISSES_MIN = 20
COUNT_NOISE = 0.64
"""0.9 quantile of the noise of the root of a count (standard deviation 1/2), whatever its level."""
STEP_NOISE = 1.6
"""0.9 quantile of a normal change in units of its mean absolute value."""
STRETCH_RATE = 0.02
STRETCH_MAX = 1.5
"""Bound of the logarithm of the correction: the band is at most 4.5 times as wide or narrow as past errors say."""


class Band:
    """
    Upper quantile for one horizon, from a rolling window of arrived errors in square roots.

    The rolling quantile alone lags behind a changing audience, most at long horizons; so each miss widens the band and each hit
    narrows it, in the ratio that holds the coverage.

    Source:
        Gibbs and Candès, Adaptive conformal inference under distribution shift, 2021; the width is corrected instead of the level.
    """

    def __init__(self, horizon_steps: int, *, coverage: float = 0.9) -> None:
        self._horizon = horizon_steps
        self._coverage = coverage
        self._stretch = 0.0
        self._misses: deque[float] = deque()
        self._sorted: list[float] = []

    def upper(self, median: float, *, scale: float) -> float:
        """A value that the truth exceeds in one of ten cases; at least the median. ``scale``: mean change of the root per step."""
        if len(self._sorted) < MISSES_MIN:
            width = max(COUNT_NOISE, STEP_NOISE * scale * math.sqrt(self._horizon))
        else:
            rank = math.ceil(self._coverage * (len(self._sorted) + 1)) - 1
            width = max(0.0, self._sorted[min(rank, len(self._sorted) - 1)]) * math.exp(self._stretch)
        return max(median, (math.sqrt(median) + width) ** 2)

    def learn(self, *, median: float, upper: float, truth: float) -> None:
        """The truth for an earlier forecast has arrived."""
        miss = math.sqrt(truth) - math.sqrt(median)
        if len(self._misses) == WINDOW:
            self._sorted.pop(bisect_left(self._sorted, self._misses.popleft()))
        self._misses.append(miss)
        insort(self._sorted, miss)
        moved = self._stretch + STRETCH_RATE * (self._coverage - (truth <= upper))
        self._stretch = max(-STRETCH_MAX, min(STRETCH_MAX, moved))
