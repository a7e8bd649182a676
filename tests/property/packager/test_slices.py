"""However the work of a channel is dealt, in groups, turns, copies, ranges and levels: together the holders publish what one would."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from packager.boxes import check_chunk
from packager.cuts import Cut, CutFailed, CutPart, CutPicture, CutReject, CutSegment, Told
from packager.holding import Work
from packager.scope import Scope
from packager.slicing import SliceCutter
from schemas.records import Assignment, Chunk, Level, MarkKind, MediaMark, Period, Reason, Thumbnails
from schemas.units import Epoch, Msn, Ticks, UnixMs
from tests.builders import make_chunks, make_period, make_start

TRACKS = ("v0", "v1", "a0")
PICTURES = "thumb0"
ALL = frozenset({*TRACKS, PICTURES})
FIRST = make_period(tracks=TRACKS, thumbnails=Thumbnails(track=PICTURES, source="v0", width=160, height=90))
# Six segments: the first period breaks off in its third, the second goes on with numbers from there.
CUT_AT = 5
BROKEN = make_chunks(FIRST, (1, 2, 3), frame_bytes=9)[: 4 * 3 * 3 + CUT_AT * 3]
SECOND = replace(
    make_period(tracks=TRACKS, period=1, first_msn=Msn(3), first_offset=len(BROKEN) + 1, thumbnails=FIRST.thumbnails),
    tracks=tuple(replace(track, start_ticks=Ticks(track.timescale * 8)) for track in FIRST.tracks),
)
PERIODS = {0: FIRST, 1: SECOND}
PARTS_REACHED = 3 * 2 + CUT_AT // 2
NEXT_MSN = Msn(6)
END = MediaMark(channel="news", life="writer-a", kind=MarkKind.CHANNEL_END, period=1, ended_period=1, parts_reached=8, next_msn=NEXT_MSN)
LOG: list[Chunk | MediaMark] = [
    make_start(FIRST),
    *BROKEN,
    make_start(SECOND, ended_period=0, parts_reached=PARTS_REACHED, next_msn=Msn(3)),
    *make_chunks(SECOND, (1, 1, 2), frame_bytes=9),
    END,
]


@dataclass
class Job:
    cut: Told


def read(scope: Scope, *, start: int = 0) -> list[Cut]:
    """What a holder cuts who reads from an offset on, and of each chunk no more than it needs."""
    cutter = SliceCutter(scope, check=check_chunk)
    cuts: list[Cut] = []
    for offset, record in enumerate(LOG[start:], start):
        cuts += hand_over(cutter, record, offset)
        assert not cuts or cutter.next_msn >= max((cut.msn for cut in cuts if isinstance(cut, CutSegment)), default=0)
    assert cutter.next_msn >= (NEXT_MSN if scope.until_msn is None else scope.until_msn)
    assert cutter.held_bytes == 0
    return cuts


def hand_over(cutter: SliceCutter, record: Chunk | MediaMark, offset: int, periods: dict[int, Period] = PERIODS) -> tuple[Cut, ...]:
    if isinstance(record, Chunk) and not cutter.needs(header := replace(record, payload=b"")):
        record = header
    return cutter.feed(record, offset=offset, durable_unix_ms=UnixMs(offset), periods=periods)


def objects(cuts: Iterable[Cut]) -> dict[str, bytes]:
    return {cut.name: b"".join(cut.pieces) for cut in cuts if isinstance(cut, CutPart | CutSegment | CutPicture)}


WHOLE = read(Scope(tracks=ALL, from_msn=Msn(0)))
PARTS = {name for name in objects(WHOLE) if ".part." in name}


def holders() -> st.SearchStrategy[list[Scope]]:
    """Scopes that together want everything, each dealt in groups, turns, copies and ranges of its own."""

    @st.composite
    def deal(draw: st.DrawFn) -> list[Scope]:
        where = {track: draw(st.integers(0, 2)) for track in sorted(ALL)}
        dealt = []
        for group in set(where.values()):
            tracks = frozenset(track for track, at in where.items() if at == group)
            turns, copies = draw(st.integers(1, 3)), draw(st.integers(1, 2))
            border = Msn(draw(st.integers(0, 6)))
            for turn in range(turns):
                early = Scope(tracks=tracks, from_msn=Msn(0), until_msn=border, turn=turn, turns=turns)
                dealt += [early, replace(early, from_msn=border, until_msn=None)] * copies
        return dealt

    return deal()


@settings(max_examples=50, deadline=None)
@given(holders())
def test_any_deal_of_a_channel_publishes_what_the_whole_slice_does(dealt: list[Scope]) -> None:
    made: dict[str, bytes] = {}
    for scope in dealt:
        cuts = read(scope)
        assert not [cut for cut in cuts if isinstance(cut, CutReject | CutFailed)]
        for name, data in objects(cuts).items():
            assert made.setdefault(name, data) == data, "a name determines the bytes"
    assert made == objects(WHOLE)


@settings(max_examples=30, deadline=None)
@given(holders())
def test_each_copy_of_a_segment_is_made_once_by_each_of_its_holders(dealt: list[Scope]) -> None:
    wanted = Counter((cut.track.track, cut.msn) for cut in WHOLE if isinstance(cut, CutSegment))
    made = Counter((cut.track.track, cut.msn) for scope in dealt for cut in read(scope) if isinstance(cut, CutSegment))
    assert made == Counter({key: count * sum(scope.wants(*key) for scope in dealt) for key, count in wanted.items()})


@settings(max_examples=30, deadline=None)
@given(st.sets(st.sampled_from(sorted(ALL)), min_size=1), st.integers(0, len(LOG) - 1))
def test_a_part_goes_out_once_every_track_has_reached_its_instant_whoever_makes_it(tracks: set[str], offset: int) -> None:
    def cut_by(scope: Scope) -> set[str]:
        cutter = SliceCutter(scope, check=check_chunk)
        return set(objects(cut for at, record in enumerate(LOG[: offset + 1]) for cut in hand_over(cutter, record, at)))

    mine = cut_by(Scope(tracks=frozenset(tracks), from_msn=Msn(0)))
    assert mine == {name for name in cut_by(Scope(tracks=ALL, from_msn=Msn(0))) if name.split("/")[2] in tracks}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 6), st.integers(0, len(LOG) - 1), st.sampled_from([1, 2]))
def test_parts_begin_at_their_segment_and_nothing_else_changes(border: int, told_at: int, epoch: int) -> None:
    """A level raised under way: what is in hand is finished as it was begun, from the border on there are parts."""
    whole = Assignment(
        slice_id="news/all/0", copy=0, epoch=Epoch(1), packager_id="p1", life="l1", channel="news", tracks=TRACKS, turn=0, turns=1,
        level=Level.SEGMENTS, from_msn=Msn(0), media_partition=0, first_offset=0, decision=1, reason=Reason.PLACED,
    )  # fmt: skip
    raised = replace(whole, level=Level.PARTS, from_msn=Msn(border), epoch=Epoch(epoch), decision=2)
    work: Work[Job] = Work(key="news/all/0/0", assignment=whole, cutter=SliceCutter(Scope.of(whole), check=check_chunk))
    cuts: list[Cut] = []
    opened = -1
    has_changed = False
    for offset, record in enumerate(LOG):
        if offset == told_at:
            has_changed = work.becomes(raised)
            assert has_changed == (border > opened >= 0), "else it is begun anew"
        opened = max(opened, record.msn) if isinstance(record, Chunk) else opened
        cuts += hand_over(work.cutter, record, offset)
    expected = {
        name for name in objects(WHOLE) if PICTURES not in name and (name not in PARTS or (has_changed and _msn_of(name) >= border))
    }
    assert set(objects(cuts)) == expected
    assert work.cutter.next_msn >= NEXT_MSN


def _msn_of(name: str) -> int:
    return next(cut.msn for cut in WHOLE if isinstance(cut, CutPart) and cut.name == name)


def test_a_picture_is_taken_of_the_first_chunk_of_each_segment_that_has_content() -> None:
    pictures = [cut for cut in WHOLE if isinstance(cut, CutPicture)]
    segments = {cut.name: cut for cut in WHOLE if isinstance(cut, CutSegment)}
    assert [cut.msn for cut in pictures] == [0, 1, 2, 3, 4, 5]
    for cut in pictures:
        source = segments[cut.name.replace(PICTURES, "v0").replace(".jpg", ".m4s")]
        assert (cut.msn, cut.pieces[0]) == (source.msn, source.pieces[0])


def test_who_makes_pictures_alone_needs_one_chunk_of_each_segment() -> None:
    cutter = SliceCutter(Scope(tracks=frozenset({PICTURES}), from_msn=Msn(0)), check=check_chunk)
    needed = []
    for offset, record in enumerate(LOG):
        if isinstance(record, Chunk) and cutter.needs(replace(record, payload=b"")) and record.track == "v0":
            needed.append(record.msn)
        hand_over(cutter, record, offset)
    assert needed == [0, 1, 2, 3, 4, 5]


def test_a_first_chunk_that_is_broken_costs_its_picture_and_no_other() -> None:
    cutter = SliceCutter(Scope(tracks=frozenset({PICTURES}), from_msn=Msn(0)), check=check_chunk)
    cuts: list[Cut] = []
    for offset, fed in enumerate(LOG):
        record = fed
        if isinstance(record, Chunk) and (record.track, record.msn, record.index) == ("v0", 1, 4):
            record = replace(record, payload=record.payload[:-3])
        cuts += hand_over(cutter, record, offset)
    assert [cut.msn for cut in cuts if isinstance(cut, CutPicture)] == [0, 2, 3, 4, 5]
    assert [(cut.msn, cut.track.track) for cut in cuts if isinstance(cut, CutFailed)] == [(1, PICTURES)]
    assert cutter.next_msn >= NEXT_MSN
