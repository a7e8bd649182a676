"""Manifests as text: golden files, and what other people's parsers read in them."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise

import m3u8
import pytest
from mpegdash.parser import MPEGDASHParser

from packager.manifest import dash, hls
from packager.manifest.presentation import View
from packager.manifest.presentations import Presentations
from schemas.records import Level
from tests import facts

Golden = Callable[[str, str], None]


def steady() -> View:
    """Twelve segments of changing length and two parts of the next."""
    period = facts.period(time_shift_ms=60_000)
    return _view([period, facts.start(), *islice(facts.run(period, [4, 1, 2, 4, 4, 1, 1, 1, 2, 2, 4, 4, 2]), 74)])


def across() -> View:
    """A second period, with a void segment in it, at the end of the channel."""
    first, second = facts.period(), facts.period(number=1, start_ms=6_000, first_msn=2)
    lost = [facts.void(second, t, 3, 2, 2) for t in second.tracks]
    made = [*facts.run(second, [2]), *facts.run(second, [2, 4], first_gop=4, first_msn=4)]
    ends = [facts.period_end(first, gops=6, next_msn=2), facts.period_end(second, gops=10, next_msn=6, channel_ended=True)]
    return _view([first, facts.start(), *facts.run(first, [4, 2]), second, *lost, *made, *ends])


def _view(records: list[object]) -> View:
    presentations = Presentations()
    for record in records:
        presentations.apply(record)
    view = presentations.channels["c1"].view()
    assert view is not None
    return view


STORIES = {"steady": steady, "across": across}


@pytest.mark.parametrize("story", STORIES)
def test_every_manifest_is_as_reviewed(story: str, golden: Golden) -> None:
    view = STORIES[story]()
    golden(f"manifest/{story}.multivariant.m3u8", hls.multivariant(view))
    for track in ("v0", "a0"):
        golden(f"manifest/{story}.ll.{track}.m3u8", hls.media(view, track, low_latency=True))
        golden(f"manifest/{story}.hls.{track}.m3u8", hls.media(view, track, low_latency=False))
    golden(f"manifest/{story}.delta.v0.m3u8", hls.media(view, "v0", low_latency=True, skip=True))
    golden(f"manifest/{story}.mpd", dash.manifest(view, time_url="../../time"))
    golden(f"manifest/{story}.ll.mpd", dash.manifest(view, time_url="../../time", low_latency=True))
    golden(f"manifest/{story}.finished.mpd", dash.finished(view))


def test_another_parser_reads_the_same_multivariant() -> None:
    read = m3u8.loads(hls.multivariant(steady()))
    assert [(p.uri, p.stream_info.resolution, p.stream_info.bandwidth) for p in read.playlists] == [
        ("v0.m3u8", (640, 360), 1_120_000),
        ("v1.m3u8", (854, 480), 2_120_000),
    ]
    assert [m.uri for m in read.media] == ["a0.m3u8"]


def test_another_parser_reads_the_same_low_latency_playlist() -> None:
    view = steady()
    read = m3u8.loads(hls.media(view, "a0", low_latency=True))
    assert read.target_duration == 4
    assert read.media_sequence == view.segments[0].msn
    assert read.part_inf.part_target == pytest.approx(view.period.part_target_ms / 1_000)
    assert read.server_control.part_hold_back == pytest.approx(3 * view.period.part_target_ms / 1_000)
    assert read.preload_hint.uri == "../" + view.hints["a0"].removeprefix("c1/")
    assert len(read.rendition_reports) == 2
    for segment, listed in zip(read.segments, view.segments, strict=False):
        made = listed.tracks["a0"]
        assert segment.duration == pytest.approx(made.duration_ticks / 48_000, abs=1e-6)
        assert round(segment.duration) <= 4
        if segment.parts:
            # Media rule 11: parts concatenate to exactly the segment.
            assert sum(part.duration for part in segment.parts) == pytest.approx(segment.duration, abs=1e-5)


def test_parts_are_listed_near_the_edge_only() -> None:
    read = m3u8.loads(hls.media(steady(), "v0", low_latency=True))
    whole = [s for s in read.segments if s.duration]  # the parser makes a segment of the open one's parts
    with_parts = [s for s in whole if s.parts]
    assert 12 <= sum(s.duration for s in with_parts) <= 12 + 4
    assert not any(s.parts for s in whole[: -len(with_parts)])


def test_a_low_latency_playlist_never_ends_in_a_segment() -> None:
    period = facts.period()
    text = hls.media(_view([period, facts.start(), *facts.run(period, [2, 2])]), "v0", low_latency=True)
    last_uri = max(text.rfind(".m4s\n"), text.rfind(".part.m4s\n"))
    assert "#EXT-X-PRELOAD-HINT" in text[last_uri:]


def test_a_track_of_another_period_is_a_gap_as_long_as_its_peers() -> None:
    first = facts.period()
    second = facts.period(number=1, start_ms=4_000, first_msn=1)
    second = type(second)(**{f: getattr(second, f) for f in second.__dataclass_fields__} | {"tracks": second.tracks[:1]})
    view = _view([first, facts.start(level=Level.SEGMENTS), *facts.run(first, [4]), second, *facts.run(second, [2])])
    read = m3u8.loads(hls.media(view, "a0", low_latency=False))
    assert [(round(s.duration), s.gap_tag is not None) for s in read.segments] == [(4, False), (2, True)]


def test_another_parser_reads_the_same_mpd() -> None:
    view = steady()
    mpd = MPEGDASHParser.parse(dash.manifest(view, time_url="../../time"))
    (period,) = mpd.periods
    video, audio = period.adaptation_sets
    assert [r.id for r in video.representations] == ["v0", "v1"]
    timeline = [(s.t, s.d) for s in video.segment_templates[0].segment_timelines[0].Ss]
    assert timeline == [(s.tracks["v0"].start_ticks, s.tracks["v0"].duration_ticks) for s in view.segments]
    assert all(t + d == following for (t, d), (following, _) in pairwise(timeline))
    assert [(s.t, s.d) for s in audio.segment_templates[0].segment_timelines[0].Ss][-1][0] == view.segments[-1].tracks["a0"].start_ticks


def test_after_a_hole_a_new_dash_period_begins() -> None:
    mpd = MPEGDASHParser.parse(dash.manifest(across(), time_url="../../time"))
    assert [p.id for p in mpd.periods] == ["0", "1", "1-4"]
    assert [p.start for p in mpd.periods] == ["PT0S", "PT6S", "PT10S"]
    assert mpd.minimum_update_period is None
    assert mpd.media_presentation_duration == "PT16S"


def test_the_same_media_time_has_the_same_date_in_all_renditions() -> None:
    view = steady()
    dates = [[s.program_date_time for s in m3u8.loads(hls.media(view, t, low_latency=False)).segments] for t in ("v0", "a0")]
    assert all(abs((v - a).total_seconds()) < 0.022 for v, a in zip(*dates, strict=True))


@pytest.mark.parametrize(("known", "is_said"), [(False, True), (True, False), (None, False)])
def test_pictures_without_captions_are_said_to_have_none_and_only_they(known: bool | None, is_said: bool) -> None:
    period = facts.period()
    tracks = tuple(replace(track, closed_captions=known if track.width else None) for track in period.tracks)
    view = _view([replace(period, tracks=tracks), facts.start(), *facts.run(period, [4])])
    lines = [line for line in hls.multivariant(view).splitlines() if line.startswith("#EXT-X-STREAM-INF")]
    assert lines
    assert all(("CLOSED-CAPTIONS=NONE" in line) == is_said for line in lines)


def test_a_delta_update_keeps_at_least_six_targets_of_media_however_long_the_encoder_was_away() -> None:
    first = facts.period(time_shift_ms=120_000)
    second = facts.period(number=1, start_ms=60_000, first_msn=8, time_shift_ms=120_000)
    made = [*facts.run(first, [4] * 8), *facts.run(second, [4] * 3, first_msn=8)]
    view = _view(
        [
            first,
            facts.start(),
            *made[: len(made) // 11 * 8],
            facts.period_end(first, gops=32, next_msn=8),
            second,
            *made[len(made) // 11 * 8 :],
        ]
    )
    text = hls.media(view, "v0", low_latency=True, skip=True)
    assert text.count("#EXTINF") * 4 == 28


def test_a_delta_update_skips_no_discontinuity() -> None:
    first = facts.period(time_shift_ms=120_000)
    second = facts.period(number=1, start_ms=12_000, first_msn=3, time_shift_ms=120_000)
    begun = [first, facts.start(), *facts.run(first, [4] * 3), facts.period_end(first, gops=12, next_msn=3), second]
    text = hls.media(_view([*begun, *facts.run(second, [4] * 12, first_msn=3)]), "v0", low_latency=True, skip=True)
    assert "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXT-X-DISCONTINUITY\n" in text
    assert text.count("#EXTINF") == 12
