"""A slice over several periods."""

from dataclasses import replace

import pytest

from packager.boxes import check_chunk
from packager.cutter import Cut, CutReject, CutSegment, Scope
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
