"""Parts and segments of one period."""

import gc
import sys
from collections.abc import Iterable
from dataclasses import replace

from packager.boxes import check_chunk
from packager.cutter import Cut, CutFailed, CutPart, CutReject, CutSegment, Cutter, Scope
from schemas.records import Chunk, Period
from schemas.units import GopOrdinal, Msn, Ticks, UnixMs
from tests.builders import make_chunks, make_period

PERIOD = make_period()
BOTH = frozenset({"v0", "a0"})


def make_cutter(
    period: Period = PERIOD, *, tracks: frozenset[str] = BOTH, from_msn: int = 0, until_msn: int | None = None, turns: int = 1
) -> Cutter:
    until = None if until_msn is None else Msn(until_msn)
    return Cutter(period, Scope(tracks=tracks, from_msn=Msn(from_msn), until_msn=until, turns=turns), check=check_chunk)


def feed(cutter: Cutter, chunks: Iterable[Chunk], *, start: int = 0) -> list[Cut]:
    return [cut for i, chunk in enumerate(chunks, start) for cut in cutter.feed(chunk, offset=i, durable_unix_ms=UnixMs(1_000 + i))]


def names(cuts: Iterable[Cut], kind: type[CutPart | CutSegment] = CutSegment) -> list[str]:
    return [cut.name for cut in cuts if isinstance(cut, CutPart | CutSegment) and isinstance(cut, kind)]


def rejects(cuts: Iterable[Cut]) -> list[str]:
    return [cut.error for cut in cuts if isinstance(cut, CutReject)]


def lost(cuts: Iterable[Cut]) -> list[tuple[str, int]]:
    return [(cut.track.track, cut.msn) for cut in cuts if isinstance(cut, CutFailed)]


def test_a_segment_is_its_parts_one_after_the_other() -> None:
    cuts = feed(make_cutter(), make_chunks(PERIOD, (2, 1)))
    for segment in [cut for cut in cuts if isinstance(cut, CutSegment)]:
        parts = [c for c in cuts if isinstance(c, CutPart) and (c.track, c.msn) == (segment.track, segment.msn)]
        assert segment.pieces == tuple(piece for part in parts for piece in part.pieces)
        assert segment.duration_ticks == sum(part.duration_ticks for part in parts) == parts[0].segment_ticks
        assert [part.index for part in parts] == list(range(segment.part_count))
    assert names(cuts) == ["news/0/v0/0.m4s", "news/0/a0/0.m4s", "news/0/v0/25600.m4s", "news/0/a0/96256.m4s"]


def test_a_part_waits_for_every_track_also_those_of_others() -> None:
    chunks = [c for c in make_chunks(PERIOD, (1,)) if c.part == 0]
    cutter = make_cutter(tracks=frozenset({"v0"}))
    assert feed(cutter, [c for c in chunks if c.track == "v0"]) == []
    assert names(feed(cutter, [c for c in chunks if c.track == "a0"], start=9), CutPart) == ["news/0/v0/0.part.m4s"]


def test_a_part_is_durable_with_its_last_chunk() -> None:
    parts = [cut for cut in feed(make_cutter(), make_chunks(PERIOD, (1,))) if isinstance(cut, CutPart)]
    assert [part.durable_unix_ms for part in parts] == [1_002, 1_003, 1_006, 1_007]


def test_only_the_first_part_of_a_video_gop_is_independent() -> None:
    parts = [cut for cut in feed(make_cutter(), make_chunks(PERIOD, (2,))) if isinstance(cut, CutPart)]
    assert [part.independent for part in parts if part.track.track == "v0"] == [True, False, True, False]


def test_the_end_of_a_period_cuts_the_open_segment_at_the_instant_that_all_reached() -> None:
    cutter = make_cutter()
    chunks = [c for c in make_chunks(PERIOD, (4,)) if c.track == "v0" or c.gop < 2]
    before = feed(cutter, chunks)
    ends = cutter.end(parts_reached=4)
    assert names(before) == []
    assert [(c.track.track, c.part_count, c.duration_ticks) for c in ends if isinstance(c, CutSegment)] == [
        ("v0", 4, 25_600),
        ("a0", 4, 96_256),
    ]
    assert cutter.chunks_beyond == 8
    assert cutter.held_bytes == 0
    assert cutter.next_msn == 1


def test_a_segment_left_empty_keeps_its_number_for_the_next_period() -> None:
    cutter = make_cutter()
    feed(cutter, make_chunks(PERIOD, (1, 1))[:9])
    assert cutter.end(parts_reached=2) == ()
    assert cutter.next_msn == 1


def test_the_same_chunk_again_changes_nothing_whoever_sends_it() -> None:
    chunks = make_chunks(PERIOD, (1,))
    again = [replace(chunk, life="writer-b") for chunk in chunks[:4]]
    assert feed(make_cutter(), [*chunks[:4], *again, *chunks[4:]]) != []
    assert rejects(feed(make_cutter(), [*chunks[:4], *again, *chunks[4:]])) == []


def test_another_writers_chunk_for_a_gop_that_has_one_is_rejected() -> None:
    chunks = make_chunks(PERIOD, (1,))
    other = replace(chunks[2], life="writer-b")
    cuts = feed(make_cutter(), [*chunks[:2], other, *chunks[2:]])
    assert rejects(cuts) == ["GOP 0 belongs to writer writer-a, this chunk is of writer-b"]
    assert len(names(cuts)) == 2


def test_a_writer_may_take_over_at_a_gop_start() -> None:
    first, second = make_chunks(PERIOD, (2,))[:8], make_chunks(PERIOD, (2,))[8:]
    cuts = feed(make_cutter(), [*first, *(replace(chunk, life="writer-b") for chunk in second)])
    assert rejects(cuts) == []
    assert len(names(cuts)) == 2


def test_a_stamp_that_contradicts_the_open_segment_is_rejected() -> None:
    chunks = make_chunks(PERIOD, (4,))
    wrong = replace(chunks[8], msn=Msn(1), first_gop=GopOrdinal(1), gop_count=1)
    cuts = feed(make_cutter(), [*chunks[:8], wrong, *chunks[8:]])
    assert [error[:42] for error in rejects(cuts)] == ["stamp (1, 1, 1) of GOP 1 contradicts the l"]
    assert len(names(cuts)) == 2


def test_a_hole_loses_its_segment_and_no_other() -> None:
    chunks = make_chunks(PERIOD, (1, 1, 1))
    del chunks[10]
    cuts = feed(make_cutter(), chunks)
    assert rejects(cuts) == ["chunks 5 to 5 of v0 are missing"]
    assert lost(cuts) == [("v0", 1)]
    assert names(cuts) == ["news/0/v0/0.m4s", "news/0/a0/0.m4s", "news/0/a0/48128.m4s", "news/0/v0/25600.m4s", "news/0/a0/96256.m4s"]


def test_a_truncated_chunk_loses_its_segment_unless_it_comes_again_whole() -> None:
    chunks = make_chunks(PERIOD, (1, 1))
    broken = replace(chunks[2], payload=chunks[2].payload[:-5])
    healed = feed(make_cutter(), [*chunks[:2], broken, *chunks[2:]])
    assert len(rejects(healed)) == 1
    assert lost(healed) == []
    assert lost(feed(make_cutter(), [*chunks[:2], broken, *chunks[3:]])) == [("v0", 0)]


def test_a_chunk_out_of_its_place_in_the_grid_is_rejected() -> None:
    chunks = make_chunks(PERIOD, (1,))
    for wrong in (
        replace(chunks[0], ends_part=True),
        replace(chunks[0], ends_gop=True),
        replace(chunks[0], duration_ticks=Ticks(999_999)),
        replace(chunks[0], independent=False),
        replace(chunks[0], track="v9"),
        replace(chunks[0], part=7, gop=GopOrdinal(0)),
    ):
        cuts = feed(make_cutter(), [wrong])
        assert rejects(cuts) or lost(cuts)


def test_reading_from_a_later_segment_gives_the_same_objects() -> None:
    chunks = make_chunks(PERIOD, (2, 1, 3))
    whole = feed(make_cutter(), chunks)
    later = feed(make_cutter(from_msn=1), chunks[7:], start=7)
    assert later == [cut for cut in whole if isinstance(cut, CutPart | CutSegment) and cut.msn >= 1]


def test_a_segment_whose_beginning_is_not_in_the_log_is_lost_and_the_next_is_made() -> None:
    cuts = feed(make_cutter(from_msn=0), make_chunks(PERIOD, (2, 1))[3:])
    assert sorted(lost(cuts)) == [("a0", 0), ("v0", 0)]
    assert names(cuts) == ["news/0/v0/25600.m4s", "news/0/a0/96256.m4s"]


def test_a_slice_ends_before_the_segment_it_was_given_until() -> None:
    cutter = make_cutter(until_msn=1)
    assert len(names(feed(cutter, make_chunks(PERIOD, (1, 1))))) == 2
    assert cutter.next_msn == 2
    assert cutter.held_bytes == 0


def test_turns_share_out_segments() -> None:
    cuts = feed(make_cutter(turns=2), make_chunks(PERIOD, (1, 1, 1)))
    assert {cut.msn for cut in cuts if isinstance(cut, CutSegment)} == {0, 2}


def test_chunks_of_a_period_that_ended_are_rejected_unless_they_repeat() -> None:
    cutter, chunks = make_cutter(), make_chunks(PERIOD, (1, 1))
    feed(cutter, chunks[:8])
    cutter.end(2)
    assert rejects(feed(cutter, chunks[6:9], start=20)) == ["period 0 of news has ended before this chunk"]


def test_what_is_remembered_of_chunks_is_no_object_for_each_of_them() -> None:
    cutter, chunks, blocks = make_cutter(), make_chunks(PERIOD, (1,) * 200), []
    for offset, chunk in enumerate(chunks):
        cutter.feed(chunk, offset=offset, durable_unix_ms=UnixMs(0))
        if offset + 1 in {80, len(chunks)}:  # whole segments
            gc.collect()
            blocks.append(sys.getallocatedblocks())
    assert blocks[1] - blocks[0] < len(chunks), "strewn over the heap, they would keep it from being given back"
    assert feed(cutter, chunks, start=len(chunks)) == [], "and all of them are remembered"
    assert len(rejects(feed(cutter, [replace(chunk, msn=Msn(999)) for chunk in chunks], start=2 * len(chunks)))) == len(chunks)


def test_a_period_that_ended_in_a_segment_keeps_none_of_its_bytes() -> None:
    cutter, chunks = make_cutter(), make_chunks(PERIOD, (2,))[:-3]
    before = [sys.getrefcount(chunk.payload) for chunk in chunks]
    feed(cutter, chunks)
    cutter.end()
    assert [sys.getrefcount(chunk.payload) for chunk in chunks] == before
