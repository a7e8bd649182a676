"""
Immutable typed records, one per ``.avsc`` file in ``schemas/avro``.

Every record is frozen, keyword-only and born valid. Ids of channels, tracks, packagers and origins are
``[a-z0-9][a-z0-9-]{0,62}``, so that they are safe in paths, keys and labels. Every record that follows from another names
its ``cause`` as ``topic/partition/offset``.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.errors import RejectedError
from schemas.units import Epoch, GopOrdinal, Ms, Msn, Ticks, Timescale, UnixMs

ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# No origin counts more in a second, nor sends more bytes; sums over all origins stay what a model can learn from.
COUNT_MAX = 2**31 - 1
BYTES_MAX = 10**15
# No segment takes an hour of CPU.
CPU_US_MAX = 3_600_000_000
# RFC 6381 codec string of a text track.
TEXT_CODEC = "wvtt"


def check_id(value: str, *, what: str) -> str:
    """
    The id itself if it is one.

    Raises:
        RejectedError: It is not ``[a-z0-9][a-z0-9-]{0,62}``.
    """
    if not ID.fullmatch(value):
        raise RejectedError(f"{what} {value!r} is not an id: use 1 to 63 of a-z, 0-9 and '-', not starting with '-'")
    return value


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise RejectedError(problem)


class TrackKind(StrEnum):
    """What a track carries."""

    VIDEO = "video"
    AUDIO = "audio"


class MarkKind(StrEnum):
    """What a mark in the media topic says."""

    PERIOD_START = "period_start"
    CHANNEL_END = "channel_end"


class Level(StrEnum):
    """What of a channel is packaged: nothing (it is in the log only), whole segments, or parts and segments."""

    OFF = "off"
    SEGMENTS = "segments"
    PARTS = "parts"


class PackagerState(StrEnum):
    """State that a packager reports of itself; dead stands in decisions only."""

    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


class Outcome(StrEnum):
    """What became of a segment at a packager."""

    PUBLISHED = "published"
    FAILED = "failed"


class Fault(StrEnum):
    """Whose fault a failure is: the chunks', the store's, or the packager's own."""

    INPUT = "input"
    STORE = "store"
    OWN = "own"


class Action(StrEnum):
    """What the planner says of a channel's packaging."""

    START = "start"
    STOP = "stop"


class Reason(StrEnum):
    """Why a value stands in a decision."""

    NEW_CHANNEL = "new_channel"
    IDLE = "idle"
    IDLE_LEVEL = "idle_level"
    FIRST_REQUEST = "first_request"
    FORECAST = "forecast"
    JOINS_EXPECTED = "joins_expected"
    NOBODY_JOINS = "nobody_joins"
    TOO_LITTLE_EVIDENCE = "too_little_evidence"
    HELD = "held"
    CHANNEL_ENDED = "channel_ended"
    PACKAGER_DEAD = "packager_dead"
    PACKAGER_DRAINING = "packager_draining"
    PACKAGER_GONE = "packager_gone"
    PLACED = "placed"
    REBALANCED = "rebalanced"
    NO_CAPACITY = "no_capacity"
    RETENTION = "retention"
    LATE = "late"
    FAILED_THRICE = "failed_thrice"
    LOAD = "load"
    STEADY = "steady"


# ---------------------------------------------------------------- media


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """
    One CMAF chunk of one track, stamped with the segment it belongs to.

    Attributes:
        channel: Channel id.
        period: Number of the period, from 0.
        track: Track id.
        life: Random id of the run of the writer that made it.
        gop: GOP ordinal within the period.
        msn: Stamp: media sequence number of its segment.
        first_gop: Stamp: ordinal of the segment's first GOP.
        gop_count: Stamp: GOPs the segment was opened with; only the end of a period cuts it short.
        index: Number of this chunk in its track since the period's start, from 0; equals its mfhd sequence number modulo 2^32.
        part: Number of its part within the GOP, from 0.
        ends_part: Whether it is the last chunk of its part.
        ends_gop: Whether it is the last chunk of its GOP.
        independent: Whether it begins with a sync sample.
        start_ticks: Decode time of its first sample (its tfdt).
        duration_ticks: Sum of its sample durations.
        produced_unix_ms: Producer's wall time when it was made; for measuring only.
        payload: One moof and one mdat.
    """

    channel: str
    period: int
    track: str
    life: str
    gop: GopOrdinal
    msn: Msn
    first_gop: GopOrdinal
    gop_count: int
    index: int
    part: int
    ends_part: bool
    ends_gop: bool
    independent: bool
    start_ticks: Ticks
    duration_ticks: Ticks
    produced_unix_ms: UnixMs
    payload: bytes

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")
        check_id(self.track, what="track")
        _require(self.period >= 0 and self.msn >= 0 and self.index >= 0 and self.part >= 0, "chunk: negative number")
        _require(self.gop_count >= 1, f"chunk: a segment has at least one GOP, not {self.gop_count}")
        _require(
            self.first_gop <= self.gop < self.first_gop + self.gop_count,
            f"chunk: GOP {self.gop} lies outside its segment {self.first_gop}+{self.gop_count}",
        )
        _require(self.start_ticks >= 0 and self.duration_ticks > 0, "chunk: start and duration must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaMark:
    """
    A period start or the end of a channel, between the chunks of ``media``.

    Attributes:
        channel: Channel id.
        life: Run of the writer.
        kind: What begins or ends here.
        period: The period that starts, or the one that ends with the channel.
        ended_period: The period that ended here; absent at a channel's first start.
        parts_reached: Parts of the ended period, counted from its start, that every track reached; what lies beyond is cut.
        next_msn: Media sequence number of the next segment.
    """

    channel: str
    life: str
    kind: MarkKind
    period: int
    ended_period: int | None = None
    parts_reached: int = 0
    next_msn: Msn = Msn(0)

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")


# ---------------------------------------------------------------- channels, gops


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """
    One elementary stream of a period.

    Attributes:
        track: Track id, unique in its channel.
        kind: Video or audio; text stands as audio, which older readers know, and is told by its codec.
        codec: RFC 6381 codec string, as in ``avc1.4d401e``.
        timescale: Ticks per second.
        frame_ticks: Ticks of one frame (audio: of one coded frame).
        start_ticks: First tick of the period.
        bandwidth_bps: Declared peak bit rate.
        init: Bytes of the init segment.
        width: Pixels; 0 for audio.
        height: Pixels; 0 for audio.
        sample_rate_hz: Audio sampling rate; 0 for video.
        audio_channels: Number of audio channels; 0 for video.
        language: BCP 47 tag, or ``und``.
        closed_captions: Whether the pictures carry CEA-608 or CEA-708 captions; absent when nobody looked.
    """

    track: str
    kind: TrackKind
    codec: str
    timescale: Timescale
    frame_ticks: Ticks
    start_ticks: Ticks
    bandwidth_bps: int
    init: bytes
    width: int = 0
    height: int = 0
    sample_rate_hz: int = 0
    audio_channels: int = 0
    language: str = "und"
    closed_captions: bool | None = None

    def __post_init__(self) -> None:
        check_id(self.track, what="track")
        _require(self.timescale > 0 and self.frame_ticks > 0, f"track {self.track}: timescale and frame must be positive")

    @property
    def is_text(self) -> bool:
        """Whether it carries WebVTT cues (ISO/IEC 14496-30)."""
        return self.codec == TEXT_CODEC


@dataclass(frozen=True, kw_only=True, slots=True)
class PartFrames:
    """
    How one part of a GOP is cut into chunks.

    Attributes:
        chunk_frames: Frames of each chunk, in order.
    """

    chunk_frames: tuple[int, ...]

    def __post_init__(self) -> None:
        _require(bool(self.chunk_frames) and min(self.chunk_frames) > 0, "grid: a part has chunks, a chunk has frames")


@dataclass(frozen=True, kw_only=True, slots=True)
class Thumbnails:
    """
    A picture of each segment of a period, derived from the first picture of the segment in a video track: one JPEG each.

    Attributes:
        track: Id that names its objects and its reports; no track of the period has it.
        source: Video track that the pictures are taken from; pictures and segments start at its ticks.
        width: Pixels.
        height: Pixels.
        quality: Quantiser of the JPEG, from 2 (fine) to 31 (coarse); fixed here, since a name determines the bytes.
    """

    track: str
    source: str
    width: int
    height: int
    quality: int = 5

    def __post_init__(self) -> None:
        check_id(self.track, what="track")
        check_id(self.source, what="track")
        _require(self.width > 0 and self.height > 0, f"thumbnails {self.track}: {self.width}x{self.height} is no picture")
        _require(2 <= self.quality <= 31, f"thumbnails {self.track}: quality {self.quality} is not from 2 to 31")


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """
    Immutable configuration of one period of a channel (key ``channel/period``).

    Attributes:
        channel: Channel id.
        period: Number of the period, from 0.
        life: Run of the writer that opened it.
        pool: Pool (partition of the control topics) that the channel belongs to for ever.
        media_partition: Partition of ``media`` that carries the channel for ever.
        tracks: Tracks; never changes within a period.
        frame_rate_num: Frames per second of the grid, numerator.
        frame_rate_den: Frames per second of the grid, denominator.
        grid: Parts of one GOP and the chunks of each, in frames of the grid.
        anchor_unix_ms: Broker time at the period's first tick.
        zero_unix_ms: Broker time at tick 0 of the channel: the anchor of its first period.
        first_msn: Media sequence number of its first segment.
        discontinuity: HLS discontinuity sequence number.
        target_duration_ms: Longest segment, fixed for the channel's life.
        part_target_ms: Longest part of any track, fixed for the channel's life; 0 when there are none.
        publish_allowance_ms: Time a part may take from durable to fetchable; moves DASH availability.
        idle_level: What is packaged while nobody watches.
        time_shift_ms: How far back a viewer may go.
        first_offset: Offset in ``media`` at which the period starts.
        thumbnails: Pictures to be derived from a track; absent if none are wanted.
        encoder_ticks: Time of the period's first tick on the encoder's own clock, in ticks of the first track, if another encoder of the
            same source has the same clock, so that it may go on with the period; else absent.
    """

    channel: str
    period: int
    life: str
    pool: int
    media_partition: int
    tracks: tuple[Track, ...]
    frame_rate_num: int
    frame_rate_den: int
    grid: tuple[PartFrames, ...]
    anchor_unix_ms: UnixMs
    zero_unix_ms: UnixMs
    first_msn: Msn
    discontinuity: int
    target_duration_ms: Ms
    part_target_ms: Ms
    publish_allowance_ms: Ms
    idle_level: Level
    time_shift_ms: Ms
    first_offset: int
    thumbnails: Thumbnails | None = None
    encoder_ticks: int | None = None

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")
        _require(bool(self.tracks), f"channel {self.channel}: a period has tracks")
        _require(len({t.track for t in self.tracks}) == len(self.tracks), f"channel {self.channel}: a track id is used twice")
        _require(bool(self.grid), f"channel {self.channel}: the grid has no parts")
        _require(self.frame_rate_num > 0 and self.frame_rate_den > 0, f"channel {self.channel}: the frame rate must be positive")
        _require(self.target_duration_ms >= 1_000, f"channel {self.channel}: the target duration is at least 1 s")
        if self.thumbnails is not None:
            kinds = {t.track: t.kind for t in self.tracks}
            _require(self.thumbnails.track not in kinds, f"channel {self.channel}: a track id is used twice")
            _require(kinds.get(self.thumbnails.source) is TrackKind.VIDEO, f"channel {self.channel}: thumbnails need a video track")


@dataclass(frozen=True, kw_only=True, slots=True)
class PeriodEnd:
    """
    The end of a period (key ``channel/period/end``).

    Attributes:
        channel: Channel id.
        period: The period that ended.
        parts_reached: Its parts, from its start, that every track reached.
        next_msn: Media sequence number that follows its last segment with content.
        channel_ended: Whether the channel ended with it.
    """

    channel: str
    period: int
    parts_reached: int
    next_msn: Msn
    channel_ended: bool

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")


@dataclass(frozen=True, kw_only=True, slots=True)
class GopTrack:
    """
    One track of a GOP.

    Attributes:
        track: Track id.
        start_ticks: First tick.
        duration_ticks: Sum of its chunks' durations.
        size: Payload bytes.
        chunk_count: Chunks.
    """

    track: str
    start_ticks: Ticks
    duration_ticks: Ticks
    size: int
    chunk_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Gop:
    """
    Index entry of one GOP, written once all its chunks are durable.

    Attributes:
        channel: Channel id.
        period: Period.
        life: Run of the writer.
        gop: GOP ordinal.
        msn: Stamp: media sequence number of its segment.
        first_gop: Stamp: first GOP of the segment.
        gop_count: Stamp: GOPs of the segment.
        tracks: Ticks, bytes and chunks of each track.
        first_offset: Offset in ``media`` of its first chunk.
        last_offset: Offset in ``media`` of its last chunk.
        durable_unix_ms: Broker time of its last chunk.
    """

    channel: str
    period: int
    life: str
    gop: GopOrdinal
    msn: Msn
    first_gop: GopOrdinal
    gop_count: int
    tracks: tuple[GopTrack, ...]
    first_offset: int
    last_offset: int
    durable_unix_ms: UnixMs

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")


# ---------------------------------------------------------------- demand, forecasts


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelDemand:
    """
    What one origin saw of one channel in one second.

    Attributes:
        channel: Channel id.
        whole_sessions: Sessions that fetch whole segments.
        part_sessions: Sessions that fetch parts (LL-HLS).
        chunked_sessions: Sessions that read open segments (LL-DASH).
        joins: Sessions that began.
        seeks: Seeks.
        switches: Rendition switches.
        stalls: Stalls that began.
        requests: HTTP requests for media and manifests.
        sent_bytes: Media bytes sent.
        buffer_ms_p10: 10 % quantile of client buffers; -1 when unknown.
        throughput_kbps_p50: Median client throughput; -1 when unknown.
        first_request: Whether somebody asked for it while it was off.
        low_latency_requests: First requests for parts: for a low-latency playlist or MPD, held because no parts are packaged.
        whole_requests: Those of its requests that sessions of whole segments made.
    """

    channel: str
    whole_sessions: int = 0
    part_sessions: int = 0
    chunked_sessions: int = 0
    joins: int = 0
    seeks: int = 0
    switches: int = 0
    stalls: int = 0
    requests: int = 0
    sent_bytes: int = 0
    buffer_ms_p10: int = -1
    throughput_kbps_p50: int = -1
    first_request: bool = False
    low_latency_requests: int = 0
    whole_requests: int = 0

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")
        counts = ("whole_sessions", "part_sessions", "chunked_sessions", "joins", "seeks", "switches", "stalls", "requests")
        for name in (*counts, "low_latency_requests", "whole_requests"):
            count = getattr(self, name)
            _require(0 <= count <= COUNT_MAX, f"demand of {self.channel}: {name} {count} is not from 0 to {COUNT_MAX}")
        _require(0 <= self.sent_bytes <= BYTES_MAX, f"demand of {self.channel}: sent_bytes {self.sent_bytes} is not from 0 to {BYTES_MAX}")
        for name in ("buffer_ms_p10", "throughput_kbps_p50"):
            _require(getattr(self, name) >= -1, f"demand of {self.channel}: {name} {getattr(self, name)} is below -1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """
    One second of demand at one origin.

    Attributes:
        origin_id: Origin.
        at_unix_ms: End of the second.
        channels: Channels with sessions or requests; one absent has none.
        cores_used: CPU cores the origin used in that second.
    """

    origin_id: str
    at_unix_ms: UnixMs
    channels: tuple[ChannelDemand, ...]
    cores_used: float = 0.0

    def __post_init__(self) -> None:
        check_id(self.origin_id, what="origin")
        _require(0.0 <= self.cores_used < float("inf"), f"demand of origin {self.origin_id}: it used {self.cores_used} cores")


@dataclass(frozen=True, kw_only=True, slots=True)
class HorizonForecast:
    """
    Forecast for one horizon; quantiles are finite, >= 0 and never cross.

    Attributes:
        horizon_ms: How far ahead.
        sessions_p50: Median of sessions.
        sessions_p90: Upper quantile of sessions.
        joins_p50: Median of joins per second.
        joins_p90: Upper quantile of joins per second.
    """

    horizon_ms: Ms
    sessions_p50: float
    sessions_p90: float
    joins_p50: float
    joins_p90: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelForecast:
    """
    What the models say of one channel.

    Attributes:
        channel: Channel id.
        horizons: One per horizon, shortest first.
        mae: Mean absolute error so far of the mix, at the shortest horizon, in sessions.
        mae_last_value: The same for the last value.
        model: Name of the expert with the largest weight.
    """

    channel: str
    horizons: tuple[HorizonForecast, ...]
    mae: float
    mae_last_value: float
    model: str

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """
    Core-seconds that packaging takes, as learned from reports.

    Attributes:
        per_segment: Per segment and track.
        per_part: Per part and track.
        per_chunk: Per chunk.
        per_byte: Per payload byte.
        per_request: Per request at an origin.
        per_thumbnail: Per thumbnail of a segment.
        report_count: Segments that the first four were learned from; 0: they are the prior.
        error: Mean relative error so far of what they said of a segment before it was learned.
        prior_error: The same of the prior, which is given out while it is closer.
        request_error: Mean relative error so far of an origin's CPU time per second as foretold from its requests.
    """

    per_segment: float = 0.001
    per_part: float = 0.0005
    per_chunk: float = 0.0002
    per_byte: float = 1e-9
    per_request: float = 0.0005
    per_thumbnail: float = 0.006
    report_count: int = 0
    error: float = 0.0
    prior_error: float = 0.0
    request_error: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecasts:
    """
    What the models say of a pool.

    Attributes:
        pool: Pool.
        at_unix_ms: Broker time of the newest record learned.
        channels: Forecast of each channel.
        cost: Learned packaging cost; absent before there is evidence.
        cause: Record that this follows from, ``topic/partition/offset``.
    """

    pool: int
    at_unix_ms: UnixMs
    channels: tuple[ChannelForecast, ...]
    cost: Cost | None = None
    cause: str = ""


# ---------------------------------------------------------------- heartbeats


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """
    Capacity or use of a packager as a vector of rates.

    Attributes:
        cores: CPU cores.
        memory_bytes: Bytes of memory.
        in_bytes_per_s: Bytes read from the log per second.
        out_bytes_per_s: Bytes written to the store per second.
        part_ms: Milliseconds of part work falling due at one instant.
    """

    cores: float = 0.0
    memory_bytes: int = 0
    in_bytes_per_s: int = 0
    out_bytes_per_s: int = 0
    part_ms: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceProgress:
    """
    How far a packager is with a slice.

    Attributes:
        slice_id: Slice.
        copy: Which copy it holds.
        epoch: Epoch of the assignment it obeys.
        next_msn: Media sequence number it works on.
    """

    slice_id: str
    copy: int
    epoch: Epoch
    next_msn: Msn


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """
    A packager says that it lives, what it can carry and what it does.

    Attributes:
        packager_id: Name.
        life: Random id of this run; a new life of a name ends the old one.
        state: Ready, draining or gone.
        number: Heartbeat number of this life, from 0.
        interval_ms: Time until the next heartbeat.
        capacity: What it can carry.
        use: What it uses now.
        slices: Slices in hand.
    """

    packager_id: str
    life: str
    state: PackagerState
    number: int
    interval_ms: Ms
    capacity: Load
    use: Load
    slices: tuple[SliceProgress, ...] = ()

    def __post_init__(self) -> None:
        check_id(self.packager_id, what="packager")


# ---------------------------------------------------------------- parts, reports


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """
    One part that can be fetched.

    Attributes:
        channel: Channel id.
        period: Period.
        track: Track.
        msn: Media sequence number of its segment.
        index: Number within the segment, from 0.
        segment_start_ticks: First tick of the segment.
        segment_ticks: Duration of the segment as stamped when it opened.
        start_ticks: First tick.
        duration_ticks: Duration.
        independent: Whether it holds a sync sample.
        size: Bytes.
        digest: XXH3-128 of its bytes.
        durable_unix_ms: Broker time of its last chunk.
    """

    channel: str
    period: int
    track: str
    msn: Msn
    index: int
    segment_start_ticks: Ticks
    segment_ticks: Ticks
    start_ticks: Ticks
    duration_ticks: Ticks
    independent: bool
    size: int
    digest: bytes
    durable_unix_ms: UnixMs

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")
        check_id(self.track, what="track")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """
    Parts that one packager published, read by origins only.

    Attributes:
        packager_id: Packager.
        life: Its run.
        parts: Parts, in the order they became fetchable.
    """

    packager_id: str
    life: str
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        check_id(self.packager_id, what="packager")


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentReport:
    """
    What became of one segment of one track.

    Attributes:
        channel: Channel id.
        period: Period.
        track: Track.
        msn: Media sequence number.
        slice_id: Slice it was made for.
        epoch: Epoch of the assignment.
        outcome: Published or failed.
        fault: Whose fault a failure is.
        error: One sentence about a failure.
        start_ticks: First tick.
        duration_ticks: Real duration.
        part_count: Parts.
        chunk_count: Chunks.
        size: Bytes.
        digest: XXH3-128 of its bytes.
        durable_unix_ms: Broker time of its last chunk.
        cpu_us: CPU time spent on it.
        publish_us: Wall time of publishing it.
    """

    channel: str
    period: int
    track: str
    msn: Msn
    slice_id: str
    epoch: Epoch
    outcome: Outcome
    start_ticks: Ticks
    duration_ticks: Ticks
    part_count: int
    chunk_count: int
    size: int
    digest: bytes
    durable_unix_ms: UnixMs
    cpu_us: int = 0
    publish_us: int = 0
    fault: Fault | None = None
    error: str = ""

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")
        check_id(self.track, what="track")
        what = f"report of {self.channel}/{self.track}/{self.msn}"
        _require(min(self.part_count, self.chunk_count, self.size) >= 0, f"{what}: a negative count")
        _require(0 <= self.cpu_us <= CPU_US_MAX, f"{what}: it took {self.cpu_us} us")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reports:
    """
    Segments of one packager, sent at once.

    Attributes:
        packager_id: Packager.
        life: Its run.
        segments: One entry per segment and track.
    """

    packager_id: str
    life: str
    segments: tuple[SegmentReport, ...]

    def __post_init__(self) -> None:
        check_id(self.packager_id, what="packager")


@dataclass(frozen=True, kw_only=True, slots=True)
class Packaging:
    """
    The planner starts or stops the packaging of a channel; in ``reports``.

    Attributes:
        channel: Channel id.
        action: Start or stop.
        from_msn: First media sequence number that is, or is no longer, packaged.
        level: Level that starts.
        decision: Number of the decision.
        reason: Why.
        cause: Record that led to it, ``topic/partition/offset``; empty for a restatement.
        since_unix_ms: When it was decided: nothing of a channel that starts is late before; 0 when that was not recorded.
        parts_from_msn: First segment with parts, where the level rose to parts after the start; 0: from the start.
        parts_until_msn: First segment that may be without parts, where the level fell after the start; 0: from the start.
    """

    channel: str
    action: Action
    from_msn: Msn
    level: Level
    decision: int
    reason: Reason
    cause: str = ""
    since_unix_ms: UnixMs = UnixMs(0)
    parts_from_msn: Msn = Msn(0)
    parts_until_msn: Msn = Msn(0)

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")


@dataclass(frozen=True, kw_only=True, slots=True)
class Void:
    """
    The planner declares a segment lost, for ever; in ``reports``.

    Attributes:
        channel: Channel id.
        period: Period.
        track: Track.
        msn: Media sequence number.
        start_ticks: First tick.
        duration_ticks: Duration as stamped.
        decision: Number of the decision.
        reason: Why.
        media_partition: Partition of ``media`` that has its chunks, where three packagers failed at it: it goes to ``rejects``; else -1.
        first_offset: Offset in it at which the segment begins; -1: not known.
        until_offset: Offset at which the next segment begins; -1: not known.
    """

    channel: str
    period: int
    track: str
    msn: Msn
    start_ticks: Ticks
    duration_ticks: Ticks
    decision: int
    reason: Reason
    media_partition: int = -1
    first_offset: int = -1
    until_offset: int = -1

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")
        check_id(self.track, what="track")


# ---------------------------------------------------------------- decisions and their projections


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """
    Granularity of a channel in force.

    Attributes:
        channel: Channel id.
        level: What is packaged.
        gops_per_segment: Segment length that the next segment opens with.
        groups: Track groups its work is dealt into.
        turns: Holders that take segments in turn.
        copies: Packagers that make the same.
        since_unix_ms: Since when level and length hold.
        decision: Number of the decision that set it.
        reason: Why.
        level_since_unix_ms: Since when the level holds.
        dealt_since_unix_ms: Since when groups, turns and copies hold.
    """

    channel: str
    level: Level
    gops_per_segment: int
    groups: int = 1
    turns: int = 1
    copies: int = 1
    since_unix_ms: UnixMs = UnixMs(0)
    decision: int = 0
    reason: Reason = Reason.NEW_CHANNEL
    level_since_unix_ms: UnixMs = UnixMs(0)
    dealt_since_unix_ms: UnixMs = UnixMs(0)

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")
        _require(min(self.gops_per_segment, self.groups, self.turns, self.copies) >= 1, f"plan of {self.channel}: counts start at 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """
    A slice given to a packager (key ``slice/copy``).

    Attributes:
        slice_id: Slice, ``channel/group/turn``.
        copy: Which of its copies, from 0.
        epoch: Number of this assignment of the slice, only rising.
        packager_id: Holder.
        life: Run of the holder it was given to.
        channel: Channel id.
        tracks: Tracks of the slice.
        turn: It takes the segments whose number modulo ``turns`` is this.
        turns: Number of holders that take turns.
        level: What to make.
        from_msn: First segment.
        until_msn: First segment no longer wanted; absent while open-ended.
        media_partition: Partition of ``media`` to read.
        first_offset: Offset in it at which ``from_msn`` can be read from.
        after: Slice whose work must come first.
        decision: Number of the decision.
        reason: Why.
        cause: Record that led to it, ``topic/partition/offset``.
        cause_unix_ms: Broker time of that record; 0 when the absence of records led to it.
        since_unix_ms: When it was given to this holder; 0 when that was not recorded.
        hedges: Packager that is late with the slice: this copy makes up for it, until that one has caught up; empty: it is no such copy.
    """

    slice_id: str
    copy: int
    epoch: Epoch
    packager_id: str
    life: str
    channel: str
    tracks: tuple[str, ...]
    turn: int
    turns: int
    level: Level
    from_msn: Msn
    media_partition: int
    first_offset: int
    decision: int
    reason: Reason
    until_msn: Msn | None = None
    after: str | None = None
    cause: str = ""
    cause_unix_ms: UnixMs = UnixMs(0)
    since_unix_ms: UnixMs = UnixMs(0)
    hedges: str = ""

    def __post_init__(self) -> None:
        check_id(self.channel, what="channel")
        check_id(self.packager_id, what="packager")
        _require(0 <= self.turn < self.turns, f"assignment of {self.slice_id}: turn {self.turn} of {self.turns}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLife:
    """
    A run of a packager that is declared dead, for ever.

    Attributes:
        packager_id: Name.
        life: Run.
        at_unix_ms: When.
        reason: Why.
    """

    packager_id: str
    life: str
    at_unix_ms: UnixMs
    reason: Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued:
    """
    A slice that no packager can carry now.

    Attributes:
        slice_id: Slice.
        copy: Which copy.
        since_unix_ms: Since when it waits.
        viewers_at_stake: Sessions of its channel.
        full_count: Packagers without the capacity.
        unavailable_count: Packagers draining, dead, or holding another copy of it.
    """

    slice_id: str
    copy: int
    since_unix_ms: UnixMs
    viewers_at_stake: int
    full_count: int
    unavailable_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """
    Packagers wanted.

    Attributes:
        pool: Pool.
        wanted: Packagers to run now.
        at_horizon: Packagers needed at the start-up horizon, before stabilisation.
        alive: Packagers alive.
        since_unix_ms: Since when ``wanted`` holds.
        decision: Number of the decision.
        reason: Why.
        low_since_unix_ms: Since when fewer would do; 0: they would not. While set, ``at_horizon`` is the most that was needed since.
        price: Price of the pool's capacity, >= 1: what one core-second more counts when segment lengths are chosen.
        unfit_slices: Slices that wait and that no packager of the pool's size could carry, even alone: more of them would not help.
    """

    pool: int
    wanted: int
    at_horizon: int
    alive: int
    since_unix_ms: UnixMs
    decision: int
    reason: Reason
    low_since_unix_ms: UnixMs = UnixMs(0)
    price: float = 1.0
    unfit_slices: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class InputOffset:
    """
    How far a decision had folded an input topic.

    Attributes:
        topic: Topic name.
        next_offset: Offset after the last record folded.
    """

    topic: str
    next_offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """
    One decision of a pool's planner: what changed, or everything when ``whole``.

    Attributes:
        pool: Pool.
        number: Number, contiguous.
        at_unix_ms: The time it was made for, by the broker's clock.
        whole: Whether it restates everything in force instead of what changed.
        inputs: How far each input topic was folded.
        policy: Every setting it reads, as JSON with sorted keys.
        code_version: Version of the code that decided.
        plans: Granularities set.
        ended_channels: Channels that left.
        assignments: Assignments set.
        ended_slices: Keys ``slice/copy`` of assignments that ended.
        packaging: Starts and stops; when whole, those in force.
        voids: Segments declared lost.
        dead: Lives declared dead.
        queued: Slices that wait for capacity; always all of them.
        scaling: Packagers wanted; absent if unchanged.
        cause: Newest record that urged it, ``topic/partition/offset``.
        lands_at: Offset it was to land at; found elsewhere it does not count, since another planner came between.
    """

    pool: int
    number: int
    at_unix_ms: UnixMs
    whole: bool
    inputs: tuple[InputOffset, ...]
    policy: str
    code_version: str
    plans: tuple[Plan, ...] = ()
    ended_channels: tuple[str, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    ended_slices: tuple[str, ...] = ()
    packaging: tuple[Packaging, ...] = ()
    voids: tuple[Void, ...] = ()
    dead: tuple[DeadLife, ...] = ()
    queued: tuple[Queued, ...] = ()
    scaling: Scaling | None = None
    cause: str = ""
    lands_at: int = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Reject:
    """
    What could not be read or broke a rule; nothing is dropped silently.

    Attributes:
        source_topic: Topic it came from.
        source_partition: Its partition.
        source_offset: Its offset.
        source_key: Its key.
        payload: Its original bytes; those above the limit of a record are cut and ``payload_size`` tells.
        payload_size: Size of the original.
        error: One sentence: what is wrong.
        rejected_by: Part that refused it.
    """

    source_topic: str
    source_partition: int
    source_offset: int
    source_key: bytes
    payload: bytes
    payload_size: int
    error: str
    rejected_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """
    One row of a control-plane table: the newest state of a key and the offset it includes.

    Attributes:
        offset: Offset of the newest record folded into it.
        at_unix_ms: Broker time of that record.
        record: That state, framed like any record.
    """

    offset: int
    at_unix_ms: UnixMs
    record: bytes = field(repr=False)
