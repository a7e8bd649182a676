"""Law 2: what is cut is a function of the log alone, whoever reads it, from wherever, how often, and whatever else stands in it."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from packager.boxes import check_chunk
from packager.cutter import Cut, CutFailed, CutPart, CutReject, CutSegment, Cutter, Scope
from schemas.records import Chunk
from schemas.units import Msn, UnixMs
from tests.builders import make_chunks, make_period

PERIOD = make_period(tracks=("v0", "v1", "a0"))
TRACKS = frozenset({"v0", "v1", "a0"})
SEGMENTS = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)
Log = list[tuple[int, Chunk]]


@cache
def encoded(segments: tuple[int, ...]) -> list[Chunk]:
    return make_chunks(PERIOD, segments, frame_bytes=9)


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Chunks of some segments by offset: each track in order, the tracks interleaved in any way within a few chunks."""
    chunks = encoded(draw(SEGMENTS))
    lanes = {name: [c for c in chunks if c.track == name] for name in ("v0", "v1", "a0")}
    order: list[Chunk] = []
    while any(lanes.values()):
        behind = min(lane[0].index for lane in lanes.values() if lane)
        name = draw(st.sampled_from([name for name, lane in lanes.items() if lane and lane[0].index <= behind + 3]))
        order.append(lanes[name].pop(0))
    return list(enumerate(order))


def cut(log: Iterable[tuple[int, Chunk]], *, from_msn: int = 0, tracks: frozenset[str] = TRACKS, end: int | None = None) -> list[Cut]:
    cutter = Cutter(PERIOD, Scope(tracks=tracks, from_msn=Msn(from_msn)), check=check_chunk)
    cuts = [one for offset, chunk in log for one in cutter.feed(chunk, offset=offset, durable_unix_ms=UnixMs(offset))]
    cuts += () if end is None else cutter.end(end)
    if end is not None:
        assert cutter.held_bytes == 0
    return cuts


def objects(cuts: Iterable[Cut]) -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    for one in cuts:
        if isinstance(one, CutPart | CutSegment):
            assert one.name not in made, "an object is cut once"
            made[one.name] = b"".join(one.pieces)
    return made


@given(logs())
def test_whatever_the_order_of_the_tracks_the_objects_are_the_same(log: Log) -> None:
    plain = sorted((chunk for _, chunk in log), key=lambda c: (c.index, sorted(TRACKS, reverse=True).index(c.track)))
    assert objects(cut(log)) == objects(cut(enumerate(plain)))
    assert not [one for one in cut(log) if isinstance(one, CutReject | CutFailed)]


@given(logs(), st.data())
def test_reading_from_any_segment_gives_the_same_cuts(log: Log, data: st.DataObject) -> None:
    msn = data.draw(st.integers(0, log[-1][1].msn))
    first = min(offset for offset, chunk in log if chunk.msn == msn)
    start = data.draw(st.integers(0, first))
    whole = [one for one in cut(log) if isinstance(one, CutPart | CutSegment) and one.msn >= msn]
    assert cut(log[start:], from_msn=msn) == whole


@given(logs(), st.data())
def test_reading_twice_changes_nothing(log: Log, data: st.DataObject) -> None:
    again = data.draw(st.integers(0, len(log) - 1))
    upto = data.draw(st.integers(again, len(log)))
    assert cut([*log[:upto], *log[again:]]) == cut(log)


@given(logs(), st.sampled_from(sorted(TRACKS)))
def test_a_slice_of_one_track_gets_what_the_whole_gives_it(log: Log, track: str) -> None:
    alone = [(offset, chunk if chunk.track == track else replace(chunk, payload=b"")) for offset, chunk in log]
    whole = [one for one in cut(log) if isinstance(one, CutPart | CutSegment) and one.track.track == track]
    assert cut(alone, tracks=frozenset({track})) == whole


@given(logs(), st.data())
def test_an_ended_period_has_its_parts_up_to_the_instant_and_no_others(log: Log, data: st.DataObject) -> None:
    upto = data.draw(st.integers(0, len(log)))
    reached = dict.fromkeys(TRACKS, 0)
    for _, chunk in log[:upto]:
        reached[chunk.track] += chunk.ends_part
    parts = min(reached.values())
    cuts = cut(log[:upto], end=parts)
    assert sum(isinstance(one, CutPart) for one in cuts) == parts * len(TRACKS)
    segments = [one for one in cuts if isinstance(one, CutSegment)]
    assert sum(segment.part_count for segment in segments) == parts * len(TRACKS)
    assert b"".join(p for s in segments for p in s.pieces).count(b"moof") == sum(len(o.pieces) for o in cuts if isinstance(o, CutPart))


def disturb(chunk: Chunk, how: str) -> Chunk:
    if how == "writer":
        return replace(chunk, life="writer-b", payload=chunk.payload + b"x")
    edits: dict[str, dict[str, Any]] = {
        "payload": {"payload": chunk.payload[:-3]},
        "start": {"start_ticks": chunk.start_ticks + 1},
        "part": {"part": chunk.part + 1},
        "gop": {"ends_gop": not chunk.ends_gop},
        "track": {"track": "v9"},
    }
    return replace(chunk, **edits[how])


@settings(max_examples=60)
@given(
    logs(), st.lists(st.tuples(st.integers(1, 200), st.sampled_from(["writer", "payload", "start", "part", "gop", "track"])), max_size=5)
)
def test_bad_chunks_between_good_ones_change_no_object(log: Log, noise: list[tuple[int, str]]) -> None:
    chunks = [chunk for _, chunk in log]
    for at, how in noise:
        place = at % len(chunks)
        # After the chunk it imitates: the first chunk of a GOP says whose it is.
        chunks.insert(place + 1, disturb(chunks[place], how))
    cuts = cut(enumerate(chunks))
    assert objects(cuts) == objects(cut(log))
    assert not [one for one in cuts if isinstance(one, CutFailed)]


@given(logs(), st.integers(0, 500))
def test_a_missing_chunk_costs_its_own_segment_alone(log: Log, at: int) -> None:
    offset, missing = log[at % len(log)]
    cuts = cut([entry for entry in log if entry[0] != offset])
    hurt = {(missing.track, missing.msn)}
    assert {(one.track.track, one.msn) for one in cuts if isinstance(one, CutFailed)} <= hurt
    whole = {one.name: one for one in cut(log) if isinstance(one, CutSegment) and (one.track.track, one.msn) not in hurt}
    last = max(chunk.msn for _, chunk in log)
    made = {one.name: one for one in cuts if isinstance(one, CutSegment)}
    assert made.keys() <= whole.keys()
    assert all(one.name in made for one in whole.values() if one.msn < last and missing.msn < last)
