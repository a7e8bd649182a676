"""River's forecaster of one series."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from river.time_series.base import Forecaster

from streams.models.history import checked
from streams.models.score import ErrorSoFar
from streams.models.series import ExpertFactory, SeriesForecaster, all_experts


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantiles:
    """Median and upper quantile of a value ahead; finite, >= 0, never crossed."""

    p50: float
    p90: float


class DemandForecaster(Forecaster):
    """
    River's forecaster of one series: `SeriesForecaster` with one row.

    Args:
        horizons_steps: How far ahead, in steps, rising.
        season_steps: Length of a season, at least the longest horizon; None when none is known.
        experts: Who is asked.

    Raises:
        ValueError: As of `SeriesForecaster`.

    >>> forecaster = DemandForecaster((1, 5))
    >>> for value in (3.0, 3.0, 3.0): forecaster.learn_one(value)
    >>> [round(value, 3) for value in forecaster.forecast(3)]
    [3.0, 3.0, 3.0]
    """

    def __init__(self, horizons_steps: tuple[int, ...], *, season_steps: int | None = None, experts: ExpertFactory = all_experts) -> None:
        self.horizons_steps = horizons_steps
        self.season_steps = season_steps
        self.experts = experts
        self._begin()

    def _begin(self) -> None:
        self._series = SeriesForecaster(self.horizons_steps, season_steps=self.season_steps, experts=self.experts)

    def learn_one(self, y: float, x: dict[str, float] | None = None) -> None:
        """
        The series goes on with one more value.

        Raises:
            ValueError: Not a finite number >= 0, or there are features; nothing is learned.
        """
        if x:
            raise ValueError(f"features {sorted(x)} cannot be learned from: the series alone is")
        self._series.learn(np.array([checked(y)]))

    def forecast(self, horizon: int, xs: list[dict[str, float]] | None = None) -> list[float]:
        """Median of each step ahead; between the horizons on straight lines from the newest value, beyond the last as at the last."""
        del xs
        newest = float(self._series.newest[0])
        ahead: list[float] = np.interp(range(1, horizon + 1), (0, *self.horizons_steps), (newest, *self._series.p50[:, 0])).tolist()
        return ahead

    def quantiles(self) -> tuple[Quantiles, ...]:
        """What is said per horizon; zeros before the first value."""
        pairs = zip(self._series.p50[:, 0], self._series.p90[:, 0], strict=True)
        return tuple(Quantiles(p50=float(p50), p90=float(p90)) for p50, p90 in pairs)

    def errors(self) -> tuple[ErrorSoFar, ...]:
        """How well each horizon was forecast so far."""
        return self._series.errors()

    def leaders(self) -> tuple[str, ...]:
        """Name of the expert with the largest weight, per horizon."""
        return tuple(self._series.names[number] for number in self._series.leaders[:, 0])

    def relearn(self, series: Iterable[float]) -> None:
        """Forget everything, then learn a series in order: the state is as if it had learned nothing else."""
        self._begin()
        for value in series:
            self.learn_one(value)
