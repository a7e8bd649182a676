"""What packagers and planner say of a channel, made from the grid: periods, parts, reports, for tests of manifests and origin."""

from collections.abc import Iterable, Iterator

from schemas.records import (
    Action,
    Level,
    Outcome,
    Packaging,
    Part,
    Parts,
    Period,
    PeriodEnd,
    Reason,
    Reports,
    SegmentReport,
    Track,
    TrackKind,
    Void,
)
from schemas.timeline import gop_start, make_grid, part_start, part_target, segment_span
from schemas.units import Epoch, Ms, Msn, Ticks, Timescale, UnixMs, ticks_from_ms

ZERO = UnixMs(1_700_000_000_000)
GRID = make_grid(25, part_frames=13, chunks_per_part=2)


def tracks(start_ms: int = 0) -> tuple[Track, ...]:
    """Two video renditions at 25 fps and one of 48 kHz AAC."""
    video, audio = Timescale(12_800), Timescale(48_000)
    return (
        Track(
            track="v0", kind=TrackKind.VIDEO, codec="avc1.64001e", timescale=video, frame_ticks=Ticks(512), init=b"init-v0",
            start_ticks=ticks_from_ms(start_ms, video), bandwidth_bps=1_000_000, width=640, height=360,
        ),
        Track(
            track="v1", kind=TrackKind.VIDEO, codec="avc1.64001f", timescale=video, frame_ticks=Ticks(512), init=b"init-v1",
            start_ticks=ticks_from_ms(start_ms, video), bandwidth_bps=2_000_000, width=854, height=480,
        ),
        Track(
            track="a0", kind=TrackKind.AUDIO, codec="mp4a.40.2", timescale=audio, frame_ticks=Ticks(1_024), init=b"init-a0",
            start_ticks=ticks_from_ms(start_ms, audio), bandwidth_bps=120_000, sample_rate_hz=48_000, audio_channels=2,
        ),
    )  # fmt: skip


def period(channel: str = "c1", number: int = 0, *, start_ms: int = 0, first_msn: int = 0, time_shift_ms: int = 24_000) -> Period:
    """A period of 1 s GOPs in parts of 12 and 13 frames, target 4 s."""
    made = tracks(start_ms)
    target = part_target(GRID, frame_rate_num=25, frame_rate_den=1, tracks=made)
    return Period(
        channel=channel, period=number, life="w", pool=0, media_partition=0, tracks=made, frame_rate_num=25, frame_rate_den=1,
        grid=GRID, anchor_unix_ms=UnixMs(ZERO + start_ms), zero_unix_ms=ZERO, first_msn=Msn(first_msn), discontinuity=number,
        target_duration_ms=Ms(4_000), part_target_ms=target, publish_allowance_ms=Ms(100), idle_level=Level.OFF,
        time_shift_ms=Ms(time_shift_ms), first_offset=0,
    )  # fmt: skip


def period_end(of: Period, *, gops: int, next_msn: int, channel_ended: bool = False) -> PeriodEnd:
    """The end of a period after whole GOPs."""
    parts = gops * len(of.grid)
    return PeriodEnd(channel=of.channel, period=of.period, parts_reached=parts, next_msn=Msn(next_msn), channel_ended=channel_ended)


def start(channel: str = "c1", from_msn: int = 0, *, decision: int = 1, level: Level = Level.PARTS, cause: str = "t/0/0") -> Packaging:
    """The planner starts packaging."""
    return Packaging(
        channel=channel, action=Action.START, from_msn=Msn(from_msn), level=level, decision=decision,
        reason=Reason.FIRST_REQUEST, cause=cause,
    )  # fmt: skip


def stop(channel: str = "c1", from_msn: int = 0, *, decision: int = 2, reason: Reason = Reason.IDLE) -> Packaging:
    """The planner stops packaging."""
    return Packaging(
        channel=channel, action=Action.STOP, from_msn=Msn(from_msn), level=Level.OFF, decision=decision, reason=reason, cause="t/0/1"
    )


def part(of: Period, track: Track, msn: int, first_gop: int, gop_count: int, index: int) -> Part:
    """One part of a segment."""
    number = first_gop * len(of.grid) + index
    begin = part_start(of, track, number)
    segment_start, segment_ticks = segment_span(of, track, first_gop, gop_count)
    return Part(
        channel=of.channel, period=of.period, track=track.track, msn=Msn(msn), index=index, segment_start_ticks=segment_start,
        segment_ticks=segment_ticks, start_ticks=begin, duration_ticks=Ticks(part_start(of, track, number + 1) - begin),
        independent=index % len(of.grid) == 0 or track.kind is TrackKind.AUDIO, size=1_000, digest=b"d" * 16,
        durable_unix_ms=UnixMs(of.anchor_unix_ms + number * 500 + 600),
    )  # fmt: skip


def report(of: Period, track: Track, msn: int, first_gop: int, gop_count: int, outcome: Outcome = Outcome.PUBLISHED) -> SegmentReport:
    """What became of a segment of one track."""
    begin, span = segment_span(of, track, first_gop, gop_count)
    return SegmentReport(
        channel=of.channel, period=of.period, track=track.track, msn=Msn(msn), slice_id=f"{of.channel}/all/0", epoch=Epoch(1),
        outcome=outcome, start_ticks=begin, duration_ticks=span, part_count=gop_count * len(of.grid), chunk_count=4 * gop_count,
        size=100_000 * gop_count, digest=b"d" * 16, durable_unix_ms=UnixMs(ZERO + 1_000 * (first_gop + gop_count)),
    )  # fmt: skip


def void(of: Period, track: Track, msn: int, first_gop: int, gop_count: int, decision: int = 9) -> Void:
    """The planner declares a segment lost."""
    begin, span = segment_span(of, track, first_gop, gop_count)
    return Void(
        channel=of.channel, period=of.period, track=track.track, msn=Msn(msn), start_ticks=begin, duration_ticks=span,
        decision=decision, reason=Reason.LATE,
    )  # fmt: skip


def announce(of: Period, made: Iterable[Part]) -> Parts:
    """Parts as a packager sends them."""
    return Parts(packager_id="p1", life="l", parts=tuple(made))


def tell(of: Period, made: Iterable[SegmentReport]) -> Reports:
    """Reports as a packager sends them."""
    return Reports(packager_id="p1", life="l", segments=tuple(made))


def run(of: Period, lengths: Iterable[int], *, first_gop: int = 0, first_msn: int | None = None) -> Iterator[Parts | Reports]:
    """
    What a packager says while it makes segments of the given numbers of GOPs: per instant the parts of all tracks, then the reports.
    """
    msn, gop = of.first_msn if first_msn is None else first_msn, first_gop
    for length in lengths:
        for index in range(length * len(of.grid)):
            yield announce(of, (part(of, track, msn, gop, length, index) for track in of.tracks))
        yield tell(of, (report(of, track, msn, gop, length) for track in of.tracks))
        msn, gop = msn + 1, gop + length


def end_ticks(of: Period, track: Track, gops: int) -> Ticks:
    """Tick at which so many GOPs of a period end."""
    return gop_start(of, track, gops)
