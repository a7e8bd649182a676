"""The low-latency MPD: the open segment with its stamped length, and what may never change (media rules 25 to 32)."""

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice, pairwise

from mpegdash.parser import MPEGDASHParser

from packager.manifest import dash
from packager.manifest.presentations import Presentations
from packager.manifest.view import View
from schemas.records import Level
from tests import facts

TIME = "../../time"


def states(records: Iterable[object]) -> list[View]:
    """The view after every record that changed it, from the first listed segment on."""
    presentations = Presentations()
    seen: list[View] = []
    for record in records:
        presentations.apply(record)
        view = presentations.channels["c1"].view() if "c1" in presentations.channels else None
        if view is not None and view.segments and (not seen or seen[-1] is not view):
            seen.append(view)
    return seen


def low_latency(view: View) -> str:
    return dash.manifest(view, time_url=TIME, low_latency=True)


def timeline(text: str, adaptation_set: int = 0) -> list[list[tuple[int, int]]]:
    """Start and duration of every S, by Period."""
    mpd = MPEGDASHParser.parse(text)
    sets = [period.adaptation_sets[adaptation_set] for period in mpd.periods]
    return [[(s.t, s.d) for s in of.segment_templates[0].segment_timelines[0].Ss] for of in sets]


PERIOD = facts.period(time_shift_ms=24_000)
STEADY = [PERIOD, facts.start(), *facts.run(PERIOD, [4, 1, 2, 4, 4, 1, 1, 1, 2, 2, 4, 4])]


def test_the_open_segment_is_listed_with_its_stamped_length_once_its_first_part_is_there_in_all_tracks() -> None:
    records = [PERIOD, facts.start(), *facts.run(PERIOD, [4])]
    (before,) = states(records)[-1:]
    assert timeline(low_latency(before)) == [[(0, 51_200)]]
    (after,) = states([*records, next(iter(facts.run(PERIOD, [2], first_gop=4, first_msn=1)))])[-1:]
    assert timeline(low_latency(after)) == [[(0, 51_200), (51_200, 25_600)]]
    assert timeline(low_latency(after), 1) == [[(0, 192_512), (192_512, 96_256)]]
    assert timeline(dash.manifest(after, time_url=TIME)) == [[(0, 51_200)]]


def test_a_segment_of_which_one_track_has_no_part_is_not_listed() -> None:
    first = facts.announce(PERIOD, [facts.part(PERIOD, PERIOD.tracks[0], 1, 4, 2, 0)])
    (view,) = states([PERIOD, facts.start(), *facts.run(PERIOD, [4]), first])[-1:]
    assert timeline(low_latency(view)) == [[(0, 51_200)]]


def test_what_is_listed_is_never_edited_and_has_no_gap() -> None:
    known: dict[int, int] = {}
    for view in states(STEADY):
        (listed,) = timeline(low_latency(view))
        assert all(t + d == following for (t, d), (following, _) in pairwise(listed))
        for t, d in listed:
            assert known.setdefault(t, d) == d


def test_publish_time_rises_exactly_when_the_content_changes() -> None:
    ended = facts.period_end(PERIOD, gops=30, next_msn=12, channel_ended=True)
    for of in (low_latency, lambda view: dash.manifest(view, time_url=TIME)):
        texts = [of(view) for view in states([*STEADY, ended])]
        for before, after in pairwise(texts):
            times = [re.search('publishTime="([^"]+)"', text) for text in (before, after)]
            assert all(times)
            told = [time[1] for time in times if time]
            assert (told[0] < told[1]) if before != after else told[0] == told[1]


def test_nothing_that_players_keep_changes_with_the_length_of_segments() -> None:
    kept = re.compile(
        'availabilityStartTime="[^"]+"|availabilityTimeOffset="[^"]+"|suggestedPresentationDelay="[^"]+"|minimumUpdatePeriod="[^"]+"|<Latency[^>]+>'
    )
    assert len({tuple(sorted(set(kept.findall(low_latency(view))))) for view in states(STEADY)}) == 1


def test_it_says_what_low_latency_players_read() -> None:
    text = low_latency(states(STEADY)[-1])
    assert 'availabilityTimeOffset="3.466" availabilityTimeComplete="false"' in text
    assert '<Latency target="2068" min="1000" max="16000"/><PlaybackRate min="0.96" max="1.04"/>' in text
    assert 'minimumUpdatePeriod="PT0.534S"' in text
    assert 'suggestedPresentationDelay="PT9S"' in text
    assert '<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="../../time"/></ProducerReferenceTime>' in text
    assert '<Resync type="1" dT="12800"/>' in text
    assert "r=" not in re.sub("[a-z]r=", "", text)  # no S@r


def test_ids_of_producer_reference_times_are_unique() -> None:
    second = facts.period(number=1, start_ms=6_000, first_msn=2)
    lost = [facts.void(second, track, 3, 2, 2) for track in second.tracks]
    records = [PERIOD, facts.start(), *facts.run(PERIOD, [4, 2]), second, *facts.run(second, [2])]
    more = [*lost, *facts.run(second, [2], first_gop=4, first_msn=4)]
    text = low_latency(states([*records, *more])[-1])
    ids = re.findall('<ProducerReferenceTime id="([0-9]+)"', text)
    assert len(ids) == len(set(ids)) == 6


def test_a_segment_that_the_end_of_its_period_cut_short_keeps_the_length_it_was_announced_with() -> None:
    second = facts.period(number=1, start_ms=6_000, first_msn=2)
    cut = list(islice(facts.run(PERIOD, [4], first_gop=4, first_msn=1), 4))  # two of four GOPs
    reports = [replace(facts.report(PERIOD, t, 1, 4, 2), size=1) for t in PERIOD.tracks]
    records = [PERIOD, facts.start(), *facts.run(PERIOD, [4]), *cut, facts.tell(PERIOD, reports), second, *facts.run(second, [2])]
    view = states(records)[-1]
    assert timeline(low_latency(view)) == [[(0, 51_200), (51_200, 51_200)], [(76_800, 25_600)]]
    assert timeline(dash.manifest(view, time_url=TIME)) == [[(0, 51_200), (51_200, 25_600)], [(76_800, 25_600)]]


def test_a_channel_that_has_ended_is_static_with_its_length_and_its_periods_where_they_were() -> None:
    ended = facts.period_end(PERIOD, gops=30, next_msn=12, channel_ended=True)
    view = states([*STEADY, ended])[-1]
    for text in (low_latency(view), dash.manifest(view, time_url=TIME)):
        mpd = MPEGDASHParser.parse(text)
        assert (mpd.type, mpd.media_presentation_duration, mpd.minimum_update_period) == ("static", "PT30S", None)
        assert mpd.periods[0].start == "PT0S"


def test_what_is_kept_of_a_finished_channel_begins_at_zero() -> None:
    ended = facts.period_end(PERIOD, gops=30, next_msn=12, channel_ended=True)
    view = states([*STEADY, ended])[-1]
    assert view.segments[0].start_ms == 5_000
    mpd = MPEGDASHParser.parse(dash.finished(view))
    assert (mpd.type, mpd.media_presentation_duration, mpd.periods[0].start, mpd.utc_timings) == ("static", "PT25S", "PT0S", None)
    templates = [of.segment_templates[0] for of in mpd.periods[0].adaptation_sets]
    assert [t.presentation_time_offset for t in templates] == [64_000, 240_000]
    assert templates[0].segment_timelines[0].Ss[0].t == 64_000


def test_without_parts_the_low_latency_mpd_is_that_of_whole_segments() -> None:
    view = states([PERIOD, facts.start(level=Level.SEGMENTS), *facts.run(PERIOD, [4, 2])])[-1]
    assert timeline(low_latency(view)) == timeline(dash.manifest(view, time_url=TIME))
