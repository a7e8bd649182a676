"""What the folds say of each channel at one instant: the only view of the state that decisions read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from schemas.records import ChannelForecast, Cost, HorizonForecast, PartFrames, Period, PeriodEnd
from schemas.timeline import gops_per_segment_max
from schemas.units import Ms, Msn, UnixMs
from streams.core.policy import Policy
from streams.core.rows import ChannelRow, DemandRow, ForecastRow, GopsRow, HeartbeatRow, ReportRow, Segment
from streams.core.state import State

# Origins speak every second; after this an origin that fell silent no longer counts its sessions.
AUDIENCE_FRESH_MS = 3_000
# Forecasts come every second; older ones are no evidence.
FORECAST_FRESH_MS = 10_000
# Segments that the byte rate is taken from: a few, so that it follows and yet is no noise.
RATE_SEGMENTS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Audience:
    """
    Who watches a channel, over all origins.

    Attributes:
        whole_sessions: Sessions that fetch whole segments.
        low_latency_sessions: Sessions that fetch parts or read open segments.
        active_unix_ms: Broker time of the newest request or session; 0: none within memory.
        asked_unix_ms: Broker time of the newest first request; 0: none within memory.
        asked_offset: Its offset in `demand`.
    """

    whole_sessions: int = 0
    low_latency_sessions: int = 0
    active_unix_ms: UnixMs = UnixMs(0)
    asked_unix_ms: UnixMs = UnixMs(0)
    asked_offset: int = 0

    @property
    def sessions(self) -> int:
        """All of them."""
        return self.whole_sessions + self.low_latency_sessions

    @property
    def whole_share(self) -> float:
        """Share of sessions that fetch whole segments; 1 while there are none."""
        return self.whole_sessions / self.sessions if self.sessions else 1.0


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
        segments: Recent segments, oldest first.
        audience: Who watches.
        forecast: Forecast in force; absent without evidence.
        gop_ms: Length of a GOP.
        gops_max: GOPs in the longest segment that the target duration allows.
        chunks_per_gop: Chunks of one track in one GOP.
    """

    channel: str
    row: ChannelRow
    period: Period
    end: PeriodEnd | None
    is_live: bool
    segments: tuple[Segment, ...]
    audience: Audience
    forecast: ChannelForecast | None
    gop_ms: Ms
    gops_max: int
    chunks_per_gop: int

    @cached_property
    def bytes_per_s(self) -> float:
        """Payload of all tracks per second: measured on recent segments, else as declared."""
        recent = self.segments[-RATE_SEGMENTS:]
        gops = sum(segment.seen_gops for segment in recent)
        if gops:
            return sum(segment.size for segment in recent) * 1_000 / (gops * self.gop_ms)
        return sum(track.bandwidth_bps for track in self.period.tracks) / 8

    @cached_property
    def next_opened(self) -> Msn:
        """Media sequence number behind those that the log has chunks of, as far as the index and the periods tell."""
        newest = self.segments[-1].msn + 1 if self.segments else 0
        return Msn(max(newest, self.period.first_msn, self.end.next_msn if self.end else 0))

    @cached_property
    def next_unopened(self) -> Msn:
        """Media sequence number that no chunk can have been stamped with yet, as far as the index tells."""
        if not self.segments:
            return self.period.first_msn
        newest = self.segments[-1]
        # Behind a whole segment the next one is open already: its first GOP is being written.
        return Msn(newest.msn + (2 if newest.is_whole else 1))

    def horizon(self, ahead_ms: int) -> HorizonForecast | None:
        """Forecast for the nearest horizon that is at least this far ahead; the farthest if none is."""
        if not self.forecast or not self.forecast.horizons:
            return None
        return next((h for h in self.forecast.horizons if h.horizon_ms >= ahead_ms), self.forecast.horizons[-1])


@dataclass(frozen=True, kw_only=True, slots=True)
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
    """

    now: UnixMs
    channels: Mapping[str, ChannelFacts]
    heartbeats: Mapping[str, HeartbeatRow]
    reports: Mapping[str, ReportRow]
    cost: Cost = field(default_factory=Cost)
    forecast_offset: int = 0
    forecast_unix_ms: UnixMs = UnixMs(0)


def read(state: State, policy: Policy, *, now: UnixMs) -> Facts:
    """The facts at an instant; nothing older than the state's memory is among them, but the compacted periods."""
    gops: Mapping[str, GopsRow] = state.recent("gops", now)
    audiences = _audiences(state.recent("demand", now).values(), now)
    newest: ForecastRow | None = state.recent("forecasts", now).get(str(state.pool))
    is_fresh = newest is not None and now - newest.at_unix_ms <= FORECAST_FRESH_MS
    forecasts = {f.channel: f for f in newest.forecasts.channels} if newest and is_fresh else {}
    channels = {}
    rows: Mapping[str, ChannelRow] = state.recent("channels", now)
    for channel, row in rows.items():
        period, index = row.newest, gops.get(channel)
        if period is None or period.pool != state.pool:
            continue
        end = row.channel_end
        length, longest, chunks = _shape(period.grid, period.frame_rate_num, period.frame_rate_den, period.target_duration_ms)
        moved = max(row.at_unix_ms, index.at_unix_ms if index else 0)
        channels[channel] = ChannelFacts(
            channel=channel,
            row=row,
            period=period,
            end=end,
            is_live=end is None and now - moved < policy.planner.channel_silence_ms,
            segments=index.segments if index else (),
            audience=audiences.get(channel, Audience()),
            forecast=forecasts.get(channel),
            gop_ms=length,
            gops_max=longest,
            chunks_per_gop=chunks,
        )
    return Facts(
        now=now,
        channels=channels,
        heartbeats=state.recent("heartbeats", now),
        reports=state.recent("reports", now),
        cost=(newest.forecasts.cost if newest else None) or Cost(),
        forecast_offset=newest.offset if newest else 0,
        forecast_unix_ms=newest.at_unix_ms if newest else UnixMs(0),
    )


@lru_cache(maxsize=256)
def _shape(grid: tuple[PartFrames, ...], rate_num: int, rate_den: int, target_ms: int) -> tuple[Ms, int, int]:
    """Length of a GOP, GOPs of the longest segment, chunks of a GOP: the same for all channels of one grid."""
    frames = sum(sum(part.chunk_frames) for part in grid)
    longest = gops_per_segment_max(gop_frames=frames, frame_rate_num=rate_num, frame_rate_den=rate_den, target_duration_ms=target_ms)
    return Ms(-(-frames * rate_den * 1_000 // rate_num)), longest, sum(len(part.chunk_frames) for part in grid)


def _audiences(rows: Iterable[DemandRow], now: UnixMs) -> dict[str, Audience]:
    audiences: dict[str, Audience] = {}
    for row in rows:
        for seen in row.channels:
            before = audiences.get(seen.channel, Audience())
            is_fresh = now - seen.at_unix_ms <= AUDIENCE_FRESH_MS
            asked, asked_offset = max((before.asked_unix_ms, before.asked_offset), (seen.asked_unix_ms, seen.asked_offset))
            audiences[seen.channel] = Audience(
                whole_sessions=before.whole_sessions + (seen.whole_sessions if is_fresh else 0),
                low_latency_sessions=before.low_latency_sessions + (seen.low_latency_sessions if is_fresh else 0),
                active_unix_ms=max(before.active_unix_ms, seen.active_unix_ms),
                asked_unix_ms=asked,
                asked_offset=asked_offset,
            )
    return audiences
