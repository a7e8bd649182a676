"""The cheapest forecast there is: everything stays as it was last seen, with some room above."""

from schemas.records import ChannelDemand, ChannelForecast, Demand, Forecasts, HorizonForecast
from schemas.units import Ms, UnixMs

HORIZONS_MS = (2_000, 5_000, 15_000)
ROOM = 1.5


class LastValue:
    """Forecasts of a pool from the newest word of each origin."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, ChannelDemand]] = {}

    def learn(self, demand: Demand) -> None:
        """Takes one second of one origin; a channel it does not name has no demand."""
        self._seen[demand.origin_id] = {channel.channel: channel for channel in demand.channels}

    def forecasts(self, pool: int, *, at: UnixMs) -> Forecasts | None:
        """What is said now; None before anything was learned."""
        channels = sorted({channel for seen in self._seen.values() for channel in seen})
        said = tuple(self._forecast(channel) for channel in channels)
        return Forecasts(pool=pool, at_unix_ms=at, channels=said) if said else None

    def _forecast(self, channel: str) -> ChannelForecast:
        rows = [seen[channel] for seen in self._seen.values() if channel in seen]
        sessions = float(sum(row.whole_sessions + row.part_sessions + row.chunked_sessions for row in rows))
        joins = float(sum(row.joins for row in rows))
        horizons = tuple(
            HorizonForecast(horizon_ms=Ms(ms), sessions_p50=sessions, sessions_p90=ROOM * sessions, joins_p50=joins, joins_p90=ROOM * joins)
            for ms in HORIZONS_MS
        )
        return ChannelForecast(channel=channel, horizons=horizons, mae=0.0, mae_last_value=0.0, model="last_value")
