"""
Cuts the stamped chunks of one period into parts and segments: pure, the same whoever cuts and wherever reading began.

What is cut depends on the chunks and their order in the log alone. A chunk that breaks a rule is handed back as a
`CutReject` and changes nothing, except that what follows a hole is lost until the next segment starts, in that track.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from sys import intern

from packager.cuts import Cut, CutFailed, CutPart, CutPicture, CutReject, CutSegment, Made, Told
from packager.digest import fingerprint
from packager.remembered import Print, Remembered
from packager.scope import Scope
from schemas.errors import RejectedError
from schemas.records import Chunk, Period, Track
from schemas.timeline import gop_start, part_number, part_start, picture_track, segment_span
from schemas.units import Msn, Ticks, UnixMs

__all__ = ["Check", "Cut", "CutFailed", "CutPart", "CutPicture", "CutReject", "CutSegment", "Cutter", "Made", "Scope", "Told"]

# GOPs whose writer, and chunks of a track whose bytes, are remembered to judge repeats: more than the longest segment has.
GOPS_REMEMBERED_MAX = 256
CHUNKS_REMEMBERED_MAX = 1_024

Check = Callable[[Chunk, Track], None]


Stamp = tuple[int, int, int]


@dataclass(slots=True)
class _Segment:
    """A segment of one track, from its first chunk until its last part is out."""

    msn: Msn
    end_gop: int
    start: Ticks
    ticks: Ticks
    first_part: int
    wanted: bool
    has_parts: bool
    is_pictured: bool
    head: bytes = b""  # the first chunk, if a picture is made of it
    size: int = 0
    parts: list[CutPart] = field(default_factory=list)
    is_lost: bool = False


@dataclass(slots=True)
class _Lane:
    """One track: how far it is, and what of it waits for the others."""

    track: Track
    in_step: bool = False  # else it joins at the next segment start
    next_index: int = 0
    next_ticks: int = 0
    next_part: int = 0
    reached: int = 0
    lost_msn: int = -1
    pieces: list[bytes] = field(default_factory=list)
    ticks: int = 0
    independent: bool = False
    filling: _Segment | None = None  # chunks go in
    leaving: _Segment | None = None  # parts go out
    waiting: deque[tuple[int, CutPart, _Segment]] = field(default_factory=deque)
    seen: Remembered = field(default_factory=partial(Remembered, CHUNKS_REMEMBERED_MAX))


class Cutter:
    """Parts and segments of one period of one channel, from its chunks in the order of the log."""

    def __init__(self, period: Period, scope: Scope, *, check: Check) -> None:
        """
        Args:
            period: Configuration of the period.
            scope: What is wanted; may be replaced at any time, for segments not yet begun.
            check: Raises RejectedError when the bytes of a chunk are not what its record says.
        """
        self.period = period
        self.scope = scope
        self.held_bytes = 0  # of segments not yet whole
        self.chunks_beyond = 0  # cut off by the end of the period
        self.is_ended = False
        self._check = check
        self._lanes = {track.track: _Lane(track) for track in period.tracks}
        self._writers: OrderedDict[int, tuple[str, Stamp]] = OrderedDict()
        self._next_offset = 0
        self._picture = picture_track(period)
        self._source = period.thumbnails.source if period.thumbnails else ""
        pictures = [self._picture.track] if self._picture else []
        self._next_msn = dict.fromkeys([*self._lanes, *pictures], max(scope.first_msn, period.first_msn))

    @property
    def next_msn(self) -> Msn:
        """The segment in hand: all before it are cut, or given up, in every track wanted."""
        # Of a slice whose tracks this period does not have, all of the period is done as it goes by.
        wanted = self.scope.all_tracks & self._next_msn.keys() or self._next_msn
        return max(self.scope.first_msn, min(self._next_msn[track] for track in wanted))

    def needs(self, header: Chunk) -> bool:
        """Whether the payload of a chunk is to be fed with it."""
        lane = self._lanes.get(header.track)
        if lane is None or self.is_ended:
            return False
        if lane.filling is not None and lane.filling.wanted:
            return True
        return self.scope.wants(header.track, header.msn) or self._is_pictured(header)

    def feed(self, chunk: Chunk, *, offset: int, durable_unix_ms: UnixMs) -> tuple[Cut, ...]:
        """
        What a chunk completes.

        Args:
            chunk: The next one by offset; its payload may be empty where the scope does not want it.
            offset: Its offset: one fed before changes nothing.
            durable_unix_ms: Broker time at which it became durable.
        """
        if offset < self._next_offset:
            return ()
        self._next_offset = offset + 1
        cuts: list[Cut] = []
        try:
            if self._admit(chunk, durable_unix_ms, cuts):
                self._take(chunk, durable_unix_ms)
                cuts += self._release(self._floor())
        except RejectedError as error:
            cuts.append(CutReject(error=str(error)))
        return tuple(cuts)

    def end(self, parts_reached: int = 0) -> tuple[Cut, ...]:
        """
        What the end of the period completes: the open segment ends at the last instant that every track reached.

        Args:
            parts_reached: That instant in parts from the period's start, as the mark says.
        """
        if self.is_ended:
            return ()
        self.is_ended = True
        until = max(self._floor(), parts_reached)
        cuts = self._release(until)
        for lane in self._lanes.values():
            self.chunks_beyond += sum(len(part.pieces) for _, part, _ in lane.waiting) + len(lane.pieces)
            if lane.leaving:
                whole = lane.leaving.first_part + len(lane.leaving.parts) >= until
                cuts += self._finish(lane, lane.leaving) if whole else self._lose(lane, lane.leaving, "its end is not in the log")
            lane.pieces.clear()
            lane.waiting.clear()
            lane.filling = lane.leaving = None  # with the bytes that they hold, which nobody counts any more
        self.held_bytes = 0
        return tuple(cuts)

    def _admit(self, chunk: Chunk, durable_unix_ms: UnixMs, cuts: list[Cut]) -> bool:
        """Whether the chunk is to be taken; adds what is lost by a hole before it."""
        lane = self._lanes.get(chunk.track)
        if lane is None:
            raise RejectedError(f"track {chunk.track} is not one of period {chunk.period} of {chunk.channel}")
        if chunk.index < lane.next_index:
            # Media rule 9: the same chunk once more, of whichever writer, is harmless.
            if _is_same(lane.seen.get(chunk.index), _fingerprint(chunk)):
                return False
            raise RejectedError(f"chunk {chunk.index} of {chunk.track} comes again with other content: {lane.next_index} is next")
        if self.is_ended:
            raise RejectedError(f"period {chunk.period} of {chunk.channel} has ended before this chunk")
        self._own(chunk)
        if chunk.msn < self.scope.first_msn and not lane.in_step:
            return False
        if not (lane.in_step and chunk.index == lane.next_index) and not self._joins(lane, chunk, durable_unix_ms, cuts):
            return False
        self._place(lane, chunk)
        if lane.filling.wanted if lane.filling else self.scope.wants(chunk.track, chunk.msn) or self._is_pictured(chunk):
            self._check(chunk, lane.track)
        return True

    def _is_pictured(self, chunk: Chunk) -> bool:
        """Whether a picture is to be made of a chunk: the first of its segment."""
        if not self._wants_picture(chunk):
            return False
        is_first = chunk.gop == chunk.first_gop and chunk.part == 0
        return is_first and chunk.start_ticks == gop_start(self.period, self._lanes[chunk.track].track, chunk.gop)

    def _own(self, chunk: Chunk) -> None:
        """Media rule 9: a GOP and its stamp belong, in all tracks, to the writer of its first chunk by offset."""
        stamp = (chunk.msn, chunk.first_gop, chunk.gop_count)
        writer = self._writers.get(chunk.gop)
        if writer and writer[0] != chunk.life:
            raise RejectedError(f"GOP {chunk.gop} belongs to writer {writer[0]}, this chunk is of {chunk.life}")
        held = writer[1] if writer else self._expected_stamp(chunk.gop, stamp)
        if stamp != held:
            raise RejectedError(f"stamp {stamp} of GOP {chunk.gop} contradicts the log, which gives it {held} (segment, first GOP, GOPs)")
        if writer is None:
            self._writers[chunk.gop] = (intern(chunk.life), held)  # the same objects for all GOPs that have the same
            if len(self._writers) > GOPS_REMEMBERED_MAX:
                self._writers.popitem(last=False)

    def _expected_stamp(self, gop: int, stamp: Stamp) -> Stamp:
        """The stamp that the GOP before leaves to this one: its own, or the next segment of any length."""
        before = self._writers.get(gop - 1)
        if before is None:
            return stamp
        msn, first, count = before[1]
        return before[1] if gop < first + count else (msn + 1, gop, stamp[2])

    def _joins(self, lane: _Lane, chunk: Chunk, durable_unix_ms: UnixMs, cuts: list[Cut]) -> bool:
        """Whether a chunk that does not follow the last one of its track starts a segment; else that segment is lost."""
        starts = chunk.gop == chunk.first_gop and chunk.part == 0 and chunk.start_ticks == gop_start(self.period, lane.track, chunk.gop)
        if lane.in_step:
            hole = f"chunks {lane.next_index} to {chunk.index - 1} of {chunk.track} are missing"
            if not starts:
                cuts.append(CutReject(error=hole))
            if lane.filling:
                cuts += self._lose(lane, lane.filling, hole, durable_unix_ms)
            lane.in_step, lane.filling, lane.ticks, lane.independent = False, None, 0, False
            lane.pieces.clear()
        if not starts and chunk.msn > lane.lost_msn:
            cuts += self._lose(lane, self._opened(lane, chunk), "its beginning is not in the log", durable_unix_ms)
        return starts

    def _place(self, lane: _Lane, chunk: Chunk) -> None:
        """
        Nothing, if the chunk lies where the grid of the period says.

        Raises:
            RejectedError: It does not.
        """
        number, end = part_number(self.period, chunk), chunk.start_ticks + chunk.duration_ticks
        if lane.in_step and chunk.start_ticks != lane.next_ticks:
            raise RejectedError(f"chunk starts at tick {chunk.start_ticks}, the one before it ends at {lane.next_ticks}")
        if chunk.part >= len(self.period.grid) or (lane.in_step and number != lane.next_part):
            raise RejectedError(f"chunk is of part {chunk.part} of GOP {chunk.gop}: not the next of the grid")
        limit = part_start(self.period, lane.track, number + 1)
        if end > limit or chunk.ends_part != (end == limit):
            raise RejectedError(f"chunk ends at tick {end} and its part at {limit}: it must end there if and only if it says so")
        if chunk.ends_gop != (chunk.ends_part and chunk.part == len(self.period.grid) - 1):
            raise RejectedError("chunk says wrongly whether its GOP ends")
        if lane.filling is None and not chunk.independent:
            raise RejectedError("a segment must start with a sync sample")

    def _wants_picture(self, chunk: Chunk) -> bool:
        """Whether a picture is to be made of a chunk's segment."""
        return chunk.track == self._source and self._picture is not None and self.scope.wants(self._picture.track, chunk.msn)

    def _take(self, chunk: Chunk, durable_unix_ms: UnixMs) -> None:
        lane, number = self._lanes[chunk.track], part_number(self.period, chunk)
        if lane.filling is None:
            lane.filling = self._opened(lane, chunk)
            lane.filling.head = chunk.payload if lane.filling.is_pictured else b""
        segment = lane.filling
        lane.in_step = True
        lane.next_index = chunk.index + 1
        lane.next_ticks = chunk.start_ticks + chunk.duration_ticks
        lane.next_part = number + chunk.ends_part
        lane.reached = max(lane.reached, lane.next_part)
        lane.seen.put(chunk.index, _fingerprint(chunk))
        if segment.wanted:
            lane.pieces.append(chunk.payload)
        if segment.wanted or segment.head is chunk.payload:
            segment.size += len(chunk.payload)
            self.held_bytes += len(chunk.payload)
        lane.ticks += chunk.duration_ticks
        lane.independent |= chunk.independent
        if chunk.ends_part:
            part = CutPart(
                period=self.period,
                track=lane.track,
                msn=segment.msn,
                index=number - segment.first_part,
                segment_start_ticks=segment.start,
                segment_ticks=segment.ticks,
                start_ticks=Ticks(lane.next_ticks - lane.ticks),
                duration_ticks=Ticks(lane.ticks),
                independent=lane.independent,
                durable_unix_ms=durable_unix_ms,
                pieces=tuple(lane.pieces),
            )
            lane.waiting.append((number, part, segment))
            lane.pieces.clear()
            lane.ticks, lane.independent = 0, False
        if chunk.ends_gop and chunk.gop + 1 == segment.end_gop:
            lane.filling = None

    def _floor(self) -> int:
        """Parts, from the period's start, that every track reached."""
        return min(lane.reached for lane in self._lanes.values())

    def _release(self, until: int) -> list[Cut]:
        """Parts before this one that waited for the other tracks, and the segments they complete: in order of time, then of tracks."""
        due: list[tuple[int, int, _Lane, CutPart, _Segment]] = []
        for order, lane in enumerate(self._lanes.values()):
            while lane.waiting and lane.waiting[0][0] < until:
                number, part, segment = lane.waiting.popleft()
                due.append((number, order, lane, part, segment))
        cuts: list[Cut] = []
        for number, _, lane, part, segment in sorted(due, key=lambda item: item[:2]):
            if segment.is_lost:
                continue
            lane.leaving = segment
            segment.parts.append(part)
            if segment.wanted and segment.has_parts:
                cuts.append(part)
            if segment.is_pictured and len(segment.parts) == 1:
                cuts += self._pictured(segment, part)
            if number + 1 == segment.end_gop * len(self.period.grid):
                cuts += self._finish(lane, segment)
        return cuts

    def _opened(self, lane: _Lane, chunk: Chunk) -> _Segment:
        start, ticks = segment_span(self.period, lane.track, chunk.first_gop, chunk.gop_count)
        return _Segment(
            msn=chunk.msn,
            end_gop=chunk.first_gop + chunk.gop_count,
            start=start,
            ticks=ticks,
            first_part=chunk.first_gop * len(self.period.grid),
            wanted=self.scope.wants(chunk.track, chunk.msn),
            has_parts=self.scope.wants_parts(chunk.msn),
            is_pictured=self._wants_picture(chunk),
        )

    def _pictured(self, segment: _Segment, part: CutPart) -> list[Cut]:
        assert self._picture is not None  # noqa: S101
        self._done(self._picture.track, segment.msn)
        return [
            CutPicture(
                period=self.period,
                track=self._picture,
                msn=segment.msn,
                start_ticks=segment.start,
                duration_ticks=segment.ticks,
                durable_unix_ms=part.durable_unix_ms,
                pieces=(segment.head,),
            )
        ]

    def _finish(self, lane: _Lane, segment: _Segment) -> list[Cut]:
        self._leave(lane, segment)
        if not segment.wanted:
            return []
        last = segment.parts[-1]
        return [
            CutSegment(
                period=self.period,
                track=lane.track,
                msn=segment.msn,
                start_ticks=segment.start,
                duration_ticks=Ticks(last.start_ticks + last.duration_ticks - segment.start),
                part_count=len(segment.parts),
                durable_unix_ms=last.durable_unix_ms,
                pieces=tuple(piece for part in segment.parts for piece in part.pieces),
            )
        ]

    def _lose(self, lane: _Lane, segment: _Segment, error: str, durable_unix_ms: UnixMs | None = None) -> list[Cut]:
        self._leave(lane, segment)
        segment.is_lost = True
        lane.lost_msn = max(lane.lost_msn, segment.msn)
        lost = [lane.track] if segment.wanted else []
        if self._picture and segment.is_pictured and not segment.parts:
            lost.append(self._picture)
        return [
            CutFailed(
                period=self.period,
                track=track,
                msn=segment.msn,
                start_ticks=segment.start,
                duration_ticks=segment.ticks,
                durable_unix_ms=segment.parts[-1].durable_unix_ms if durable_unix_ms is None else durable_unix_ms,
                error=error,
            )
            for track in lost
        ]

    def _leave(self, lane: _Lane, segment: _Segment) -> None:
        """The segment is done with, whatever became of it."""
        if lane.leaving is segment:
            lane.leaving = None
        self.held_bytes -= segment.size
        self._done(lane.track.track, segment.msn)
        if self._picture and lane.track.track == self._source:
            self._done(self._picture.track, segment.msn)

    def _done(self, track: str, msn: Msn) -> None:
        self._next_msn[track] = max(self._next_msn[track], Msn(msn + 1))


def _fingerprint(chunk: Chunk) -> Print:
    """What tells a chunk from another of the same index."""
    return (chunk.msn, chunk.start_ticks, chunk.duration_ticks, len(chunk.payload), fingerprint(chunk.payload))


def _is_same(held: Print | None, now: Print) -> bool:
    """Whether two fingerprints are of the same chunk; of one that was not needed the payload is not known."""
    return held is not None and held[:3] == now[:3] and (held[3:] == now[3:] or not (held[3] and now[3]))
