"""The simple experts: last value, level, damped trend, a season ago; and the contract that every expert keeps."""

from collections.abc import Sequence
from typing import Protocol

from streams.models.history import Origin


class Expert(Protocol):
    """
    One opinion, or several that share their work, about the values ahead.

    Per step: ``learn`` for each horizon whose truth has arrived, then ``observe``, then, if the step is an origin,
    ``predict``. Deterministic, in bounded memory. A forecast may be negative or NaN ("no opinion yet"); the mix deals with it.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """One per opinion."""

    def observe(self, value: float) -> None:
        """The series goes on with one more value."""

    def predict(self, origin: Origin) -> Sequence[Sequence[float]]:
        """Per opinion one forecast per horizon, made at the newest value."""

    def learn(self, index: int, origin: Origin, truth: float) -> None:
        """The value that horizon number ``index`` of an earlier origin asked for has arrived."""


class LastValue:
    """It stays as it is: the yardstick that no mix may miss for long."""

    names = ("last_value",)

    def __init__(self, horizons_steps: tuple[int, ...]) -> None:
        self._size = len(horizons_steps)

    def observe(self, value: float) -> None:
        """Nothing to remember: the origin has it."""

    def predict(self, origin: Origin) -> Sequence[Sequence[float]]:
        """The newest value, for every horizon."""
        return ((origin.value,) * self._size,)

    def learn(self, index: int, origin: Origin, truth: float) -> None:
        """Nothing to learn."""


class ASeasonAgo:
    """As it was one season before; no opinion in the first season."""

    names = ("a_season_ago",)

    def observe(self, value: float) -> None:
        """Nothing to remember: the origin has it."""

    def predict(self, origin: Origin) -> Sequence[Sequence[float]]:
        """The values one season before."""
        return (origin.a_season_ago,)

    def learn(self, index: int, origin: Origin, truth: float) -> None:
        """Nothing to learn."""


class DampedTrend:
    """
    Holt's level and trend, the trend fading from step to step; without trend it is the running mean.

    Source:
        Gardner and McKenzie, 1985.

    >>> expert = DampedTrend("level", (1, 2), level_rate=0.5, trend_rate=0.0)
    >>> for value in (2.0, 4.0): expert.observe(value)
    >>> expert.forecast()
    (3.0, 3.0)
    """

    def __init__(self, name: str, horizons_steps: tuple[int, ...], *, level_rate: float, trend_rate: float, fade: float = 0.9) -> None:
        self.names = (name,)
        self._level_rate = level_rate
        self._trend_rate = trend_rate
        self._fade = fade
        self._reach = [fade * (1 - fade**horizon) / (1 - fade) for horizon in horizons_steps]
        self._level: float | None = None
        self._trend = 0.0

    def observe(self, value: float) -> None:
        """Level and trend follow the value."""
        if self._level is None:
            self._level = value
            return
        before, trend = self._level, self._fade * self._trend
        self._level = self._level_rate * value + (1 - self._level_rate) * (before + trend)
        self._trend = self._trend_rate * (self._level - before) + (1 - self._trend_rate) * trend

    def forecast(self) -> tuple[float, ...]:
        """Level plus what is left of the trend by each horizon."""
        return tuple((self._level or 0.0) + self._trend * reach for reach in self._reach)

    def predict(self, origin: Origin) -> Sequence[Sequence[float]]:
        """Level plus what is left of the trend by each horizon."""
        return (self.forecast(),)

    def learn(self, index: int, origin: Origin, truth: float) -> None:
        """Nothing to learn: it follows every value."""
