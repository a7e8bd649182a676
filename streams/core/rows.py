"""Rows of the folds: what is remembered of each input topic, per key. They are what the tables of the control plane hold."""

from dataclasses import dataclass

from schemas.records import Fault, Forecasts, Heartbeat, Period, PeriodEnd
from schemas.units import Epoch, GopOrdinal, Msn, Ticks, UnixMs


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelRow:
    """
    Newest periods of a channel (topic `channels`).

    Attributes:
        offset: Offset of the newest record it includes.
        at_unix_ms: Broker time of that record.
        periods: Newest periods, oldest first, without the bytes of their init segments.
        ends: Ends of those periods that ended.
    """

    offset: int
    at_unix_ms: UnixMs
    periods: tuple[Period, ...] = ()
    ends: tuple[PeriodEnd, ...] = ()

    def find(self, number: int) -> Period | None:
        """A period by its number, if remembered."""
        return next((period for period in self.periods if period.period == number), None)

    @property
    def newest(self) -> Period | None:
        """The newest period; absent while only an end was seen."""
        return self.periods[-1] if self.periods else None

    @property
    def channel_end(self) -> PeriodEnd | None:
        """The end of the channel, if it ended with its newest period."""
        newest = self.newest
        return next((end for end in self.ends if newest and end.period == newest.period and end.channel_ended), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """
    What the index of the log says of one segment, complete or open.

    Attributes:
        msn: Media sequence number.
        period: Period.
        first_gop: First GOP as stamped.
        gop_count: GOPs as stamped.
        seen_gops: GOPs folded so far.
        size: Payload bytes of those, all tracks.
        chunk_count: Chunks of those, all tracks.
        first_offset: Offset in `media` at which it begins.
        tail_offset: Offset in `media` at which its newest GOP begins.
        opened_unix_ms: Broker time of the index entry of its first GOP.
        durable_unix_ms: Broker time of the index entry of its newest GOP: one that the end of its period cut short was whole no sooner.
    """

    msn: Msn
    period: int
    first_gop: GopOrdinal
    gop_count: int
    seen_gops: int
    size: int
    chunk_count: int
    first_offset: int
    tail_offset: int
    opened_unix_ms: UnixMs
    durable_unix_ms: UnixMs

    @property
    def is_whole(self) -> bool:
        """Whether all GOPs it was opened with are in the log."""
        return self.seen_gops >= self.gop_count


@dataclass(frozen=True, kw_only=True, slots=True)
class GopsRow:
    """
    Recent segments of a channel (topic `gops`): its live edge, cadence, and where each segment can be read from.

    Attributes:
        offset: Offset of the newest record it includes.
        at_unix_ms: Broker time of that record.
        segments: Recent segments, oldest first.
    """

    offset: int
    at_unix_ms: UnixMs
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """
    What one origin saw of one channel in one interval of broker time. Seconds of sessions count the records that told of them.

    Attributes:
        number: Number of the interval.
        joins: Sessions that began.
        returns: Seeks, switches and stalls.
        whole_requests: Requests of sessions that fetch whole segments.
        whole_s: Seconds of those sessions.
        low_latency_s: Seconds of sessions that fetch parts or read open segments.
        told_s: Seconds of sessions whose throughput was told.
        told_kbits: Throughput over those.
    """

    number: int
    joins: int = 0
    returns: int = 0
    whole_requests: int = 0
    whole_s: int = 0
    low_latency_s: int = 0
    told_s: int = 0
    told_kbits: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelAudience:
    """
    What one origin saw last of one channel.

    Attributes:
        channel: Channel id.
        at_unix_ms: Broker time of the newest record that names the channel.
        whole_sessions: Sessions that fetch whole segments.
        low_latency_sessions: Sessions that fetch parts or read open segments.
        arrivals: Joins, seeks, switches and stalls of that second.
        buffer_ms_p10: 10 % quantile of client buffers; -1 when unknown.
        active_unix_ms: Broker time of the newest record with a session or request; 0: none.
        asked_unix_ms: Broker time of the newest first request, while off or without parts; 0: none.
        asked_offset: Offset of that record.
        low_latency_unix_ms: Broker time of the newest record with somebody who has or wants parts; 0: none.
        joins: Sessions that began in that second.
        intervals: What it saw, oldest interval first.
    """

    channel: str
    at_unix_ms: UnixMs
    whole_sessions: int
    low_latency_sessions: int
    arrivals: int
    buffer_ms_p10: int
    active_unix_ms: UnixMs
    asked_unix_ms: UnixMs
    asked_offset: int
    low_latency_unix_ms: UnixMs = UnixMs(0)
    joins: int = 0
    intervals: tuple[Interval, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DemandRow:
    """
    What one origin saw last of each channel (topic `demand`).

    Attributes:
        offset: Offset of the newest record it includes.
        at_unix_ms: Broker time of that record.
        channels: Channels with demand within memory, by id.
    """

    offset: int
    at_unix_ms: UnixMs
    channels: tuple[ChannelAudience, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulse:
    """
    One life of a packager as last heard.

    Attributes:
        heartbeat: Newest heartbeat of this life.
        at_unix_ms: Its broker time.
        offset: Its offset.
        first_unix_ms: Broker time of the first heartbeat heard of this life.
        steady_unix_ms: Since when it beats without a gap.
    """

    heartbeat: Heartbeat
    at_unix_ms: UnixMs
    offset: int
    first_unix_ms: UnixMs
    steady_unix_ms: UnixMs


@dataclass(frozen=True, kw_only=True, slots=True)
class HeartbeatRow:
    """
    Recent lives of one packager name (topic `heartbeats`).

    Attributes:
        offset: Offset of the newest record it includes.
        at_unix_ms: Broker time of that record.
        pulses: Lives, the one heard last at the end; two that alternate are two processes with one name.
    """

    offset: int
    at_unix_ms: UnixMs
    pulses: tuple[Pulse, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastRow:
    """
    Newest forecasts of the pool (topic `forecasts`).

    Attributes:
        offset: Offset of the newest record it includes.
        at_unix_ms: Broker time of that record.
        forecasts: That record.
    """

    offset: int
    at_unix_ms: UnixMs
    forecasts: Forecasts


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """
    Consecutive segments of a channel that were published (or declared void) within one interval of broker time.

    Attributes:
        interval: Number of the interval.
        channel: Channel id.
        tracks: Tracks, by id.
        first_msn: First segment.
        last_msn: Last segment.
        durable_unix_ms: Broker time of the last chunk of the last segment; 0 when void.
        published_unix_ms: Broker time of the newest report.
        late_ms_max: Longest time from durable to reported.
        is_late: Whether they are void for being late: they are still made.
    """

    interval: int
    channel: str
    tracks: tuple[str, ...]
    first_msn: Msn
    last_msn: Msn
    durable_unix_ms: UnixMs
    published_unix_ms: UnixMs
    late_ms_max: int
    is_late: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """
    A segment of a track that a packager could not make.

    Attributes:
        channel: Channel id.
        period: Period.
        track: Track.
        msn: Media sequence number.
        slice_id: Slice it was to be made for.
        epoch: Epoch of the assignment.
        packager_id: Who failed.
        fault: Whose fault it is.
        start_ticks: First tick of the segment.
        duration_ticks: Its duration as stamped.
        at_unix_ms: Broker time of the report.
        offset: Its offset.
    """

    channel: str
    period: int
    track: str
    msn: Msn
    slice_id: str
    epoch: Epoch
    packager_id: str
    fault: Fault
    start_ticks: Ticks
    duration_ticks: Ticks
    at_unix_ms: UnixMs
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRow:
    """
    Recent reports of one packager, or recent voids of one channel (topic `reports`).

    Attributes:
        offset: Offset of the newest record it includes.
        at_unix_ms: Broker time of that record.
        runs: Segments published or void, oldest interval first.
        failures: Failures, oldest first.
    """

    offset: int
    at_unix_ms: UnixMs
    runs: tuple[Run, ...] = ()
    failures: tuple[Failure, ...] = ()


Row = ChannelRow | GopsRow | DemandRow | HeartbeatRow | ForecastRow | ReportRow
