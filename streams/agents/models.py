"""What learns: demand and reports into River models, their word once per step into `forecasts`."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas import topics
from schemas.codec import Codec
from schemas.errors import RejectedError
from schemas.records import Demand, Forecasts, Reports
from schemas.settings import Settings
from schemas.units import Ms, UnixMs
from streams.core.dealing import THUMBNAILS
from streams.log import Log, outgoing
from streams.metrics import Metrics
from streams.models.cost import CostLearner
from streams.models.pool import PoolForecaster, Seen
from streams.pools import Pool
from streams.shell import Arrival

SECOND_MS = 1_000
# A second counts as over for the models this long after its end: what origins said of it has arrived by then.
SETTLE_MS = 250
# An origin unheard for longer has no sessions; one that is late is taken at its last word.
ORIGIN_SILENCE_MS = 3_000
# An origin with nothing to tell says nothing: after a longer time, its cores are those of the last part of it only.
WORD_MS_MAX = 1_500
# Forecasts are made anew every five seconds and thought fresh for ten.
RESTATE_MS = 5_000


@dataclass(slots=True)
class _Origin:
    at: UnixMs
    sessions: dict[str, int]


@dataclass(slots=True)
class Seconds:
    """
    Demand of a pool as equally spaced seconds per channel, by the broker's time.

    Sessions are the sum of each origin's last word; joins are counted in the second in which they were told.

    >>> from schemas.records import ChannelDemand
    >>> seconds, seen = Seconds(), ChannelDemand(channel="a", part_sessions=3, joins=1)
    >>> seconds.hear(Demand(origin_id="o", at_unix_ms=UnixMs(0), channels=(seen,)), UnixMs(1_200))
    >>> list(seconds.until(UnixMs(3_000)))
    [(1000, {'a': (3, 1)}), (2000, {'a': (3, 0)})]
    """

    _origins: dict[str, _Origin] = field(default_factory=dict)
    _joins: dict[str, int] = field(default_factory=dict)
    _channels: dict[str, UnixMs] = field(default_factory=dict)
    _open: UnixMs | None = None

    def hear(self, demand: Demand, at: UnixMs) -> None:
        """An origin's word; `until` its time must have been called before."""
        if self._open is None:
            self._open = UnixMs(at - at % SECOND_MS)
        sessions = {c.channel: c.whole_sessions + c.part_sessions + c.chunked_sessions for c in demand.channels}
        self._origins[demand.origin_id] = _Origin(at, sessions)
        for channel in demand.channels:
            self._channels[channel.channel] = at
            self._joins[channel.channel] = self._joins.get(channel.channel, 0) + channel.joins

    def until(self, now: UnixMs) -> Iterator[tuple[UnixMs, Seen]]:
        """Every second that ended by now and was not given before, with sessions and joins of every channel ever heard of, in order."""
        while self._open is not None and self._open + SECOND_MS <= now:
            at, self._open = self._open, UnixMs(self._open + SECOND_MS)
            since = self._open - ORIGIN_SILENCE_MS
            heard = [origin.sessions for origin in self._origins.values() if origin.at >= since]
            yield (
                at,
                {
                    channel: (sum(origin.get(channel, 0) for origin in heard), self._joins.get(channel, 0))
                    for channel in sorted(self._channels)
                },
            )
            self._joins.clear()

    def forget(self, before: UnixMs) -> set[str]:
        """Channels not heard of since a time, which are given no longer; origins unheard since leave, too."""
        self._origins = {origin_id: origin for origin_id, origin in self._origins.items() if origin.at >= before}
        gone = {channel for channel, at in self._channels.items() if at < before}
        for channel in gone:
            del self._channels[channel]
        return gone


class Models:
    """
    The models of one pool.

    After a start they relearn from the last ``planner.memory_ms`` of `demand` and `reports` in the log; what arrives meanwhile waits.

    Args:
        pool: The pool.
        log: Where forecasts go, and what is relearned from.
        codec: Frames.
        settings: Horizons and steps.
        metrics: Forecast errors.
    """

    def __init__(self, pool: Pool, *, log: Log, codec: Codec, settings: Settings, metrics: Metrics) -> None:
        self._pool = pool
        self._log = log
        self._codec = codec
        self._settings = settings
        self._metrics = metrics
        self._seconds = Seconds()
        self._forecaster = PoolForecaster(horizons_ms=tuple(Ms(horizon) for horizon in settings.forecast.horizons_ms))
        self._cost = CostLearner()
        self._heard: dict[str, UnixMs] = {}
        self._told, self._told_unix_ms = -1, UnixMs(0)
        self._newest = UnixMs(0)
        self._cause = ""
        self._waiting: list[Arrival] | None = []

    def learn(self, arrival: Arrival) -> None:
        """A new record of `demand` or `reports`."""
        if self._waiting is not None:
            self._waiting.append(arrival)
        elif isinstance(arrival.record, Demand):
            self._learn_demand(arrival.record, arrival.at_unix_ms, arrival.cause)
        elif isinstance(arrival.record, Reports):
            self._learn_reports(arrival.record)

    async def run(self) -> None:
        """Relearn, then look once per step whether there are forecasts to send, for ever."""
        while not self._pool.clock.is_known:
            await self._pool.touched.wait()
        await self._relearn()
        while True:
            await asyncio.sleep(self._settings.forecast.step_ms / 1_000)
            forecasts = self.news(self._pool.clock.now())
            if forecasts is not None:
                await self._log.append(
                    [
                        outgoing(
                            topics.FORECASTS,
                            self._pool.number,
                            str(self._pool.number),
                            forecasts,
                            codec=self._codec,
                            kafka=self._settings.kafka,
                        )
                    ]
                )

    def news(self, now: UnixMs) -> Forecasts | None:
        """What the models say if it may have changed since this was last asked, or was last told long ago; else None."""
        forecasts = self.forecast(now)
        edition = self._forecaster.edition
        if forecasts is None or (edition == self._told and now < self._told_unix_ms + RESTATE_MS):
            return None
        self._told, self._told_unix_ms = edition, now
        return forecasts

    def forecast(self, now: UnixMs) -> Forecasts | None:
        """What the models say now; None while they know nothing."""
        self._catch_up(UnixMs(now - SETTLE_MS))
        before = UnixMs(now - self._settings.planner.memory_ms)
        self._forecaster.forget(self._seconds.forget(before))
        self._heard = {origin_id: at for origin_id, at in self._heard.items() if at >= before}
        channels = self._forecaster.forecast()
        if not channels and not self._cost.has_evidence:
            return None
        pool = str(self._pool.number)
        self._metrics.forecast_mae.labels(pool).set(sum(channel.mae for channel in channels))
        self._metrics.forecast_mae_last.labels(pool).set(sum(channel.mae_last_value for channel in channels))
        return Forecasts(
            pool=self._pool.number,
            at_unix_ms=self._newest,
            channels=channels,
            cost=self._cost.cost() if self._cost.has_evidence else None,
            cause=self._cause,
        )

    def _catch_up(self, until: UnixMs) -> None:
        for at, seen in self._seconds.until(until):
            self._forecaster.learn(at, seen)

    def _learn_demand(self, demand: Demand, at: UnixMs, cause: str) -> None:
        self._catch_up(at)
        self._seconds.hear(demand, at)
        self._newest, self._cause = at, cause
        self._learn_requests(demand)

    def _learn_requests(self, demand: Demand) -> None:
        """An origin tells its cores as a rate since its last word, which may be less than a second ago."""
        since = self._heard.get(demand.origin_id)
        self._heard[demand.origin_id] = demand.at_unix_ms
        if since is not None and 0 < demand.at_unix_ms - since <= WORD_MS_MAX:
            requests = sum(channel.requests for channel in demand.channels)
            self._cost.learn_requests(requests, core_seconds=demand.cores_used * (demand.at_unix_ms - since) / SECOND_MS)

    def _learn_reports(self, reports: Reports) -> None:
        for report in reports.segments:
            if report.slice_id.split("/")[1:2] == [THUMBNAILS]:
                self._cost.learn_thumbnail(report)
            else:
                self._cost.learn(report)

    async def _relearn(self) -> None:
        kafka, pool = self._settings.kafka, self._pool.number
        since = UnixMs(self._pool.clock.now() - self._settings.planner.memory_ms)
        seen: dict[str, int] = {}
        async with self._log.reading() as reading:
            for topic in (topics.DEMAND, topics.REPORTS):
                name = topic.name(kafka)
                first, (_, end) = await reading.since(name, pool, since), await reading.bounds(name, pool)
                seen[topic.title] = end
                for stored in await reading.read(name, pool, first, end):
                    self._relearn_one(stored.value, stored.at_unix_ms, topics.cause(name, pool, stored.offset))
                    await asyncio.sleep(0)
        waiting, self._waiting = self._waiting or [], None
        for arrival in waiting:
            if arrival.offset >= seen[arrival.topic.title]:
                self.learn(arrival)

    def _relearn_one(self, value: bytes | None, at: UnixMs, cause: str) -> None:
        try:
            record = self._codec.decode(value or b"")
        except RejectedError:
            return  # it went to rejects when it arrived
        if isinstance(record, Demand):
            self._learn_demand(record, at, cause)
        elif isinstance(record, Reports):
            self._learn_reports(record)
