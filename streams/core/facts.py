"""What the folds say of each channel at one instant: the only view of the state that decisions read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from schemas.records import ChannelForecast, Cost, HorizonForecast, PartFrames, Period, PeriodEnd
from schemas.timeline import gops_per_segment_max
from schemas.units import Ms, Msn, UnixMs
from streams.core.folds import DEMAND_INTERVAL_MS
from streams.core.policy import Policy
from streams.core.rows import ChannelAudience, ChannelRow, DemandRow, ForecastRow, GopsRow, HeartbeatRow, Interval, ReportRow, Segment
from streams.core.state import State

# Origins speak every second; after this an origin that fell silent no longer counts its sessions.
AUDIENCE_FRESH_MS = 3_000
# Forecasts come every second; older ones are no evidence.
FORECAST_FRESH_MS = 10_000
# Segments that the byte rate is taken from: a few, so that it follows and yet is no noise.
RATE_SEGMENTS = 8
SECOND_MS = 1_000
# Demand predicted for so soon is prepared for: a plain player's hold back is three targets of 4 s.
PREPARE_MS = 15_000
# Before any is learned.
UNLEARNED = Cost()


@dataclass(slots=True)
class Past:
    """
    Demand of a channel over the intervals of the memory, over all origins; fields as in `Interval`.

    Attributes:
        active: Intervals in which whole segments were asked for.
    """

    joins: int = 0
    returns: int = 0
    whole_requests: int = 0
    whole_s: int = 0
    low_latency_s: int = 0
    told_s: int = 0
    told_kbits: int = 0
    active: set[int] = field(default_factory=set)

    def add(self, interval: Interval) -> None:
        """One interval of one origin more."""
        self.joins += interval.joins
        self.returns += interval.returns
        self.whole_s += interval.whole_s
        self.low_latency_s += interval.low_latency_s
        self.told_s += interval.told_s
        self.told_kbits += interval.told_kbits
        if interval.whole_requests:
            self.whole_requests += interval.whole_requests
            self.active.add(interval.number)

    @property
    def low_latency_share(self) -> float | None:
        """Share of the seconds of sessions that were those of parts; None while there were none."""
        total = self.whole_s + self.low_latency_s
        return self.low_latency_s / total if total else None


@dataclass(frozen=True, kw_only=True)
class Audience:
    """
    Who watches a channel, over all origins.

    Attributes:
        whole_sessions: Sessions that fetch whole segments.
        low_latency_sessions: Sessions that fetch parts or read open segments.
        at_stake: Sessions whose buffer would not outlast a takeover.
        joins: Sessions that began in the newest second.
        active_unix_ms: Broker time of the newest request or session; 0: none within memory.
        asked_unix_ms: Broker time of the newest first request; 0: none within memory.
        asked_offset: Its offset in `demand`.
        low_latency_unix_ms: Broker time at which somebody last had or wanted parts; 0: nobody within memory.
        past: What was seen within memory.
        seen: What each origin saw.
        fresh: How many of those count now: the others have not told of it lately.
        takeover_ms: How long a buffer must last.
    """

    whole_sessions: int = 0
    low_latency_sessions: int = 0
    at_stake: float = 0.0
    joins: int = 0
    active_unix_ms: UnixMs = UnixMs(0)
    asked_unix_ms: UnixMs = UnixMs(0)
    asked_offset: int = 0
    low_latency_unix_ms: UnixMs = UnixMs(0)
    past: Past = field(default_factory=Past)
    seen: tuple[ChannelAudience, ...] = ()
    fresh: int = 0
    takeover_ms: int = 0

    @property
    def sessions(self) -> int:
        """All of them."""
        return self.whole_sessions + self.low_latency_sessions

    @property
    def whole_share(self) -> float:
        """Share of sessions that fetch whole segments, over the memory; 1 while there were none."""
        share = self.past.low_latency_share
        return 1.0 if share is None else 1.0 - share


@dataclass(frozen=True, kw_only=True)
class ChannelFacts:
    """
    One channel at one instant.

    Attributes:
        channel: Channel id.
        row: Its periods.
        period: The newest.
        end: The end of the channel, if it ended.
        is_live: Whether it began or had a GOP lately, and has not ended.
        is_forsaken: Whether it has not ended, and its encoder has been silent for so long that it is not waited for.
        segments: Recent segments, oldest first.
        audience: Who watches.
        forecast: Forecast in force; absent without evidence.
        gop_ms: Length of a GOP.
        gops_min: GOPs in the shortest segment: no shorter than a quarter of the target duration.
        gops_max: GOPs in the longest segment that the target duration allows.
        chunks_per_gop: Chunks of one track in one GOP.
        memo: What was worked out of the channel alone, by what it was worked out with: it lasts while the channel is as it is.
        row_memo: What was worked out of its periods alone, by what it was worked out with: it lasts while they are the same.
    """

    channel: str
    row: ChannelRow
    period: Period
    end: PeriodEnd | None
    is_live: bool
    is_forsaken: bool
    segments: tuple[Segment, ...]
    audience: Audience
    forecast: ChannelForecast | None
    gop_ms: Ms
    gops_min: int
    gops_max: int
    chunks_per_gop: int
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    row_memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def bytes_per_s(self) -> float:
        """Payload of all tracks per second: measured on recent segments, else as declared."""
        gops = size = 0
        for segment in self.segments[-RATE_SEGMENTS:]:
            gops += segment.seen_gops
            size += segment.size
        if gops:
            return size * 1_000 / (gops * self.gop_ms)
        return sum(track.bandwidth_bps for track in self.period.tracks) / 8

    @cached_property
    def next_opened(self) -> Msn:
        """Media sequence number behind those that the log has chunks of, as far as the index and the periods tell."""
        newest = self.segments[-1].msn + 1 if self.segments else 0
        return Msn(max(newest, self.period.first_msn, self.end.next_msn if self.end else 0))

    @cached_property
    def open_msn(self) -> Msn:
        """Media sequence number of the segment that is being written, as far as the index tells."""
        newest = self.segments[-1] if self.segments else None
        return newest.msn if newest and not newest.is_whole and newest.period == self.period.period else self.next_opened

    @cached_property
    def next_unopened(self) -> Msn:
        """Media sequence number that no chunk can have been stamped with yet, as far as the index tells."""
        if not self.segments:
            return self.period.first_msn
        newest = self.segments[-1]
        # Behind a whole segment the next one is open already: its first GOP is being written.
        return Msn(newest.msn + (2 if newest.is_whole else 1))

    @cached_property
    def expected_sessions(self) -> float:
        """Median of the sessions that are expected so soon that it is to be prepared for."""
        soon = (horizon.sessions_p50 for horizon in self.forecast.horizons if horizon.horizon_ms <= PREPARE_MS) if self.forecast else ()
        return max(soon, default=0.0)

    def horizon(self, ahead_ms: int) -> HorizonForecast | None:
        """Forecast for the nearest horizon that is at least this far ahead; the farthest if none is."""
        found = None
        for found in self.forecast.horizons if self.forecast else ():
            if found.horizon_ms >= ahead_ms:
                break
        return found


@dataclass(frozen=True, kw_only=True)
class Facts:
    """
    Everything a decision reads of the folds.

    Attributes:
        now: Time of the decision.
        channels: Channels that have a period, by id.
        heartbeats: Recent lives, by packager.
        reports: Recent reports, by row key.
        cost: Learned packaging cost, or the default one.
        forecast_offset: Offset of the forecasts in force; a cause.
        forecast_unix_ms: Their broker time.
        window_ms: Time that the intervals of demand within memory cover, in whole seconds, as demand comes.
    """

    now: UnixMs
    channels: Mapping[str, ChannelFacts]
    heartbeats: Mapping[str, HeartbeatRow]
    reports: Mapping[str, ReportRow]
    cost: Cost = field(default_factory=Cost)
    forecast_offset: int = 0
    forecast_unix_ms: UnixMs = UnixMs(0)
    window_ms: Ms = Ms(DEMAND_INTERVAL_MS)

    @cached_property
    def low_latency_share(self) -> float:
        """Share of the pool's viewers that fetch parts, within memory; 0 while there were none."""
        pasts = [seen.audience.past for seen in self.channels.values() if seen.audience.seen]
        total = sum(past.whole_s + past.low_latency_s for past in pasts)
        return sum(past.low_latency_s for past in pasts) / total if total else 0.0


def read(state: State, policy: Policy, *, now: UnixMs) -> Facts:
    """
    The facts at an instant; nothing older than the state's memory is among them, but the compacted periods.

    A channel of which nothing has changed since the facts were last read is the same object, with all that was worked out of it.
    """
    gops: Mapping[str, GopsRow] = state.recent("gops", now)
    demand: Mapping[str, DemandRow] = state.recent("demand", now)
    newest: ForecastRow | None = state.recent("forecasts", now).get(str(state.pool))
    told: dict[str, tuple[ChannelAudience, ...]] = {}
    for origin in demand.values():
        for seen in origin.channels:
            told[seen.channel] = (*told[seen.channel], seen) if seen.channel in told else (seen,)
    is_same = policy.planner.demand == "last_value"
    is_fresh = newest is not None and now - newest.at_unix_ms <= FORECAST_FRESH_MS
    is_heard = any(now - row.at_unix_ms <= AUDIENCE_FRESH_MS for row in demand.values())
    forecasts = {f.channel: f for f in newest.forecasts.channels} if newest and is_fresh and not is_same else {}
    known: Mapping[str, ChannelFacts] = state.known
    channels = {}
    rows: Mapping[str, ChannelRow] = state.recent("channels", now)
    for channel, row in rows.items():
        before, index = known.get(channel), gops.get(channel)
        is_known = before is not None and before.row is row
        period, end = (before.period, before.end) if before is not None and is_known else (row.newest, row.channel_end)
        if period is None or period.pool != state.pool:
            continue
        moved = max(row.at_unix_ms, index.at_unix_ms if index else 0)
        is_live = end is None and now - moved < policy.planner.channel_silence_ms
        is_forsaken = end is None and not is_live and now - moved >= state.memory_ms // 2
        segments = index.segments if index else ()
        audience = _audience(before.audience if before else NOBODY, told.get(channel, ()), now, policy.liveness.dead_after_ms)
        forecast = forecasts.get(channel)
        if is_same and is_heard and channel in told:
            forecast = _as_it_is(channel, audience)
        if (
            before is not None
            and is_known
            and before.segments is segments
            and before.audience is audience
            and before.is_live is is_live
            and before.is_forsaken is is_forsaken
            and (before.forecast is forecast or before.forecast == forecast)
        ):
            channels[channel] = before
            continue
        length, shortest, longest, chunks = _shape(period.grid, period.frame_rate_num, period.frame_rate_den, period.target_duration_ms)
        channels[channel] = ChannelFacts(
            channel=channel,
            row=row,
            period=period,
            end=end,
            is_live=is_live,
            is_forsaken=is_forsaken,
            segments=segments,
            audience=audience,
            forecast=forecast,
            gop_ms=length,
            gops_min=shortest,
            gops_max=longest,
            chunks_per_gop=chunks,
            row_memo=before.row_memo if before is not None and is_known else {},
        )
    state.known = channels
    oldest = -((state.memory_ms - now) // DEMAND_INTERVAL_MS)  # the first interval that began after the memory did
    return Facts(
        now=now,
        channels=channels,
        heartbeats=state.recent("heartbeats", now),
        reports=state.recent("reports", now),
        cost=(newest.forecasts.cost if newest else None) or UNLEARNED,
        forecast_offset=newest.offset if newest else 0,
        forecast_unix_ms=newest.at_unix_ms if newest else UnixMs(0),
        window_ms=Ms(now - now % SECOND_MS - oldest * DEMAND_INTERVAL_MS),
    )


@lru_cache(maxsize=256)
def _shape(grid: tuple[PartFrames, ...], rate_num: int, rate_den: int, target_ms: int) -> tuple[Ms, int, int, int]:
    """Length of a GOP, GOPs of the shortest and the longest segment, chunks of a GOP: the same for all channels of one grid."""
    frames = sum(sum(part.chunk_frames) for part in grid)
    longest = gops_per_segment_max(gop_frames=frames, frame_rate_num=rate_num, frame_rate_den=rate_den, target_duration_ms=target_ms)
    length = Ms(-(-frames * rate_den * 1_000 // rate_num))
    shortest = min(longest, max(1, -(-(target_ms // 4) // length)))
    return length, shortest, longest, sum(len(part.chunk_frames) for part in grid)


NOBODY = Audience()


def _audience(before: Audience, seen: tuple[ChannelAudience, ...], now: UnixMs, takeover_ms: int) -> Audience:
    """The audience that origins saw; that of before if it is the same."""
    if not seen:
        return NOBODY
    fresh = [audience for audience in seen if now - audience.at_unix_ms <= AUDIENCE_FRESH_MS]
    if before.fresh == len(fresh) and before.seen == seen and before.takeover_ms == takeover_ms:
        return before
    past, asked, active_unix_ms, low_latency_unix_ms = Past(), (UnixMs(0), 0), UnixMs(0), UnixMs(0)
    for audience in seen:
        for interval in audience.intervals:
            past.add(interval)
        asked = max(asked, (audience.asked_unix_ms, audience.asked_offset))
        active_unix_ms = max(active_unix_ms, audience.active_unix_ms)
        low_latency_unix_ms = max(low_latency_unix_ms, audience.low_latency_unix_ms)
    return Audience(
        whole_sessions=sum([audience.whole_sessions for audience in fresh]),
        low_latency_sessions=sum([audience.low_latency_sessions for audience in fresh]),
        at_stake=sum([at_stake(audience, takeover_ms=takeover_ms) for audience in fresh], 0.0),
        joins=sum([audience.joins for audience in fresh]),
        active_unix_ms=active_unix_ms,
        asked_unix_ms=asked[0],
        asked_offset=asked[1],
        low_latency_unix_ms=low_latency_unix_ms,
        past=past,
        seen=seen,
        fresh=len(fresh),
        takeover_ms=takeover_ms,
    )


def at_stake(seen: ChannelAudience, *, takeover_ms: int) -> float:
    """
    Sessions whose buffer would not outlast a takeover, of those that an origin saw: all of them while it does not know their buffers.

    One quantile is known; buffers are taken to be spread evenly from nothing on, so that a tenth of them are below the 10 % quantile.

    >>> crowd = ChannelAudience(
    ...     channel="news", at_unix_ms=UnixMs(0), whole_sessions=90, low_latency_sessions=10, arrivals=0, buffer_ms_p10=5_000,
    ...     active_unix_ms=UnixMs(0), asked_unix_ms=UnixMs(0), asked_offset=0)
    >>> at_stake(crowd, takeover_ms=2_500)
    5.0
    """
    sessions = seen.whole_sessions + seen.low_latency_sessions
    if seen.buffer_ms_p10 < 0:
        return float(sessions)
    return sessions * min(1.0, 0.1 * takeover_ms / max(1, seen.buffer_ms_p10))


def _as_it_is(channel: str, audience: Audience) -> ChannelForecast:
    """The forecast that everything stays as it is."""
    sessions, joins = float(audience.sessions), float(audience.joins)
    stays = HorizonForecast(horizon_ms=Ms(0), sessions_p50=sessions, sessions_p90=sessions, joins_p50=joins, joins_p90=joins)
    return ChannelForecast(channel=channel, horizons=(stays,), mae=0.0, mae_last_value=0.0, model="last_value")
