"""What the experts see: the series so far, boiled down to one bounded state and one feature vector per origin."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from streams.models.rows import Rows, SideBySide, Vector

VALUE_MAX = 1e15
"""Beyond any audience; above it the arithmetic of squared values would lose its digits."""
LAGS = np.array((0, 1, 2, 3, 4, 5, 9, 14, 29))
LEVELS = np.array((1 / 4, 1 / 16, 1 / 90))
"""Rates of the running means whose distance from the newest value shows a return to the mean."""
SCALE_RATE = 0.01
SCALE_MIN = 1e-9
FEATURE_MAX = 20.0
STANDARD_MAX = 10.0
DEPTH = int(LAGS[-1]) + 1


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """
    An instant from which the series are forecast, or several (then each array has one more axis in front).

    Attributes:
        step: Number of the instant, from 0.
        value: Newest values.
        root: Their square roots: in roots, the noise of a count is the same at every level.
        scale: Running means of the absolute change of the root per step, > 0.
        features: Series x features: changes and deviations of the root in units of ``scale``, bounded; last a 1.
        standard: The same without the 1, standardised.
    """

    step: Rows
    value: Vector
    root: Vector
    scale: Vector
    features: Vector
    standard: Vector


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


class History(SideBySide):
    """
    The series so far in bounded memory.

    >>> history = History((1, 2), rows=2)
    >>> for values in ((4.0, 0.0), (9.0, 1.0)): history.observe(np.array(values))
    >>> history.root.tolist()
    [3.0, 1.0]
    """

    fresh: ClassVar = {
        "count": (0, 0), "value": (0, 0.0), "root": (0, 0.0), "_scale": (0, 0.0), "_changes": (1, 0.0), "_levels": (0, 0.0),
        "_past": (1, math.nan), "_seen": (0, 0), "_mean": (0, 0.0), "_variance": (0, 0.0),
    }  # fmt: skip

    def __init__(self, horizons_steps: tuple[int, ...], *, rows: int, kinds_count: int = 1, season_steps: int | None = None) -> None:
        super().__init__(kinds_count)
        self._season = season_steps
        self._ahead = np.array((0, *horizons_steps))
        self.size = LAGS.size + LEVELS.size + (0 if season_steps is None else self._ahead.size + 4)
        self.step = -1
        self.count = np.zeros(rows, np.int64)
        self.value = np.zeros(rows)
        self.root = np.zeros(rows)
        self._scale = np.zeros(rows)
        self._changes = np.zeros((DEPTH, rows))
        self._levels = np.zeros((rows, LEVELS.size))
        self._past = np.full((0 if season_steps is None else season_steps + 1, rows), math.nan)
        self._seen = np.zeros(rows, np.int64)
        self._mean = np.zeros((rows, self.size))
        self._variance = np.zeros((rows, self.size))

    def observe(self, values: Vector) -> None:
        """Each series goes on with one more value."""
        self.step += 1
        root = np.sqrt(values)
        change = root - self.root
        if not self.count.all():  # somebody's first value changes nothing: there is none before
            first = self.count == 0
            change[first] = 0.0
            self._levels[first] = root[first, None]
        self._scale += (np.abs(change) - self._scale) * np.maximum(SCALE_RATE, 1 / np.maximum(1, self.count))
        self._changes[self.step % DEPTH] = change
        self._levels += (root[:, None] - self._levels) * LEVELS
        if self._season is not None:
            self._past[self.step % (self._season + 1)] = root
        self.root, self.value = root, values
        self.count += 1

    @property
    def scale(self) -> Vector:
        """Running mean of the absolute change of the root per step, > 0."""
        scale: Vector = np.maximum(self._scale, SCALE_MIN)
        return scale

    def a_season_ago(self) -> Vector:
        """Horizons x series: roots one season before each instant ahead, the newest first of all; NaN while unknown."""
        if self._season is None:
            return np.full((self._ahead.size, self.count.size), math.nan)
        past: Vector = self._past[(self.step - self._season + self._ahead) % (self._season + 1)]
        return past

    def origin(self) -> Origin:
        """The newest instant as the experts see it; call it once per instant, since the standard learns from it."""
        parts = [self._changes[(self.step - LAGS) % DEPTH].T, self.root[:, None] - self._levels]
        if self._season is not None:
            seasonal = self.a_season_ago()
            now = seasonal[0]
            parts.append(np.nan_to_num(np.vstack((seasonal[1:] - now, self.root - now))).T)
        scale = self.scale
        bounded = np.concatenate(parts, axis=1)
        bounded /= scale[:, None]
        np.minimum(bounded, FEATURE_MAX, out=bounded)
        np.maximum(bounded, -FEATURE_MAX, out=bounded)
        phase = self._phase()
        features = np.concatenate((bounded, phase, np.ones((self.count.size, 1))), axis=1)
        return Origin(np.array(self.step), self.value, self.root, scale, features, self._standardise(features[:, :-1]))

    def _phase(self) -> Vector:
        """Two harmonics of the season."""
        if self._season is None:
            return np.zeros((self.count.size, 0))
        angle = 2 * math.pi * (self.step % self._season) / self._season
        waves = (math.sin(angle), math.cos(angle), math.sin(2 * angle), math.cos(2 * angle))
        return np.tile(np.array(waves), (self.count.size, 1))

    def _standardise(self, features: Vector) -> Vector:
        """Features less their mean so far, in standard deviations (Welford)."""
        self._seen += 1
        off = features - self._mean
        self._mean += off / self._seen[:, None]
        now_off = features - self._mean
        self._variance += (off * now_off - self._variance) / self._seen[:, None]
        deviation = np.sqrt(self._variance)
        deviation[deviation == 0.0] = math.inf  # a feature that never changed says nothing
        now_off /= deviation
        np.minimum(now_off, STANDARD_MAX, out=now_off)
        np.maximum(now_off, -STANDARD_MAX, out=now_off)
        return now_off
