"""The simple experts: last value, level, damped trends, a season ago; and the contract that every expert keeps."""

import math
from typing import ClassVar, Protocol

import numpy as np

from streams.models.history import History, Origin
from streams.models.rows import Rows, SideBySide, Vector


class Expert(Protocol):
    """
    One opinion, or several that share their work, about the values ahead of every series.

    Per step: ``learn`` for the horizons whose truth has arrived, then ``observe``, then, if asked, ``predict``. Deterministic, in
    bounded memory, each series by itself. A forecast may be negative or NaN ("no opinion yet"); the mix deals with it.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """One per opinion."""

    @property
    def needs_origin(self) -> bool:
        """Whether it can only predict at an origin."""

    def observe(self, history: History) -> None:
        """The series have gone on with one more value each."""

    def predict(self, history: History, origin: Origin | None) -> Vector:
        """Horizons x opinions x series: the values ahead. The origin is absent for experts that do not ask for one."""

    def learn(self, which: Rows, origin: Origin, truth: Vector, known: Vector) -> None:
        """
        What earlier origins asked for has arrived.

        Args:
            which: Numbers of the horizons.
            origin: The origin of each.
            truth: The value of each series.
            known: Horizons x series: 1.0 where the series was there at the origin, else 0.0.
        """

    def take(self, kept: Rows, more: int = 0) -> None:
        """Keep these rows, and make room for more."""

    def begin(self, rows: Rows) -> None:
        """New series in these rows."""

    def lend(self, lenders: Rows) -> None:
        """Remember what these rows have come to, for those that come later."""


class Trends(SideBySide):
    """
    Level and trend of each series at several speeds, the trend fading from step to step. Without trend it is the running mean, and
    at rate 1 the last value: the yardstick that no mix may miss for long, so it comes first.

    Source:
        Gardner and McKenzie, 1985.
    """

    needs_origin = False
    fresh: ClassVar = {"_level": (1, math.nan), "_trend": (1, 0.0)}

    def __init__(
        self, horizons_steps: tuple[int, ...], *, rows: int, kinds_count: int, trends: dict[str, tuple[float, float, float]]
    ) -> None:
        """``trends``: per name the rate of the level, the rate of the trend, and the share of the trend left after a step."""
        super().__init__(kinds_count)
        self.names = tuple(trends)
        self._level_rate, self._trend_rate, self._fade = np.array(list(trends.values())).T[:, :, None]
        ahead = np.array(horizons_steps)[:, None, None]
        self._reach = self._fade * (1 - self._fade**ahead) / (1 - self._fade)
        self._level = np.full((len(trends), rows), math.nan)
        self._trend = np.zeros((len(trends), rows))

    def observe(self, history: History) -> None:
        """Level and trend follow the value."""
        before, trend = self._level, self._fade * self._trend
        level = before + trend
        level += self._level_rate * (history.value - level)
        if history.count.min() <= 1:
            level = np.where(history.count <= 1, history.value, level)
            before = np.where(history.count <= 1, level, before)
        trend += self._trend_rate * (level - before - trend)
        self._level, self._trend = level, trend

    def predict(self, history: History, origin: Origin | None) -> Vector:
        """Level plus what is left of the trend by each horizon."""
        ahead: Vector = self._level + self._trend * self._reach
        return ahead

    def learn(self, which: Rows, origin: Origin, truth: Vector, known: Vector) -> None:
        """Nothing to learn: it follows every value."""


class ASeasonAgo(SideBySide):
    """As it was one season before; no opinion in the first season."""

    names = ("a_season_ago",)
    needs_origin = False

    def observe(self, history: History) -> None:
        """Nothing to remember: the history has it."""

    def predict(self, history: History, origin: Origin | None) -> Vector:
        """The values one season before."""
        ago: Vector = history.a_season_ago()[1:, None] ** 2
        return ago

    def learn(self, which: Rows, origin: Origin, truth: Vector, known: Vector) -> None:
        """Nothing to learn."""
