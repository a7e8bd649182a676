"""Which segments have parts, whenever a change of the level is read."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.manifest import hls
from packager.manifest.known import Reading
from packager.manifest.levels import Levels
from packager.manifest.presentations import Presentations
from schemas.records import Level, Packaging, Parts, Reports
from schemas.units import Msn, UnixMs
from tests import facts

START = facts.start(level=Level.PARTS, decision=1)


def fall(msn: int, decision: int) -> Packaging:
    return replace(facts.start(level=Level.SEGMENTS, decision=decision), parts_until_msn=Msn(msn))


def rise(msn: int, decision: int) -> Packaging:
    return replace(facts.start(level=Level.PARTS, decision=decision), parts_from_msn=Msn(msn))


def with_parts(*words: Packaging) -> list[int]:
    levels = Levels()
    for word in words:
        levels.hear(word, lambda _: False)
    return [msn for msn in range(8) if levels.has_parts(msn)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], []),
        ([START], [*range(8)]),
        ([START, fall(3, 2)], [0, 1, 2]),
        ([START, fall(3, 2), fall(3, 2)], [0, 1, 2]),
        ([START, fall(3, 2), rise(5, 3)], [0, 1, 2, 5, 6, 7]),
        ([START, fall(3, 2), rise(3, 3)], [*range(8)]),
        ([fall(3, 2)], [0, 1, 2]),
        ([rise(5, 3)], [5, 6, 7]),
        ([START, facts.stop(from_msn=2), replace(START, from_msn=Msn(4), level=Level.SEGMENTS)], []),
        ([fall(3, 2), replace(START, from_msn=Msn(4))], [*range(8)]),
    ],
    ids=str,
)
def test_a_change_of_level_holds_from_its_segment_on_and_changes_none_before(words: list[Packaging], expected: list[int]) -> None:
    assert with_parts(*words) == expected


@pytest.mark.parametrize(
    ("before", "change", "reported", "expected"),
    [
        ([START], fall(3, 2), 4, [0, 1, 2, 3]),
        ([START, fall(3, 2)], rise(4, 3), 6, [0, 1, 2, 6, 7]),
        ([START, fall(3, 2)], rise(4, 3), 4, [0, 1, 2, 4, 5, 6, 7]),
    ],
    ids=str,
)
def test_what_was_reported_before_a_change_was_read_is_at_the_level_of_before(
    before: list[Packaging], change: Packaging, reported: int, expected: list[int]
) -> None:
    levels = Levels()
    for word in before:
        levels.hear(word, lambda _: False)
    levels.hear(change, lambda msn: msn < reported)
    assert [msn for msn in range(8) if levels.has_parts(msn)] == expected


def test_changes_that_concern_nothing_listed_are_forgotten() -> None:
    levels = Levels()
    for word in (START, fall(3, 2), rise(5, 3)):
        levels.hear(word, lambda _: False)
    levels.trim(5)
    assert [levels.has_parts(msn) for msn in (4, 5, 6)] == [False, True, True]


def playlists(presentations: Presentations) -> list[str]:
    view = presentations.channels["c1"].view()
    assert view is not None
    return [hls.media(view, track, low_latency=True) for track in ("v0", "a0")]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(0, 1), st.integers(0, 2))
def test_however_topics_interleave_parts_that_end_and_begin_again_come_to_the_same_playlists(
    data: st.DataObject, border: int, in_flight: int, without: int
) -> None:
    # The segment of the border may be reported, in parts, while the fall is decided: then that is read before it.
    period, until, after = facts.period(), border + in_flight, border + in_flight + without
    made = list(facts.run(period, [1] * 6))
    parts: list[object] = [r for r in made if isinstance(r, Parts) and not until <= r.parts[0].msn < after]
    reports: list[object] = [START, *(r for r in made if isinstance(r, Reports))]
    reports[until + in_flight : until + in_flight] = [fall(border, 2), rise(after, 3)]
    expected = Presentations()
    for record in (period, *parts, *reports):
        expected.apply(record)
    presentations = Presentations()
    presentations.apply(period)  # long before what is said of its segments
    for record in merged(data, parts, reports):
        presentations.apply(record)
        presentations.channels["c1"].view()
    assert playlists(presentations) == playlists(expected)


def merged(data: st.DataObject, *queues: list[Any]) -> Iterator[object]:
    left = [list(queue) for queue in queues]
    while any(left):
        yield data.draw(st.sampled_from([queue for queue in left if queue])).pop(0)


def test_of_a_channel_that_began_while_it_reads_an_origin_has_missed_nothing() -> None:
    # It was started before the origin, and what came first is made last.
    period, reading = facts.period(), Reading(from_unix_ms=UnixMs(facts.ZERO - 60_000), began_unix_ms=UnixMs(facts.ZERO + 5_000))
    begun = replace(facts.start(level=Level.SEGMENTS, cause=""), since_unix_ms=facts.ZERO)
    first, second = (made for made in facts.run(period, [2, 2]) if isinstance(made, Reports))
    late, older = Presentations(reading), Presentations(reading)
    late.apply(period, facts.ZERO)
    older.apply(period, UnixMs(facts.ZERO - 60_001))
    for presentations in (late, older):
        presentations.apply(begun)
        presentations.apply(second)
    assert late.channels["c1"].view() is None
    late.apply(first)
    shown, beside = late.channels["c1"].view(), older.channels["c1"].view()
    assert shown is not None
    assert [segment.msn for segment in shown.segments] == [0, 1]
    assert beside is None or beside.segments == ()
