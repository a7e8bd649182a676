"""How well the series were forecast so far."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from streams.models.rows import Rows, SideBySide, Vector

SCORE_RATE = 1 / 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorSoFar:
    """
    How well one horizon was forecast, over about the last thousand forecasts whose instant has passed.

    Attributes:
        count: Forecasts scored since the start.
        mae: Mean absolute error of the median.
        mae_last_value: The same of the last value.
        coverage: Share of truths at or below the upper quantile.
    """

    count: int
    mae: float
    mae_last_value: float
    coverage: float


class Score(SideBySide):
    """How well each horizon of each series was forecast."""

    fresh: ClassVar = {"count": (1, 0.0), "mae": (1, 0.0), "mae_last": (1, 0.0), "coverage": (1, 1.0)}

    def __init__(self, kinds_count: int, horizons_count: int, rows: int) -> None:
        super().__init__(kinds_count)
        self.count, self.mae, self.mae_last = (np.zeros((horizons_count, rows)) for _ in range(3))
        self.coverage = np.ones((horizons_count, rows))

    def learn(self, which: Rows, p50: Vector, p90: Vector, last: Vector, truth: Vector, known: Vector) -> None:
        """The truth for earlier forecasts of these horizons has arrived."""
        count = self.count[which] + known
        rate = known * np.maximum(SCORE_RATE, 1 / np.maximum(1.0, count))
        self.count[which] = count
        self.mae[which] += rate * (np.abs(p50 - truth) - self.mae[which])
        self.mae_last[which] += rate * (np.abs(last - truth) - self.mae_last[which])
        self.coverage[which] += rate * ((truth <= p90) - self.coverage[which])

    def of(self, row: int) -> tuple[ErrorSoFar, ...]:
        """Of one series, per horizon."""
        columns = zip(self.count[:, row], self.mae[:, row], self.mae_last[:, row], self.coverage[:, row], strict=True)
        return tuple(
            ErrorSoFar(count=int(count), mae=float(mae), mae_last_value=float(last), coverage=float(coverage))
            for count, mae, last, coverage in columns
        )
