"""Forecasts of one channel: its sessions and joins per second, at horizons from two seconds to five minutes."""

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.records import ChannelForecast, HorizonForecast
from schemas.units import Ms, UnixMs
from streams.models.demand import DemandForecaster, Quantiles, quick_experts
from streams.models.history import checked

SECOND_MS = 1_000
HORIZONS_MS = (Ms(2_000), Ms(5_000), Ms(15_000), Ms(60_000), Ms(300_000))
STEP_SECONDS = 5
"""Forecasts are made once per step; longer horizons are forecast from means over steps."""
GAP_SECONDS_MAX = 600
"""A longer silence is another audience: begin again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Second:
    """What all origins saw of a channel in one second."""

    at_unix_ms: UnixMs
    sessions: float
    joins: float


class _Signal:
    """One signal of a channel: forecast from its seconds for the near, from means over steps for the far."""

    def __init__(self, near_steps: tuple[int, ...], far_steps: tuple[int, ...]) -> None:
        self._near = DemandForecaster(near_steps, experts=quick_experts) if near_steps else None
        self._far = DemandForecaster(far_steps) if far_steps else None
        self._far_count = len(far_steps)
        self._total = 0.0
        self._seconds = 0
        self._newest = 0.0

    def learn(self, value: float, *, ends_step: bool) -> None:
        self._newest = value
        if self._near:
            self._near.learn(value, opens_origin=ends_step or not self._near.count)
        self._total += value
        self._seconds += 1
        if ends_step:
            if self._far:
                self._far.learn(self._total / self._seconds)
            self._total, self._seconds = 0.0, 0

    @property
    def first(self) -> DemandForecaster:
        """The forecaster of the shortest horizon."""
        forecaster = self._near or self._far
        if forecaster is None:
            raise ValueError("a channel needs at least one horizon")
        return forecaster

    def forecast(self) -> list[Quantiles]:
        near = list(self._near.forecast()) if self._near else []
        if self._far and self._far.count:
            return near + list(self._far.forecast())
        unknown = near[-1] if near else Quantiles(p50=self._newest, p90=self._newest)
        return near + [unknown] * self._far_count


class ChannelForecaster:
    """
    Online forecaster of one channel.

    Args:
        channel: Channel id.
        horizons_ms: Rising; those up to the step of 5 s in whole seconds, longer ones in whole steps.

    Raises:
        ValueError: The horizons are none of these.

    >>> forecaster = ChannelForecaster("news")
    >>> forecaster.learn(Second(at_unix_ms=UnixMs(1_000), sessions=40, joins=0))
    True
    >>> [round(ahead.sessions_p50) for ahead in forecaster.forecast().horizons]
    [40, 40, 40, 40, 40]
    """

    def __init__(self, channel: str, *, horizons_ms: tuple[Ms, ...] = HORIZONS_MS) -> None:
        step_ms = STEP_SECONDS * SECOND_MS
        near = tuple(horizon // SECOND_MS for horizon in horizons_ms if horizon <= step_ms)
        far = tuple(horizon // step_ms for horizon in horizons_ms if horizon > step_ms)
        if not horizons_ms or horizons_ms != tuple(Ms(s * SECOND_MS) for s in near) + tuple(Ms(s * step_ms) for s in far):
            raise ValueError(f"horizons {horizons_ms!r} must be whole seconds up to {step_ms} ms and multiples of it beyond")
        self.channel = channel
        self._horizons_ms = horizons_ms
        self._steps = (near, far)
        self._begin()

    def _begin(self) -> None:
        self._sessions = _Signal(*self._steps)
        self._joins = _Signal(*self._steps)
        self._newest: int | None = None
        self._last_sessions = 0.0

    def learn(self, seen: Second) -> bool:
        """
        The next second of the channel; at the end of each step of 5 s, the forecast is made anew.

        Missing seconds are filled: sessions stay, nobody joins. After a silence of more than ten minutes everything is forgotten.

        Returns:
            Whether it was learned: a second not after the newest one is not.

        Raises:
            ValueError: A value is not a finite number >= 0; nothing is learned.
        """
        sessions, joins = checked(seen.sessions), checked(seen.joins)
        second = seen.at_unix_ms // SECOND_MS
        if self._newest is not None:
            if second <= self._newest:
                return False
            if second - self._newest > GAP_SECONDS_MAX:
                self._begin()
            else:
                for missing in range(self._newest + 1, second):
                    self._learn(missing, self._last_sessions, 0.0)
        self._learn(second, sessions, joins)
        return True

    def _learn(self, second: int, sessions: float, joins: float) -> None:
        ends_step = second % STEP_SECONDS == STEP_SECONDS - 1
        self._sessions.learn(sessions, ends_step=ends_step)
        self._joins.learn(joins, ends_step=ends_step)
        self._newest, self._last_sessions = second, sessions

    def relearn(self, series: Iterable[Second]) -> None:
        """Forget everything, then learn a series in order: the state is as if it had learned nothing else."""
        self._begin()
        for seen in series:
            self.learn(seen)

    def forecast(self) -> ChannelForecast:
        """Forecast of the newest step; zeros before the first second."""
        error = self._sessions.first.errors()[0]
        return ChannelForecast(
            channel=self.channel,
            horizons=tuple(
                HorizonForecast(
                    horizon_ms=horizon_ms,
                    sessions_p50=sessions.p50,
                    sessions_p90=sessions.p90,
                    joins_p50=joins.p50,
                    joins_p90=joins.p90,
                )
                for horizon_ms, sessions, joins in zip(self._horizons_ms, self._sessions.forecast(), self._joins.forecast(), strict=True)
            ),
            mae=error.mae,
            mae_last_value=error.mae_last_value,
            model=self._sessions.first.leaders()[0],
        )
