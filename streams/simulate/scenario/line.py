"""One channel while it runs: what of it is wanted, what is made, how late, and where its gap-free end is."""

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from schemas.records import Level
from streams.simulate.scenario.casting import Part
from streams.simulate.scenario.pool import NEAR, Piece, gop_ms
from streams.simulate.scenario.timeline import Timeline


class Made(NamedTuple):
    """
    Segments that were made or given up within a span.

    Attributes:
        msn: The first.
        segments: So many, one after the other.
        at_ms: When it could be fetched, with all before it; of several that were in time: meaningless.
        late_ms: After its end, or after it was asked for.
        is_back: Whether it was made only since somebody came: it lies before the start.
        is_void: Whether it was declared lost.
    """

    msn: int
    segments: int
    at_ms: float
    late_ms: float
    is_back: bool = False
    is_void: bool = False


@dataclass(slots=True)
class Wanted:
    """
    A stretch that is packaged.

    Attributes:
        from_msn: First segment.
        until_msn: First one no longer wanted; infinite: none is known.
        since_ms: When it was asked for.
    """

    from_msn: int
    until_msn: float
    since_ms: float


@dataclass(slots=True, eq=False)
class Line:
    """
    The runtime of a channel.

    Attributes:
        number: Its number.
        part: What it plays.
        timeline: Where its segments lie.
        level: What is packaged.
        level_from_ms: From which media time on.
        pieces: Slices in force, by key.
        wanted: Stretches packaged, the newest last.
        next_msn: Everything wanted before is made.
        edge_ms: Media time up to which it can be fetched without a gap, as far as anything was late.
        has_trouble: Whether segments are accounted one by one.
        begun: Whether it went live.
        end_msn: First segment that will never come; infinite while it is live.
        there_ms: Since when viewers can join; infinite: they cannot.
        stalled: Whether viewers of each class stall.
        caught_ms: When it was last seen to reach the live edge again, after it had been behind.
        lags: Times within the newest span and how far behind the live edge its gap-free end was; empty if it was not.
        ends_with: First segment behind those open when its end came; 0: it goes on.
    """

    number: int
    part: Part
    timeline: Timeline
    level: Level = Level.OFF
    level_from_ms: float = 0.0
    pieces: dict[str, Piece] = field(default_factory=dict)
    wanted: list[Wanted] = field(default_factory=list)
    next_msn: int = 0
    edge_ms: float = 0.0
    has_trouble: bool = True
    begun: bool = False
    end_msn: float = inf
    there_ms: float = inf
    stalled: list[bool] = field(default_factory=lambda: [False] * 3)
    caught_ms: float = 0.0
    lags: list[tuple[float, float]] = field(default_factory=list)
    ends_with: int = 0
    _tracks: dict[int, dict[str, float]] = field(default_factory=dict)
    _voids: set[int] = field(default_factory=set)

    @property
    def tracks(self) -> int:
        """Tracks that make it whole."""
        return len(self.part.period.tracks)

    @property
    def is_on(self) -> bool:
        """Whether anything is or is to be packaged."""
        return self.level is not Level.OFF

    @property
    def is_open(self) -> bool:
        """Whether something of it is still to come or to be made."""
        return bool(self.wanted) and self.next_msn < min(self.wanted[-1].until_msn, self.end_msn)

    def start(self, from_msn: int, level: Level, now_ms: float) -> None:
        """It is packaged from a segment on; what was made before counts."""
        if self.wanted and self.wanted[-1].until_msn == inf:
            self.wanted[-1].until_msn = max(from_msn, self.next_msn)
        self.wanted = [w for w in self.wanted if self.next_msn < w.until_msn]
        self.wanted.append(Wanted(max(from_msn, self.next_msn if self.wanted else 0), inf, now_ms))
        if len(self.wanted) == 1:
            self.next_msn = max(self.next_msn, from_msn)
            self.edge_ms = max(self.edge_ms, self.timeline.start(self.next_msn))
            self.has_trouble, self.there_ms = True, inf
        self.level, self.level_from_ms = level, self.timeline.start(from_msn)

    def change(self, level: Level, from_msn: int, now_ms: float) -> None:
        """A level holds from a segment on."""
        if level is not self.level:
            self.level, self.level_from_ms = level, max(now_ms, self.timeline.start(from_msn))

    def stop(self, from_msn: int) -> None:
        """It is no longer packaged from a segment on: nobody joins any more."""
        if self.wanted:
            self.wanted[-1].until_msn = max(from_msn, self.wanted[-1].from_msn)
        self.level, self.there_ms = Level.OFF, inf

    def void(self, msn: int, track: str, at_ms: float) -> None:
        """A track of a segment is declared lost."""
        if msn >= self.next_msn:
            self._tracks.setdefault(msn, {}).setdefault(track, at_ms)
            self._voids.add(msn)
            self.has_trouble = True

    # ------------------------------------------------------------ accounting

    def account(self, start_ms: float, end_ms: float) -> list[Made]:
        """Segments made within a span that packagers have served."""
        self.lags = []
        if not self.is_open:
            self._tracks.clear()
            if self.end_msn < inf:
                self.level = Level.OFF
            return []
        if not self.has_trouble and self._is_smooth():
            until = int(min(self.timeline.open_at(end_ms), self.wanted[-1].until_msn, self.end_msn))
            count, first = until - self.next_msn, self.next_msn
            self.next_msn, self.edge_ms = max(until, first), end_ms
            if count > 0:
                self._note(first, self.timeline.end(first))
            return [Made(first, count, end_ms, 0.0)] if count > 0 else []
        self.has_trouble = True
        for piece in self.pieces.values():
            self._take(piece, start_ms, end_ms)
        made = self._finished()
        self.lags = self._lags(start_ms, end_ms)
        if not self._tracks and self._is_caught_up(end_ms):
            self.has_trouble, self.edge_ms, self.stalled = False, end_ms, [False] * 3
        return made

    def _needed(self) -> list[Piece]:
        """Slices whose segments are still to come for those who watch; what was given up is made for the recording alone."""
        return [p for p in self.pieces.values() if p.given.until_msn is None or p.given.until_msn > self.next_msn]

    def _is_smooth(self) -> bool:
        """Whether every track is in hands that follow the live edge."""
        pieces = self._needed()
        smooth = {track for piece in pieces if not piece.path for track in piece.given.tracks}
        units: dict[str, bool] = {}
        for piece in pieces:
            units[piece.given.slice_id] = units.get(piece.given.slice_id, False) or not piece.path or piece.is_done
        return len(smooth) >= self.tracks and all(units.values())

    def _is_caught_up(self, at_ms: float) -> bool:
        units: dict[str, bool] = {}
        pieces = self._needed()
        for piece in pieces:
            is_near = piece.is_done or (piece.done_ms >= at_ms - NEAR and piece.ready_ms <= at_ms)
            units[piece.given.slice_id] = units.get(piece.given.slice_id, False) or is_near
        covered = {track for piece in pieces if not piece.is_done for track in piece.given.tracks}
        last = min(self.timeline.open_at(at_ms), self.wanted[-1].until_msn, self.end_msn)
        return len(covered) >= self.tracks and all(units.values()) and self.next_msn >= last

    def _take(self, piece: Piece, start_ms: float, end_ms: float) -> None:
        """Segments that a piece came to the end of."""
        path = piece.path or [(start_ms, start_ms), (end_ms, min(end_ms, piece.limit_ms))]
        before, after = path[0][1], path[-1][1]
        for msn in range(max(self.next_msn, self.timeline.open_at(before + NEAR)), self.timeline.open_at(after + NEAR)):
            if piece.owns(msn):
                ends = self.timeline.end(msn)
                at = piece.reached(ends) if piece.path else ends
                tracks = self._tracks.setdefault(msn, {})
                for track in piece.given.tracks:
                    tracks[track] = min(at, tracks.get(track, inf))

    def _finished(self) -> list[Made]:
        made = []
        while True:
            wanted = next((w for w in self.wanted if self.next_msn < w.until_msn), None)
            if wanted is None:
                break
            self.next_msn = max(self.next_msn, wanted.from_msn)
            tracks = self._tracks.get(self.next_msn)
            if tracks is None or len(tracks) < self.tracks:
                break
            ends, at = self.timeline.end(self.next_msn), max(tracks.values())
            is_back = ends <= wanted.since_ms
            late = max(0.0, at - max(ends, wanted.since_ms))
            made.append(Made(self.next_msn, 1, at, late, is_back, self.next_msn in self._voids))
            self._voids.discard(self.next_msn)
            self._note(self.next_msn, at)
            self.next_msn += 1
        self._tracks = {msn: tracks for msn, tracks in self._tracks.items() if msn >= self.next_msn}
        return made

    def _note(self, msn: int, at_ms: float) -> None:
        """A segment is there: with the last one that had ended when it was asked for, the channel is."""
        if self.there_ms == inf and self.is_on and self.timeline.end(msn + 1) > self.wanted[-1].since_ms:
            self.there_ms = at_ms

    def unmade(self, before_ms: float) -> int:
        """Segments wanted that ended before an instant and are not made."""
        opened = min(self.timeline.open_at(before_ms), self.end_msn)
        return sum(max(0, int(min(w.until_msn, opened)) - max(w.from_msn, self.next_msn)) for w in self.wanted)

    def _lags(self, start_ms: float, end_ms: float) -> list[tuple[float, float]]:
        """Times within a span and how far behind the live edge the gap-free end was; moves that end on."""
        pieces = self._needed()
        times = sorted({end_ms, *(at for piece in pieces for at, _ in piece.path)})
        if self.next_msn:
            self.edge_ms = max(self.edge_ms, self.timeline.start(self.next_msn))
        last = min(self.wanted[-1].until_msn, self.end_msn)
        ends = self.timeline.start(int(last)) if last < inf else inf
        said = []
        for at in times:
            if at < start_ms:
                continue
            units: dict[str, float] = {}
            covered: set[str] = set()
            for piece in pieces:
                if piece.limit_ms <= self.edge_ms + NEAR:
                    continue
                covered.update(piece.given.tracks)
                done = piece.done_at(at) if piece.path else max(at, piece.done_ms)
                units[piece.given.slice_id] = max(done, units.get(piece.given.slice_id, 0.0))
            if len(covered) >= self.tracks:
                self.edge_ms = max(self.edge_ms, min(at, *units.values()))
            lag = max(0.0, min(at, ends) - self.edge_ms)
            self.caught_ms = inf if lag > NEAR else min(self.caught_ms, at)
            said.append((at, lag))
        return said

    @property
    def gop_ms(self) -> float:
        """Length of a GOP."""
        return gop_ms(self.part)
