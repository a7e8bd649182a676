"""How far above the median the upper quantile lies: learned from what was missed, corrected by what it covered."""

from typing import ClassVar

import numpy as np

from streams.models.rows import Rows, SideBySide, Vector

COVERAGE = 0.9
COUNT_NOISE = 0.4
"""Mean size of the noise of the root of a count (standard deviation 1/2), whatever its level."""
UPPER = 1.6
"""0.9 quantile of a normal change in units of its mean absolute value: where the correction starts."""
SIZE_MEMORY, SIZE_MEMORY_STEP = 60.0, 4.0
"""Misses that the running mean remembers, and more per step ahead: long horizons miss in runs."""
STRETCH_RATE = 0.03
STRETCH_MIN, STRETCH_MAX = -6.0, 3.0
"""Bounds of the logarithm of the correction: a band can all but close, or be twenty times as wide as usual."""
REACH_STEP_MAX, REACH_MAX = 10.0, 100.0
"""Bounds of the mean miss in mean changes, which says nothing after silence: of one miss in means, of the mean in those of a walk."""
PRIOR_MISSES = 10.0
"""Misses that weigh as much as the width believed before the first."""


class Band(SideBySide):
    """
    Upper quantiles, per horizon and series: mean miss in square roots times a correction.

    The mean follows the audience within minutes. What it gets wrong shows in the coverage: each miss widens the band and each hit
    narrows it, in the ratio that holds the coverage whatever the distribution.

    Source:
        Gibbs and Candès, Adaptive conformal inference under distribution shift, 2021; the width is corrected instead of the level.
    """

    fresh: ClassVar = {"_size": (1, 0.0), "_count": (1, 0.0), "_stretch": (1, 0.0), "_reach": (1, 0.0)}
    lent: ClassVar = ("_stretch", "_reach")

    def __init__(self, horizons_steps: tuple[int, ...], *, rows: int, kinds_count: int = 1) -> None:
        super().__init__(kinds_count)
        self._first = np.sqrt(np.array(horizons_steps, float))[:, None]
        self._rate = 1 / (SIZE_MEMORY + SIZE_MEMORY_STEP * np.array(horizons_steps)[:, None])
        shape = (len(horizons_steps), rows)
        self._size, self._count, self._stretch = (np.zeros(shape) for _ in range(3))
        self._reach = np.repeat(self._first, rows, axis=1)

    def begin(self, rows: Rows) -> None:
        """New series in these rows."""
        super().begin(rows)
        if "_reach" not in self._common:
            self._reach[:, rows] = self._first

    def upper(self, median: Vector, *, scale: Vector) -> Vector:
        """Values that the truth exceeds in one of ten cases; at least the median. ``scale``: mean change of the root per step."""
        believed = np.maximum(COUNT_NOISE, self._reach * scale)
        size = (self._count * self._size + PRIOR_MISSES * believed) / (self._count + PRIOR_MISSES)
        width = UPPER * np.exp(self._stretch) * size
        upper: Vector = np.maximum(median, (np.sqrt(median) + width) ** 2)
        return upper

    def learn(self, which: Rows, *, median: Vector, upper: Vector, scale: Vector, truth: Vector, known: Vector) -> None:
        """The truth for earlier forecasts of these horizons has arrived."""
        miss = np.abs(np.sqrt(truth) - np.sqrt(median))
        count = self._count[which] + known
        rate = known * np.maximum(self._rate[which], 1 / np.maximum(1.0, count))
        self._size[which] += rate * (miss - self._size[which])
        reach = self._reach[which]
        reach = reach + known * self._rate[which] * (np.minimum(miss / scale, REACH_STEP_MAX * reach) - reach)
        self._reach[which] = np.minimum(reach, REACH_MAX * self._first[which])
        stretch = self._stretch[which] + STRETCH_RATE * known * (COVERAGE - (truth <= upper))
        self._stretch[which] = np.minimum(np.maximum(stretch, STRETCH_MIN), STRETCH_MAX)
        self._count[which] = count
