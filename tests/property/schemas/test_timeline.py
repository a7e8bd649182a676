"""The grid: contiguous, aligned, whole frames, in every track, whatever the frame rates."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from schemas import timeline
from schemas.records import Level, Period, Track, TrackKind
from schemas.units import Ms, Msn, Ticks, Timescale, UnixMs

RATES = st.sampled_from([(24, 1), (24_000, 1_001), (25, 1), (30_000, 1_001), (30, 1), (50, 1), (60, 1)])


@st.composite
def periods(draw: st.DrawFn) -> Period:
    num, den = draw(RATES)
    seconds = draw(st.integers(1, 4))
    gop_frames = round(seconds * num / den)
    sample_rate = draw(st.sampled_from([44_100, 48_000]))
    start_ms = draw(st.integers(0, 10**9))
    video_scale = Timescale(num * 1_000 if num < 1_000 else num)
    video = Track(
        track="v0",
        kind=TrackKind.VIDEO,
        codec="avc1.4d401e",
        timescale=video_scale,
        frame_ticks=Ticks(video_scale * den // num),
        start_ticks=Ticks(start_ms * video_scale // 1_000),
        bandwidth_bps=1,
        init=b"",
    )
    audio = replace(
        video,
        track="a0",
        kind=TrackKind.AUDIO,
        timescale=Timescale(sample_rate),
        frame_ticks=Ticks(1_024),
        start_ticks=Ticks(start_ms * sample_rate // 1_000),
    )
    grid = timeline.make_grid(gop_frames, part_frames=max(1, round(num / den / 2)), chunks_per_part=draw(st.integers(1, 3)))
    return Period(
        channel="news",
        period=0,
        life="l",
        pool=0,
        media_partition=0,
        tracks=(video, audio),
        frame_rate_num=num,
        frame_rate_den=den,
        grid=grid,
        anchor_unix_ms=UnixMs(start_ms),
        zero_unix_ms=UnixMs(0),
        first_msn=Msn(0),
        discontinuity=0,
        target_duration_ms=Ms(4_000),
        part_target_ms=Ms(500),
        publish_allowance_ms=Ms(100),
        idle_level=Level.OFF,
        time_shift_ms=Ms(60_000),
        first_offset=0,
    )


@given(periods(), st.integers(0, 100_000))
def test_a_cut_is_the_first_frame_that_starts_at_or_after_the_instant(period: Period, frames: int) -> None:
    instant = Fraction(frames * period.frame_rate_den, period.frame_rate_num)
    for track in period.tracks:
        ticks = timeline.boundary(period, track, frames) - track.start_ticks
        assert ticks % track.frame_ticks == 0
        assert 0 <= Fraction(ticks, track.timescale) - instant < Fraction(track.frame_ticks, track.timescale)


@given(periods(), st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4))
def test_segments_follow_each_other_without_a_gap(period: Period, gop: int, first: int, second: int) -> None:
    for track in period.tracks:
        start, duration = timeline.segment_span(period, track, gop, first)
        after, _ = timeline.segment_span(period, track, gop + first, second)
        assert start + duration == after


@given(periods(), st.integers(0, 2_000))
def test_parts_fill_the_gop_and_none_exceeds_the_part_target(period: Period, gop: int) -> None:
    parts = len(period.grid)
    limit = timeline.part_target(
        period.grid, frame_rate_num=period.frame_rate_num, frame_rate_den=period.frame_rate_den, tracks=period.tracks
    )
    for track in period.tracks:
        cuts = [timeline.part_start(period, track, gop * parts + i) for i in range(parts + 1)]
        assert cuts[0] == timeline.gop_start(period, track, gop)
        assert cuts[-1] == timeline.gop_start(period, track, gop + 1)
        assert all(0 < after - before <= limit * track.timescale / 1_000 for before, after in pairwise(cuts))


@given(st.integers(1, 300), st.integers(1, 100), st.integers(1, 6))
def test_a_grid_cuts_the_whole_gop_with_the_shorter_parts_first(gop_frames: int, part_frames: int, chunks: int) -> None:
    grid = timeline.make_grid(gop_frames, part_frames=part_frames, chunks_per_part=chunks)
    lengths = [sum(part.chunk_frames) for part in grid]
    assert sum(lengths) == gop_frames
    assert lengths == sorted(lengths)
    ends = [cell.end_frames for cell in timeline.cells(grid)]
    assert ends[-1] == gop_frames
    assert ends == sorted(set(ends))


@given(periods(), st.integers(0, 10**9))
def test_wall_time_of_a_tick_is_the_anchor_plus_media_time(period: Period, frames: int) -> None:
    for track in period.tracks:
        ticks = track.start_ticks + frames * track.frame_ticks
        exact = period.anchor_unix_ms + Fraction(frames * track.frame_ticks * 1_000, track.timescale)
        assert abs(timeline.unix_ms_at(period, track, ticks) - exact) <= Fraction(1, 2)
