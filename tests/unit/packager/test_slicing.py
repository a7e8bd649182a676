"""A slice over several periods."""

from dataclasses import replace

import pytest

from packager.boxes import check_chunk
from packager.cutter import Cut, CutFailed, CutReject, CutSegment, Scope
from packager.slicing import PeriodUnknownError, SliceCutter
from schemas.records import Chunk, MarkKind, MediaMark, Period
from schemas.units import Msn, Ticks, UnixMs
from tests.builders import make_chunks, make_period, make_start

FIRST = make_period()
SECOND = replace(
    make_period(period=1, first_msn=Msn(1), first_offset=7),
    tracks=tuple(replace(t, start_ticks=Ticks(t.timescale * 2)) for t in FIRST.tracks),
)
PERIODS = {0: FIRST, 1: SECOND}
# One GOP, half a GOP, then an encoder that comes back.
LOG: list[Chunk | MediaMark] = [
    make_start(FIRST),
    *make_chunks(FIRST, (1,))[:6],
    make_start(SECOND, ended_period=0, parts_reached=1, next_msn=Msn(1)),
    *make_chunks(SECOND, (1, 1)),
]


def make_slice(from_msn: int = 0) -> SliceCutter:
    return SliceCutter(Scope(tracks=frozenset({"v0", "a0"}), from_msn=Msn(from_msn)), check=check_chunk)


def feed(cutter: SliceCutter, log: list[Chunk | MediaMark], *, start: int = 0, periods: dict[int, Period] = PERIODS) -> list[Cut]:
    return [
        cut
        for offset, record in enumerate(log, start)
        for cut in cutter.feed(record, offset=offset, durable_unix_ms=UnixMs(0), periods=periods)
    ]


def segments(cuts: list[Cut]) -> list[tuple[int, str, int]]:
    return [(cut.period.period, cut.name, cut.msn) for cut in cuts if isinstance(cut, CutSegment)]


def test_a_mark_ends_a_period_and_the_next_one_goes_on() -> None:
    cutter = make_slice()
    assert segments(feed(cutter, LOG)) == [
        (0, "news/0/v0/0.m4s", 0), (0, "news/0/a0/0.m4s", 0),
        (1, "news/1/v0/25600.m4s", 1), (1, "news/1/a0/96000.m4s", 1),
        (1, "news/1/v0/38400.m4s", 2), (1, "news/1/a0/144128.m4s", 2),
    ]  # fmt: skip
    assert cutter.next_msn == 3
    assert cutter.chunks_beyond == 2


def test_the_end_of_the_channel_ends_the_open_segment() -> None:
    end = MediaMark(channel="news", life="writer-a", kind=MarkKind.CHANNEL_END, period=0, ended_period=0, parts_reached=1, next_msn=Msn(1))
    assert segments(feed(make_slice(), [*LOG[:7], end])) == [(0, "news/0/v0/0.m4s", 0), (0, "news/0/a0/0.m4s", 0)]


def test_an_unknown_period_is_asked_for_and_nothing_is_lost() -> None:
    cutter = make_slice()
    before = feed(cutter, LOG[:8], periods={0: FIRST})
    with pytest.raises(PeriodUnknownError, match="period 1 of news"):
        feed(cutter, LOG[8:], start=8, periods={0: FIRST})
    assert segments([*before, *feed(cutter, LOG[8:], start=8)]) == segments(feed(make_slice(), LOG))


def test_a_late_chunk_of_an_older_period_is_rejected_wherever_reading_began() -> None:
    late = make_chunks(FIRST, (1,))[7]
    log = [*LOG[:9], late, *LOG[9:]]
    assert [type(cut) for cut in feed(make_slice(), log)].count(CutReject) == 1
    assert segments(feed(make_slice(1), log[9:], start=9))[-2:] == [(1, "news/1/v0/38400.m4s", 2), (1, "news/1/a0/144128.m4s", 2)]


def test_reading_from_the_second_period_gives_its_objects() -> None:
    whole = [cut for cut in feed(make_slice(), LOG) if getattr(cut, "msn", 0) >= 1]
    assert feed(make_slice(1), LOG[8:], start=8) == whole
    assert feed(make_slice(1), LOG[5:], start=5) == whole


def test_a_slice_is_done_when_all_it_was_given_is_cut() -> None:
    cutter = make_slice()
    feed(cutter, LOG)
    assert not cutter.is_done
    cutter.scope = replace(cutter.scope, until_msn=Msn(3))
    assert cutter.is_done


def test_a_slice_does_not_become_one_that_wants_what_it_may_have_passed_over() -> None:
    # Found by simulation: stopped at a segment and started again once that had begun, a slice went on behind it.
    tracks = frozenset({"v0", "a0"})
    held = SliceCutter(Scope(tracks=tracks, from_msn=Msn(4), until_msn=Msn(9)), check=check_chunk)
    shorter, longer, open_ended = (Scope(tracks=tracks, from_msn=Msn(6), until_msn=until) for until in (Msn(8), Msn(10), None))
    assert [held.can_become(scope) for scope in (shorter, longer, open_ended)] == [True, False, False]
    assert not held.can_become(replace(shorter, from_msn=Msn(3)))
    assert not held.can_become(replace(shorter, tracks=frozenset({"v0"})))


def gone(cuts: list[Cut]) -> list[tuple[int, int, str, int, int]]:
    return [(c.period.period, c.msn, c.track.track, c.start_ticks, c.duration_ticks) for c in cuts if isinstance(c, CutFailed)]


def test_what_retention_took_is_told_segment_by_segment_up_to_the_first_that_is_left() -> None:
    chunks = make_chunks(FIRST, (2,) * 6)
    cutter = make_slice(2)
    assert gone(feed(cutter, list(chunks[80:81]), start=80, periods={0: FIRST})) == [
        (0, 2, "v0", 51_200, 25_600),
        (0, 2, "a0", 192_512, 96_256),
    ]
    assert cutter.next_msn == 3
    cuts = feed(cutter, list(chunks[81:]), start=81, periods={0: FIRST})
    assert [(msn, track) for _, msn, track, _, _ in gone(cuts)] == [(msn, track) for msn in (3, 4) for track in ("v0", "a0")]
    assert [msn for _, _, msn in segments(cuts)] == [5, 5]
    assert cutter.next_msn == 6


def test_a_first_chunk_that_is_rejected_makes_nothing_lost() -> None:
    chunks = make_chunks(FIRST, (1, 1))
    foreign = replace(chunks[0], msn=Msn(10**9), duration_ticks=Ticks(1))
    cuts = feed(make_slice(), [foreign, *chunks], periods={0: FIRST})
    assert not gone(cuts)


def test_segments_that_are_gone_leave_no_gap_and_end_where_the_first_that_is_left_begins() -> None:
    chunks = make_chunks(FIRST, (1, 4, 1, 2, 3, 1))
    first = next(i for i, chunk in enumerate(chunks) if chunk.msn == 5)
    cuts = feed(make_slice(1), list(chunks[first:]), start=first, periods={0: FIRST})
    spans = [span[3:] for span in gone(cuts) if span[2] == "v0"]
    assert len(spans) == 4
    assert [start for start, _ in spans[1:]] + [chunks[first].start_ticks] == [start + ticks for start, ticks in spans]


def test_a_segment_that_the_log_has_in_part_is_lost_once_with_those_before_it() -> None:
    chunks = make_chunks(FIRST, (1, 1, 1, 1))
    told = gone(feed(make_slice(1), list(chunks[19:]), start=19, periods={0: FIRST}))
    assert sorted((msn, track) for _, msn, track, _, _ in told) == [(1, "a0"), (1, "v0"), (2, "a0"), (2, "v0")]


def test_what_retention_took_of_an_older_period_is_told_as_of_that_period() -> None:
    second = replace(SECOND, first_msn=Msn(3), anchor_unix_ms=UnixMs(FIRST.anchor_unix_ms + 6_500))
    log = make_chunks(second, (1, 1, 1))[8:]
    told = gone(feed(make_slice(1), list(log), start=100, periods={0: FIRST, 1: second}))
    assert [(period, msn) for period, msn, track, _, _ in told if track == "v0"] == [(0, 1), (0, 2), (1, 3)]
    assert [told[0][3:], told[2][3:]] == [(25_600, 25_600), (51_200, 25_600)]


def test_what_retention_took_of_a_channel_that_ended_is_told_at_its_end() -> None:
    end = MediaMark(channel="news", life="writer-a", kind=MarkKind.CHANNEL_END, period=0, ended_period=0, parts_reached=6, next_msn=Msn(3))
    cutter = make_slice(1)
    cutter.scope = replace(cutter.scope, until_msn=Msn(3))
    told = gone(feed(cutter, [end], start=50))
    assert [(msn, track) for _, msn, track, _, _ in told] == [(1, "v0"), (1, "a0"), (2, "v0"), (2, "a0")]
    assert cutter.is_done
