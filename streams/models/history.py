"""What the experts see: the series so far, boiled down to one bounded state and one feature vector per origin."""

import math
from array import array
from collections import deque
from dataclasses import dataclass

from river.preprocessing import StandardScaler

VALUE_MAX = 1e15
"""Beyond any audience; above it the arithmetic of squared values would lose its digits."""
LAGS = (0, 1, 2, 3, 4, 5, 9, 14, 29)
LEVELS = (1 / 4, 1 / 16, 1 / 90)
"""Rates of the running means whose distance from the newest value shows a return to the mean."""
SCALE_RATE = 0.01
SCALE_MIN = 1e-9
FEATURE_MAX = 20.0
STANDARD_MAX = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """
    An instant from which a forecast is made.

    Attributes:
        step: Number of the value, from 0.
        value: Newest value.
        root: Its square root: in roots, the noise of a count is the same at every level.
        scale: Running mean of the absolute change of the root per step, > 0.
        features: Changes and deviations of the root in units of ``scale``, bounded; last a 1.
        standard: The same, standardised, for River.
        a_season_ago: Per horizon the value one season before the instant forecast; NaN while unknown.
    """

    step: int
    value: float
    root: float
    scale: float
    features: list[float]
    standard: dict[int, float]
    a_season_ago: tuple[float, ...]


def checked(value: float) -> float:
    """
    The value itself if it can be a demand.

    Raises:
        ValueError: It is not finite, negative, or beyond ``VALUE_MAX``.

    >>> checked(3)
    3.0
    """
    if not 0.0 <= value <= VALUE_MAX:  # also refuses NaN
        raise ValueError(f"demand {value!r} is not a number from 0 to {VALUE_MAX:g}")
    return float(value)


class History:
    """
    The series so far in bounded memory.

    >>> history = History((1, 2))
    >>> for value in (4.0, 9.0): history.observe(value)
    >>> history.origin().root
    3.0
    """

    def __init__(self, horizons_steps: tuple[int, ...], *, season_steps: int | None = None) -> None:
        self._horizons = horizons_steps
        self._season = season_steps
        self._roots = array("d")
        self._changes: deque[float] = deque(maxlen=max(LAGS) + 1)
        self._levels = [0.0] * len(LEVELS)
        self._scale = 0.0
        self._root = 0.0
        self._value = 0.0
        self._scaler = StandardScaler()
        self.count = 0

    def observe(self, value: float) -> None:
        """The series goes on with one more value."""
        root = math.sqrt(value)
        if self.count == 0:
            self._levels = [root] * len(LEVELS)
        else:
            change = root - self._root
            self._changes.appendleft(change)
            self._scale += max(SCALE_RATE, 1 / self.count) * (abs(change) - self._scale)
            self._levels = [level + rate * (root - level) for level, rate in zip(self._levels, LEVELS, strict=True)]
        if self._season is not None:
            if len(self._roots) <= self._season:
                self._roots.append(root)
            else:
                self._roots[self.count % (self._season + 1)] = root
        self._root, self._value = root, value
        self.count += 1

    def origin(self) -> Origin:
        """The newest instant as the experts see it; call it once per instant, since the scaler learns from it."""
        scale = max(self._scale, SCALE_MIN)
        changes = self._changes
        raw = [changes[lag] if lag < len(changes) else 0.0 for lag in LAGS]
        raw += [self._root - level for level in self._levels]
        seasonal, a_season_ago = self._seasonal()
        bounded = [
            x if -FEATURE_MAX < x < FEATURE_MAX else math.copysign(FEATURE_MAX, x) for x in [part / scale for part in raw + seasonal]
        ]
        bounded += self._phase()
        named = dict(enumerate(bounded))
        self._scaler.learn_one(named)  # type: ignore[no-untyped-call]  # River is half typed
        standard = self._scaler.transform_one(named)  # type: ignore[no-untyped-call]  # River is half typed
        if max(standard.values()) > STANDARD_MAX or min(standard.values()) < -STANDARD_MAX:
            standard = {k: max(-STANDARD_MAX, min(STANDARD_MAX, v)) for k, v in standard.items()}
        return Origin(self.count - 1, self._value, self._root, scale, [*bounded, 1.0], standard, a_season_ago)

    def _seasonal(self) -> tuple[list[float], tuple[float, ...]]:
        """Seasonal features, and the values one season before each horizon."""
        if self._season is None:
            return [], (math.nan,) * len(self._horizons)
        now = self.count - 1
        if now < self._season:
            return [0.0] * (len(self._horizons) + 1), (math.nan,) * len(self._horizons)
        size = self._season + 1
        before = self._roots[(now - self._season) % size]
        ahead = [self._roots[(now - self._season + horizon) % size] for horizon in self._horizons]
        return [root - before for root in ahead] + [self._root - before], tuple(root * root for root in ahead)

    def _phase(self) -> list[float]:
        """Two harmonics of the season."""
        if self._season is None:
            return []
        angle = 2 * math.pi * ((self.count - 1) % self._season) / self._season
        return [math.sin(angle), math.cos(angle), math.sin(2 * angle), math.cos(2 * angle)]
