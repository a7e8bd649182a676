"""
What of a channel can be watched: a fold of the ``channels``, ``parts`` and ``reports`` topics.

It is a function of facts, not of a clock, and does not depend on how the topics interleave: any number of origins come to the
same presentation (design law 4). A segment is listed once all tracks of its period are published or void, gap-free from the last
start; what is listed is never edited (media rule 3). Whoever did not read the topics from their beginnings begins with the oldest
segment of which it cannot have missed anything: only how far back it reaches differs.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from packager.manifest.known import ALL, Known, Reading
from packager.manifest.levels import Levels
from packager.manifest.pictures import Pictures
from packager.manifest.view import Segment, TrackSegment, View
from schemas.records import Action, Level, Outcome, Packaging, Part, Period, PeriodEnd, Reason, SegmentReport, Void
from schemas.timeline import PART_SUFFIX, object_name
from schemas.units import Ms, Msn, UnixMs, ms_from_ticks

__all__ = ["PART_TARGETS", "Presentation", "Segment", "TrackSegment", "View"]

# Segments are at least a quarter of the target long (media section 4), so this bounds what is remembered of a channel that is off.
SEGMENTS_PER_TARGET_MAX = 4
# Parts are listed near the edge only (media rule 18), and nobody waits longer for announcements of parts that do not come.
PART_TARGETS = 3


class _Fact(NamedTuple):
    period: int
    segment: TrackSegment


class Presentation:
    """The fold of one channel. Memory is bounded by its time shift buffer."""

    def __init__(self, channel: str, reading: Reading = ALL) -> None:
        """
        Args:
            channel: Channel id.
            reading: What of `parts` and `reports` is read.
        """
        self.channel = channel
        self.periods: dict[int, Period] = {}
        self._known = Known(reading)
        self._levels = Levels()
        self._ends: dict[int, PeriodEnd] = {}
        self._packaging: Packaging | None = None
        self._decision = -1
        self._facts: dict[int, dict[str, _Fact]] = {}
        self._parts: dict[int, dict[str, dict[int, Part]]] = {}
        self._pictures = Pictures()
        self._segments: deque[Segment] = deque()
        self._next: int | None = None
        self._view: View | None = None
        self._concluded: View | None = None
        self._is_stale = True

    # ------------------------------------------------------------ facts

    def add_period(self, period: Period, at: UnixMs) -> None:
        """A period's configuration, and when it was appended; the first one stands."""
        self._known.hear_period(period, at)
        if self.periods.setdefault(period.period, period) is period and period.thumbnails:
            self._sort_out(period.period, period.thumbnails.track)
        self._is_stale = True

    def _sort_out(self, period: int, picture: str) -> None:
        """Which of the facts that came before their period are thumbnails, is known now."""
        for msn in sorted(self._facts):
            fact = self._facts[msn].get(picture)
            if fact is not None and fact.period == period:
                del self._facts[msn][picture]
                self._pictures.add(msn, fact.segment)

    def add_end(self, end: PeriodEnd) -> None:
        """How a period ended."""
        self._ends.setdefault(end.period, end)
        self._is_stale = True

    def forget(self, period: int, *, is_end: bool) -> None:
        """A record of ``channels`` was deleted."""
        (self._ends if is_end else self.periods).pop(period, None)
        if self._concluded is not None and self._concluded.period.period == period:
            self._concluded = None
        self._is_stale = True

    def add_part(self, part: Part) -> bool:
        """A part that can be fetched; false if it was known or lies behind what is listed."""
        self._known.hear_part(part)
        if self._next is not None and part.msn < self._next:
            return False
        known = self._parts.setdefault(part.msn, {}).setdefault(part.track, {})
        if part.index in known:
            return False
        known[part.index] = part
        self._is_stale = True
        return True

    def add_report(self, report: SegmentReport) -> None:
        """What became of a segment; a failure is the planner's business."""
        if report.outcome is Outcome.PUBLISHED:
            self._known.hear_report(report)
            segment = TrackSegment(report.start_ticks, report.duration_ticks, report.size, is_void=False)
            self._add_fact(report.msn, report.track, _Fact(report.period, segment))

    def add_void(self, void: Void) -> None:
        """A segment is declared lost, unless it was published before."""
        segment = TrackSegment(void.start_ticks, void.duration_ticks, 0, is_void=True)
        self._add_fact(void.msn, void.track, _Fact(void.period, segment))

    def _add_fact(self, msn: int, track: str, fact: _Fact) -> None:
        period = self.periods.get(fact.period)
        if period is not None and period.thumbnails is not None and period.thumbnails.track == track:
            self._is_stale |= self._pictures.add(msn, fact.segment)
        elif self._next is None or msn >= self._next:
            self._facts.setdefault(msn, {}).setdefault(track, fact)
            self._is_stale = True

    def add_packaging(self, packaging: Packaging) -> None:
        """A start or stop; the highest decision counts. The stop of a channel that ended leaves its last playlists up."""
        if packaging.decision <= self._decision:
            return
        self._decision = packaging.decision
        if packaging.reason is Reason.CHANNEL_ENDED:
            return
        self._levels.hear(packaging, self._was_reported)
        if packaging.action is Action.START:
            self._known.hear_start(packaging)
        continues = packaging.action is Action.START and self._next is not None and packaging.from_msn <= self._next
        if not continues:
            self._unlist()
        self._packaging = packaging
        self._is_stale = True

    def _unlist(self) -> None:
        """Ends the run; what was published counts again when it begins anew."""
        for segment in self._segments:
            self._facts[segment.msn] = {track: _Fact(segment.period.period, made) for track, made in segment.tracks.items()}
            self._parts[segment.msn] = {track: {p.index: p for p in made.parts} for track, made in segment.tracks.items()}
        self._segments.clear()
        self._next = None

    # ------------------------------------------------------------ the run of segments

    @property
    def level(self) -> Level:
        """What is packaged."""
        if self._packaging is None or self._packaging.action is Action.STOP:
            return Level.OFF
        return self._packaging.level

    @property
    def is_over(self) -> bool:
        """Whether the channel ended and is not shown any more."""
        end = self._ends.get(max(self.periods, default=-1))
        return self.level is Level.OFF and end is not None and end.channel_ended

    def view(self) -> View | None:
        """The presentation as it stands; None while there is nothing to show."""
        if self._is_stale:
            self._advance()
            self._view = self._build()
            if self._view is None:
                self._next = None  # until something is shown, what comes may still let it begin earlier
            self._trim()
            self._is_stale = False
        return self._view

    def concluded(self) -> View | None:
        """The channel as it stood when it ended last, though it has come back since; None if it never did, or was not shown then."""
        view = self.view()
        return view if view is not None and view.is_ended else self._concluded

    def _advance(self) -> None:
        if self.level is not Level.OFF and self._next is None:
            self._next = self._first()
        while self._next is not None and (segment := self._finished(self._next)) is not None:
            self._segments.append(segment)
            self._facts.pop(self._next, None)
            self._parts.pop(self._next, None)
            self._next += 1
        self._conclude()
        _within_buffer(self._segments)

    def _conclude(self) -> None:
        """Keeps what is listed of a channel that ended and came back before its last segments were reported."""
        known = -1 if self._concluded is None else self._concluded.period.period
        for number, end in sorted(self._ends.items()):
            is_new = end.channel_ended and known < number < max(self.periods, default=-1) and number in self.periods
            if is_new and self._next is not None and self._next >= end.next_msn:
                listed = _within_buffer(deque(segment for segment in self._segments if segment.msn < end.next_msn))
                if listed and listed[-1].msn == end.next_msn - 1:
                    period = self.periods[number]
                    self._concluded = View(
                        channel=self.channel, period=period, level=self.level, segments=tuple(listed), open_msn=end.next_msn,
                        open_period=period, open_parts={}, hints={}, is_ended=True,
                    )  # fmt: skip

    def _first(self) -> int | None:
        """
        Where the run begins: at the start's number, or at the oldest segment that nothing can be missing of. One before it may be whole
        by what was heard, and yet have been declared lost before: others list it as a gap.
        """
        assert self._packaging is not None  # noqa: S101
        if self._known.from_msn is None:
            return None
        return max(self._packaging.from_msn, self._known.from_msn)

    def _period_of(self, msn: int) -> Period | None:
        for fact in self._facts.get(msn, {}).values():
            return self.periods.get(fact.period)
        for parts in self._parts.get(msn, {}).values():
            for part in parts.values():
                return self.periods.get(part.period)
        return None

    def _end_ms(self, msn: int) -> int | None:
        period = self._period_of(msn)
        if period is None:
            return None
        scales = {track.track: track.timescale for track in period.tracks}
        spans = ((scales[track], fact.segment) for track, fact in self._facts[msn].items() if track in scales)
        return max((ms_from_ticks(s.start_ticks + s.duration_ticks, scale) for scale, s in spans), default=None)

    def _was_reported(self, msn: int) -> bool:
        if self._next is not None and msn < self._next:
            return True
        period = self._period_of(msn)
        return period is not None and self._is_reported(msn, period)

    def _is_reported(self, msn: int, period: Period) -> bool:
        facts = self._facts.get(msn, {})
        return all(track.track in facts for track in period.tracks)

    def _finished(self, msn: int) -> Segment | None:
        period = self._period_of(msn)
        if period is None or not self._is_reported(msn, period):
            return None
        facts = self._facts[msn]
        tracks = {t.track: self._with_parts(msn, t.track, facts[t.track].segment) for t in period.tracks}
        first = tracks[period.tracks[0].track]
        timescale = period.tracks[0].timescale
        end_ms = ms_from_ticks(first.start_ticks + first.duration_ticks, timescale)
        lacks_parts = self._levels.has_parts(msn) and not all(track.parts or track.is_void for track in tracks.values())
        if lacks_parts and not self._is_far_behind(end_ms + PART_TARGETS * period.target_duration_ms):
            return None
        start_ms = ms_from_ticks(first.start_ticks, timescale)
        last = self._segments[-1] if self._segments else None
        run_msn, run_ms = period.first_msn, Ms(period.anchor_unix_ms - period.zero_unix_ms)
        if last is not None and last.period.period == period.period:
            run_msn, run_ms = (Msn(msn), start_ms) if last.is_void else (last.run_msn, last.run_ms)
        return Segment(msn=Msn(msn), period=period, start_ms=start_ms, end_ms=end_ms, run_msn=run_msn, run_ms=run_ms, tracks=tracks)

    def _is_far_behind(self, instant_ms: int) -> bool:
        """Whether something is reported beyond an instant: announcements of parts before it are not waited for any longer."""
        return any((self._end_ms(msn) or 0) >= instant_ms for msn in self._facts)

    def _with_parts(self, msn: int, track: str, segment: TrackSegment) -> TrackSegment:
        parts = tuple(self._run(msn, track)) if self._levels.has_parts(msn) else ()
        if segment.is_void or sum(part.duration_ticks for part in parts) != segment.duration_ticks:
            return segment
        return segment._replace(parts=parts)

    def _run(self, msn: int, track: str) -> Iterator[Part]:
        parts = self._parts.get(msn, {}).get(track, {})
        for index in range(len(parts)):
            if index not in parts:
                return
            yield parts[index]

    def _trim(self) -> None:
        """Drops what is remembered of what is listed, or lies a whole time shift buffer behind the newest."""
        if self._next is not None:
            floor = self._next
        elif self.periods:
            newest = self.periods[max(self.periods)]
            targets = -(-newest.time_shift_ms // newest.target_duration_ms) + PART_TARGETS
            floor = max((*self._facts, *self._parts), default=0) - targets * SEGMENTS_PER_TARGET_MAX
        else:
            return
        for facts in (self._facts, self._parts):
            for msn in [msn for msn in facts if msn < floor]:
                del facts[msn]
        listed = self._segments[0].msn if self._segments else floor
        self._pictures.trim(listed)
        self._levels.trim(listed)

    # ------------------------------------------------------------ the view

    def _build(self) -> View | None:
        if self._next is None:
            return None
        open_period = self._period_of(self._next)
        last = self._segments[-1] if self._segments else None
        if open_period is None:
            open_period = last.period if last else None
        if open_period is None:
            return None
        open_parts = self._open_parts(open_period)
        if last is None and not any(open_parts.values()):
            return None
        is_ended = self._is_ended()
        has_parts = self._levels.has_parts(self._next)
        hints = {} if is_ended or not has_parts else dict(self._hints(open_period, open_parts, last))
        return View(
            channel=self.channel,
            period=self.periods.get(max(self.periods, default=-1), open_period),
            level=self.level,
            segments=tuple(self._segments),
            open_msn=Msn(self._next),
            open_period=open_period,
            open_parts=open_parts,
            hints=hints,
            is_ended=is_ended,
            has_parts=has_parts,
            pictures=self._pictures.of(self._segments),
        )

    def _open_parts(self, period: Period) -> dict[str, tuple[Part, ...]]:
        assert self._next is not None  # noqa: S101
        if not self._levels.has_parts(self._next):
            return {}
        facts = self._facts.get(self._next, {})
        live = [t.track for t in period.tracks if not (t.track in facts and facts[t.track].segment.is_void)]
        runs = {track: tuple(part for part in self._run(self._next, track) if part.period == period.period) for track in live}
        count = min(map(len, runs.values()), default=0)
        return {track: run[:count] for track, run in runs.items()}

    def _hints(self, period: Period, open_parts: Mapping[str, tuple[Part, ...]], last: Segment | None) -> Iterator[tuple[str, str]]:
        following = self._following(period) if not any(open_parts.values()) else None
        if following is not None:
            for track in following.tracks:
                yield track.track, object_name(self.channel, following.period, track.track, track.start_ticks, PART_SUFFIX)
            return
        for track in period.tracks:
            parts = open_parts.get(track.track)
            before = last.tracks.get(track.track) if last is not None and last.period.period == period.period else None
            if parts:
                ticks = parts[-1].start_ticks + parts[-1].duration_ticks
            elif before:
                ticks = before.start_ticks + before.duration_ticks
            else:
                ticks = track.start_ticks
            yield track.track, object_name(self.channel, period.period, track.track, ticks, PART_SUFFIX)

    def _following(self, period: Period) -> Period | None:
        """The period that the next part belongs to, if everything of the given one is listed."""
        end = self._ends.get(period.period)
        if end is None or self._next is None or self._next < end.next_msn or self._period_of(self._next) is not None:
            return None
        return self.periods.get(period.period + 1)

    def _is_ended(self) -> bool:
        newest = max(self.periods, default=-1)
        end = self._ends.get(newest)
        return end is not None and end.channel_ended and self._next is not None and self._next >= end.next_msn


def _within_buffer(segments: deque[Segment]) -> deque[Segment]:
    """Segments without those that lie a whole time shift buffer behind the last."""
    if segments:
        last = segments[-1]
        depth_ms = max(last.period.time_shift_ms, PART_TARGETS * last.period.target_duration_ms)
        while len(segments) > 1 and last.end_ms - segments[0].end_ms >= depth_ms:
            segments.popleft()
    return segments
