"""Chunks of any frame rate and sampling rate meet the grid, without gap, and each as soon as its last sample is there."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Period, Track
from schemas.timeline import cells, frames_per_gop, gop_start, make_grid, part_start
from schemas.units import Ticks, Timescale
from streams.ingest.grid import Cut, TrackCutter
from streams.ingest.ladder import FRAME_RATES, gop_frames_of, timescale_of
from streams.ingest.samples import Sample
from tests.builders import make_period, make_track

AUDIO_RATES_HZ = (44_100, 48_000)


def make_line(rate: Fraction, audio_rate_hz: int, start: int) -> tuple[Period, Track, Track]:
    scale = Timescale(timescale_of(rate))
    video = replace(make_track("v0"), timescale=scale, frame_ticks=Ticks(int(scale / rate)), start_ticks=Ticks(start))
    audio = replace(make_track("a0"), timescale=Timescale(audio_rate_hz), start_ticks=Ticks(start * 2))
    grid = make_grid(gop_frames_of(rate), part_frames=max(1, round(rate / 2)), chunks_per_part=2)
    period = make_period(tracks=("v0",), frame_rate_num=rate.numerator, frame_rate_den=rate.denominator, grid=grid)
    return replace(period, tracks=(video, audio)), video, audio


def cut_gops(period: Period, track: Track, gops: int) -> list[Cut]:
    cutter, cuts = TrackCutter(period, track), []
    while cutter.next_ticks < gop_start(period, track, gops):
        cut = cutter.add(Sample(cutter.next_ticks, b"x", sync=True))
        if cut:
            cuts.append(cut)
    return cuts


@pytest.mark.parametrize("audio_rate_hz", AUDIO_RATES_HZ)
@pytest.mark.parametrize("rate", FRAME_RATES, ids=str)
def test_tracks_cut_at_the_same_instants_less_than_a_frame_apart(rate: Fraction, audio_rate_hz: int) -> None:
    period, video, audio = make_line(rate, audio_rate_hz, 0)
    pictures, sound = cut_gops(period, video, 20), cut_gops(period, audio, 20)
    assert [(c.gop, c.part, c.ends_part, c.ends_gop) for c in pictures] == [(c.gop, c.part, c.ends_part, c.ends_gop) for c in sound]
    frame = Fraction(audio.frame_ticks, audio.timescale)
    for picture, heard in zip(pictures, sound, strict=True):
        late = Fraction(heard.start_ticks, audio.timescale) - Fraction(picture.start_ticks, video.timescale)
        assert 0 <= late < frame


@pytest.mark.parametrize("rate", FRAME_RATES, ids=str)
def test_a_track_is_cut_where_the_timeline_says_without_gap(rate: Fraction) -> None:
    period, video, audio = make_line(rate, 48_000, 1_000_003)
    for track in (video, audio):
        cuts = cut_gops(period, track, 20)
        assert all(a.start_ticks + a.duration_ticks == b.start_ticks for a, b in pairwise(cuts))
        assert [c.index for c in cuts] == list(range(len(cuts)))
        ends = [(c.gop * len(period.grid) + c.part + 1, c.start_ticks + c.duration_ticks) for c in cuts if c.ends_part]
        assert ends == [(parts, part_start(period, track, parts)) for parts, _ in ends]


@given(st.sampled_from(FRAME_RATES), st.integers(1, 6), st.integers(1, 30))
def test_every_chunk_of_video_has_the_frames_of_its_cell(rate: Fraction, chunks_per_part: int, part_frames: int) -> None:
    period, video, _ = make_line(rate, 48_000, 0)
    period = replace(period, grid=make_grid(gop_frames_of(rate), part_frames=part_frames, chunks_per_part=chunks_per_part))
    cuts = cut_gops(period, video, 3)
    ends = [0, *(cell.end_frames for cell in cells(period.grid))]
    assert [len(c.samples) for c in cuts] == [b - a for a, b in pairwise(ends)] * 3
    assert sum(len(c.samples) for c in cuts) == 3 * frames_per_gop(period)


def test_a_chunk_is_out_with_its_last_sample() -> None:
    period = make_period()
    cutter = TrackCutter(period, period.tracks[0])
    outs = [cutter.add(Sample(Ticks(0), b"x", sync=False)) is not None for _ in range(25)]
    assert [i for i, out in enumerate(outs) if out] == [5, 11, 17, 24]
