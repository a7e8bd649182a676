"""Thumbnails beside the media, and levels that change under way."""

from dataclasses import replace
from itertools import pairwise

import m3u8
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.manifest import dash, hls, thumbnails
from packager.manifest.pictures import LATE_SEGMENTS
from packager.manifest.presentations import Presentations
from packager.manifest.view import View
from schemas.records import Level, Outcome, Packaging, Period, Reports, SegmentReport, Thumbnails
from schemas.timeline import picture_track
from schemas.units import Msn
from tests import facts

WANTED = Thumbnails(track="thumb0", source="v0", width=160, height=90)
PERIOD = replace(facts.period(time_shift_ms=60_000), thumbnails=WANTED)


def picture(msn: int, first_gop: int, length: int, *, of: Period = PERIOD, outcome: Outcome = Outcome.PUBLISHED) -> Reports:
    track = picture_track(of)
    assert track is not None
    return facts.tell(of, [replace(facts.report(of, track, msn, first_gop, length, outcome), size=5_000)])


def fold(*records: object) -> Presentations:
    presentations = Presentations()
    for record in records:
        presentations.apply(record)
    return presentations


def shown(presentations: Presentations) -> View:
    held = presentations.get("c1")
    view = held.view() if held else None
    assert view is not None
    return view


def listed(*records: object) -> list[tuple[int, bool]]:
    view = shown(fold(PERIOD, facts.start(), *facts.run(PERIOD, [2] * 12), *records))
    return [(segment.msn, made.is_void) for segment, _, made in thumbnails.listed(view)]


def test_a_thumbnail_never_decides_what_media_is_listed() -> None:
    without = shown(fold(PERIOD, facts.start(), *facts.run(PERIOD, [2, 2])))
    early = shown(fold(PERIOD, facts.start(), picture(5, 10, 2), *facts.run(PERIOD, [2, 2]), picture(0, 0, 2)))
    assert [s.msn for s in without.segments] == [s.msn for s in early.segments] == [0, 1]
    assert hls.media(without, "v0", low_latency=True) == hls.media(early, "v0", low_latency=True)
    assert thumbnails.listed(without) == ()


def test_thumbnails_are_listed_in_step_and_wait_for_the_next_one() -> None:
    assert listed(picture(0, 0, 2), picture(2, 4, 2), picture(1, 2, 2), picture(4, 8, 2)) == [(0, False), (1, False), (2, False)]


def test_one_that_is_void_or_long_overdue_is_a_gap_for_ever() -> None:
    late = [picture(msn, 2 * msn, 2) for msn in range(2, 1 + LATE_SEGMENTS)]
    overdue = [picture(0, 0, 2), *late, picture(1 + LATE_SEGMENTS, 2 + 2 * LATE_SEGMENTS, 2)]
    assert listed(*overdue)[:3] == listed(*overdue, picture(1, 2, 2))[:3] == [(0, False), (1, True), (2, False)]
    track = picture_track(PERIOD)
    assert track is not None
    assert listed(picture(0, 0, 2), facts.void(PERIOD, track, 1, 2, 2), picture(1, 2, 2)) == [(0, False), (1, True)]


def test_a_failure_to_make_one_lists_nothing() -> None:
    assert listed(picture(0, 0, 2), picture(1, 2, 2, outcome=Outcome.FAILED)) == [(0, False)]


def test_the_image_playlist_is_read_by_others_and_names_each_thumbnail_once() -> None:
    view = shown(fold(PERIOD, facts.start(), *facts.run(PERIOD, [2, 4, 1]), picture(0, 0, 2), picture(1, 2, 4), picture(2, 6, 1)))
    multivariant, text = hls.multivariant(view), thumbnails.media(view, "thumb0")
    assert text is not None
    assert '#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=40000,RESOLUTION=160x90,CODECS="jpeg",URI="thumb0.m3u8"' in multivariant
    segments = m3u8.loads(text).segments
    assert [(s.uri, s.duration) for s in segments] == [
        ("../0/thumb0/0.jpg", 2.0),
        ("../0/thumb0/25600.jpg", 4.0),
        ("../0/thumb0/76800.jpg", 1.0),
    ]
    media = m3u8.loads(hls.media(view, "v0", low_latency=False)).segments
    assert [s.program_date_time for s in segments] == [s.program_date_time for s in media]
    assert text.count("#EXT-X-TILES:RESOLUTION=160x90,LAYOUT=1x1,DURATION=") == 3
    assert thumbnails.media(view, "thumb1") is None


def test_the_mpd_has_them_as_tiles_of_one_on_the_ticks_of_their_source() -> None:
    view = shown(fold(PERIOD, facts.start(), *facts.run(PERIOD, [2, 4]), picture(0, 0, 2), picture(1, 2, 4)))
    text = dash.manifest(view, time_url="t")
    images = text.partition('<AdaptationSet id="2" contentType="image" mimeType="image/jpeg">')[2].partition("</AdaptationSet>")[0]
    assert 'timescale="12800" presentationTimeOffset="0" media="../0/$RepresentationID$/$Time$.jpg"' in images
    assert '<S t="0" d="25600"/>\n<S t="25600" d="51200"/>' in images
    assert '<Representation id="thumb0" bandwidth="20000" width="160" height="90">' in images
    assert '<EssentialProperty schemeIdUri="http://dashif.org/guidelines/thumbnail_tile" value="1x1"/>' in images


def test_a_channel_without_any_yet_does_not_name_an_empty_playlist() -> None:
    view = shown(fold(PERIOD, facts.start(), *facts.run(PERIOD, [2, 2])))
    assert "IMAGE-STREAM" not in hls.multivariant(view)
    assert "image/jpeg" not in dash.manifest(view, time_url="t")


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(6, 14))
def test_in_any_order_and_with_any_holes_the_list_only_grows(data: st.DataObject, count: int) -> None:
    made = data.draw(st.lists(st.integers(0, count - 1), max_size=20))
    media = list(facts.run(PERIOD, [1] * count))
    rest = [picture(msn, msn, 1) for msn in made]
    presentations, texts = fold(PERIOD, facts.start()), []
    while media or rest:
        queue = data.draw(st.sampled_from([q for q in (media, rest) if q]))
        presentations.apply(queue.pop(0))
        view = presentations.channels["c1"].view()
        texts += [text.splitlines()[6:] for text in [thumbnails.media(view, "thumb0") if view else None] if text]
    for before, after in pairwise(texts):
        assert after[: len(before)] == before


# ---------------------------------------------------------------- levels


def segments_alone(period: Period, lengths: list[int], *, first_gop: int = 0, first_msn: int = 0) -> list[Reports]:
    return [made for made in facts.run(period, lengths, first_gop=first_gop, first_msn=first_msn) if isinstance(made, Reports)]


RISE = replace(facts.start(level=Level.PARTS, decision=2), parts_from_msn=Msn(2))


def test_at_the_level_of_segments_plain_playlists_work_and_nothing_of_low_latency_is_shown() -> None:
    period = facts.period()
    view = shown(fold(period, facts.start(level=Level.SEGMENTS), *segments_alone(period, [2, 2])))
    assert (len(view.segments), view.has_parts, view.hints, view.open_count) == (2, False, {}, 0)
    assert hls.media(view, "v0", low_latency=False).count("#EXTINF") == 2
    assert dash.manifest(view, time_url="t").count("<S ") >= 2


def test_parts_that_somebody_makes_all_the_same_are_not_listed_at_that_level() -> None:
    period = facts.period()
    bare = shown(fold(period, facts.start(level=Level.SEGMENTS), *segments_alone(period, [2, 2])))
    busy = shown(fold(period, facts.start(level=Level.SEGMENTS), *facts.run(period, [2, 2])))
    assert hls.media(bare, "v0", low_latency=True) == hls.media(busy, "v0", low_latency=True)


def test_a_rise_to_parts_goes_on_with_the_run_and_lists_parts_from_its_segment_on() -> None:
    period = facts.period()
    records = [period, facts.start(level=Level.SEGMENTS), *segments_alone(period, [2, 2]), RISE]
    risen = shown(fold(*records))
    assert ([s.msn for s in risen.segments], risen.open_msn, risen.has_parts) == ([0, 1], 2, True)
    assert set(risen.hints.values()) == {"c1/0/v0/51200.part.m4s", "c1/0/v1/51200.part.m4s", "c1/0/a0/192512.part.m4s"}
    later = shown(fold(*records, *facts.run(period, [2, 2], first_gop=4, first_msn=2)))
    assert [bool(s.tracks["v0"].parts) for s in later.segments] == [False, False, True, True]


def test_before_the_segment_with_its_first_part_a_risen_channel_shows_nothing_of_low_latency() -> None:
    period = facts.period()
    view = shown(fold(period, facts.start(level=Level.SEGMENTS), *segments_alone(period, [2]), RISE))
    assert (view.level, view.has_parts, view.hints) == (Level.PARTS, False, {})


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(0, 5))
def test_however_topics_interleave_a_rise_comes_to_the_same_playlists_and_takes_no_part_away(
    data: st.DataObject, border: int, told_after: int
) -> None:
    period, count = facts.period(), 7
    rise: Packaging = replace(RISE, parts_from_msn=Msn(border))
    made = list(facts.run(period, [1] * count))
    parts = [r for r in made if not isinstance(r, Reports) and r.parts[0].msn >= border]
    reports: list[object] = [facts.start(level=Level.SEGMENTS), *(r for r in made if isinstance(r, Reports))]
    reports.insert(1 + min(told_after, border), rise)
    expected = shown(fold(period, *parts, *reports))
    presentations, shown_parts = fold(period), [0]
    queues: list[list[object]] = [list(parts), list(reports)]
    while any(queues):
        presentations.apply(data.draw(st.sampled_from([q for q in queues if q])).pop(0))
        view = presentations.channels["c1"].view()
        if view is not None and view.has_parts:
            shown_parts.append(sum(len(s.tracks["v0"].parts) for s in view.segments) + view.open_count)
    assert shown_parts == sorted(shown_parts)
    for track in ("v0", "a0"):
        assert hls.media(shown(presentations), track, low_latency=True) == hls.media(expected, track, low_latency=True)


def test_two_copies_that_report_the_same_change_nothing() -> None:
    def other(report: SegmentReport) -> SegmentReport:
        return replace(report, slice_id="c1/all/0", cpu_us=77)

    made = list(facts.run(PERIOD, [2, 2]))
    twice: list[object] = []
    for record in made:
        twice.append(record)
        if isinstance(record, Reports):
            twice.append(replace(record, packager_id="p2", segments=tuple(other(r) for r in record.segments)))
        else:
            twice.append(replace(record, packager_id="p2"))
    once, again = shown(fold(PERIOD, facts.start(), *made)), shown(fold(PERIOD, facts.start(), *twice))
    assert hls.media(once, "v0", low_latency=True) == hls.media(again, "v0", low_latency=True)
