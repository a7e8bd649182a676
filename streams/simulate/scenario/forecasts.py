"""Forecasts of a pool: by the models, or the last value as if it stayed."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from schemas.records import ChannelForecast, HorizonForecast
from schemas.units import Ms, UnixMs

HORIZONS_MS = (Ms(2_000), Ms(5_000), Ms(15_000), Ms(60_000), Ms(300_000))


class Forecaster(Protocol):
    """Forecasts of all channels of a pool, from equally spaced samples."""

    def learn(self, at: UnixMs, seen: Mapping[str, tuple[float, float]]) -> bool:
        """Sessions and joins per second of every channel at an instant."""
        ...

    def forget(self, channels: Iterable[str]) -> None:
        """Channels that left."""
        ...

    def forecast(self) -> tuple[ChannelForecast, ...]:
        """What is said now, by channel in order."""
        ...


class LastValues:
    """All stays as it was seen last."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float]] = {}

    def learn(self, at: UnixMs, seen: Mapping[str, tuple[float, float]]) -> bool:
        """As the protocol says."""
        del at
        self._seen.update(seen)
        return True

    def forget(self, channels: Iterable[str]) -> None:
        """As the protocol says."""
        for channel in channels:
            self._seen.pop(channel, None)

    def forecast(self) -> tuple[ChannelForecast, ...]:
        """As the protocol says."""
        return tuple(_same(channel, *self._seen[channel]) for channel in sorted(self._seen))


def _same(channel: str, sessions: float, joins: float) -> ChannelForecast:
    horizons = tuple(
        HorizonForecast(horizon_ms=ms, sessions_p50=sessions, sessions_p90=sessions, joins_p50=joins, joins_p90=joins) for ms in HORIZONS_MS
    )
    return ChannelForecast(channel=channel, horizons=horizons, mae=0.0, mae_last_value=0.0, model="last_value")
