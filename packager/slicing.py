"""Cuts a slice: follows its channel through the marks of the log from period to period, one `Cutter` each; pure."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from packager.cuts import Cut, CutFailed, CutReject
from packager.cutter import Check, Cutter
from packager.scope import Scope
from schemas.records import Chunk, MarkKind, MediaMark, Period
from schemas.timeline import frames_per_gop, gop_ms, gops_per_segment_max, picture_track, segment_span
from schemas.units import Msn, UnixMs


class PeriodUnknownError(Exception):
    """A chunk came before the configuration of its period: feed it again once that is known."""

    def __init__(self, channel: str, period: int) -> None:
        super().__init__(f"period {period} of {channel} is not known yet")
        self.channel = channel
        self.period = period


class SliceCutter:
    """Parts and segments of one slice of a channel, over all its periods."""

    def __init__(self, scope: Scope, *, check: Check) -> None:
        """
        Args:
            scope: What of the channel is wanted.
            check: Raises RejectedError when the bytes of a chunk are not what its record says.
        """
        self._scope = scope
        self._check = check
        self._next_offset = 0
        self._current = -1  # period in force at the last offset fed
        self._cutter: Cutter | None = None
        self._ended: Cutter | None = None
        self._chunks_beyond = 0
        self._first_msn: Msn | None = None  # the first segment that the log still has, where reading began
        self._opened_msn = -1  # the newest segment of which anything was fed
        self._gone: deque[_Gone] = deque()  # what retention took, still to be told: a segment with each record

    @property
    def next_msn(self) -> Msn:
        """The segment in hand."""
        if self._gone:
            return self._gone[0].msn
        cutter = self._cutter or self._ended
        return Msn(max(self._scope.first_msn, self._first_msn or 0, cutter.next_msn if cutter else 0))

    @property
    def is_done(self) -> bool:
        """Whether all that the scope asks for is cut."""
        return self._scope.until_msn is not None and self.next_msn >= self._scope.until_msn

    @property
    def held_bytes(self) -> int:
        """Payload bytes of segments not yet whole."""
        return self._cutter.held_bytes if self._cutter else 0

    @property
    def chunks_beyond(self) -> int:
        """Chunks cut off by the ends of periods so far."""
        return self._chunks_beyond

    @property
    def scope(self) -> Scope:
        """What is wanted; a new one holds for segments not yet begun."""
        return self._scope

    @scope.setter
    def scope(self, scope: Scope) -> None:
        self._scope = scope
        if self._cutter:
            self._cutter.scope = scope

    def can_become(self, scope: Scope) -> bool:
        """Whether another scope can take the place of this one here: it wants nothing that may have been passed over as unwanted."""
        held = self._scope
        is_longer = held.until_msn is not None and (scope.until_msn is None or scope.until_msn > held.until_msn)
        return held.is_like(scope) and held.from_msn <= scope.from_msn and not is_longer

    def can_precede(self, scope: Scope) -> bool:
        """Whether other work can follow this one here: it begins with a segment of which nothing has been read yet."""
        return not self._scope.is_like(scope) and scope.from_msn > self._opened_msn >= 0

    def needs(self, header: Chunk) -> bool:
        """Whether the payload of a chunk is to be fed with it."""
        if self._cutter and header.period == self._current:
            return self._cutter.needs(header)
        # Of which track pictures are taken, only the period tells that begins here.
        return header.independent or self._scope.wants(header.track, header.msn)

    def feed(self, record: Chunk | MediaMark, *, offset: int, durable_unix_ms: UnixMs, periods: Mapping[int, Period]) -> tuple[Cut, ...]:
        """
        What the next record of the channel completes.

        Args:
            record: The next chunk or mark of the channel, by offset.
            offset: Its offset.
            durable_unix_ms: Its broker time.
            periods: The channel's periods known so far.

        Raises:
            PeriodUnknownError: Its period is not among them; nothing has changed.
        """
        if offset < self._next_offset:
            return ()  # read before
        if isinstance(record, MediaMark):
            self._next_offset = offset + 1
            return self._mark(record, durable_unix_ms, periods)
        cuts = self._chunk(record, offset, durable_unix_ms, periods)
        self._next_offset = offset + 1
        is_sound = not any(isinstance(cut, CutReject) for cut in cuts)
        if is_sound:
            self._opened_msn = max(self._opened_msn, record.msn)
        if self._first_msn is None and self._cutter and is_sound:
            self._begin(self._cutter.period, record.msn, record.first_gop, periods)
        return self._tell(durable_unix_ms) + cuts

    def _chunk(self, record: Chunk, offset: int, durable_unix_ms: UnixMs, periods: Mapping[int, Period]) -> tuple[Cut, ...]:
        if self._current < 0:
            # Which period is in force where reading begins, says the log too: not the chunk, which may be a late one of an older period.
            self._current = max((p.period for p in periods.values() if p.first_offset <= offset), default=record.period)
        if record.period > self._current:
            period = self._known(record, periods)
            if period.first_offset > offset:
                return (
                    CutReject(error=f"period {period.period} of {period.channel} starts at offset {period.first_offset}, after this chunk"),
                )
            self._start(period.period)
        if record.period < self._current:
            return self._late(record, offset, durable_unix_ms)
        if self._cutter is None and self._ended and self._ended.period.period == self._current:
            return self._late(record, offset, durable_unix_ms)
        if self._cutter is None:
            self._cutter = Cutter(self._known(record, periods), self._scope, check=self._check)
        return self._cutter.feed(record, offset=offset, durable_unix_ms=durable_unix_ms)

    def _begin(self, period: Period, msn: Msn, gop: int, periods: Mapping[int, Period]) -> None:
        """What was wanted before the first segment that the log still has is lost."""
        self._first_msn, until = msn, msn if self._scope.until_msn is None else min(msn, self._scope.until_msn)
        known = sorted((p for p in periods.values() if p.period <= period.period), key=lambda p: p.period)
        ends = [(older, younger.first_msn, _gops_between(older, younger)) for older, younger in pairwise(known)]
        for ended, end_msn, gops in (*ends, (period, msn, gop)):
            first = max(self._scope.first_msn, ended.first_msn)
            if first < min(until, end_msn):
                self._gone.append(_Gone(ended, first, min(until, end_msn), end_msn, gops))

    def _tell(self, durable_unix_ms: UnixMs) -> tuple[Cut, ...]:
        """The next segment that is gone."""
        if not self._gone:
            return ()
        gone = self._gone[0]
        lost = tuple(gone.cuts(self._scope, durable_unix_ms))
        gone.msn = Msn(gone.msn + 1)
        if gone.msn >= gone.until:
            self._gone.popleft()
        return lost

    def _mark(self, mark: MediaMark, durable_unix_ms: UnixMs, periods: Mapping[int, Period]) -> tuple[Cut, ...]:
        if mark.kind is MarkKind.CHANNEL_END:
            period = periods.get(mark.period)
            told: tuple[Cut, ...] = ()
            if self._first_msn is None and period:
                self._begin(period, mark.next_msn, -(-mark.parts_reached // len(period.grid)), periods)
            while self._gone:
                told += self._tell(durable_unix_ms)
            return told + (self._end(mark) if mark.period == self._current else ())
        if mark.period <= self._current:
            return ()
        cuts = self._end(mark)
        self._start(mark.period)
        return cuts

    def _end(self, mark: MediaMark) -> tuple[Cut, ...]:
        cutter = self._cutter
        if cutter is None:
            return ()
        ended = mark.period if mark.kind is MarkKind.CHANNEL_END else mark.ended_period
        cuts = cutter.end(mark.parts_reached if ended == cutter.period.period else 0)
        self._chunks_beyond += cutter.chunks_beyond
        self._cutter, self._ended = None, cutter
        return cuts

    def _start(self, period: int) -> None:
        self._ended, self._cutter = self._cutter or self._ended, None
        self._current = period

    def _late(self, chunk: Chunk, offset: int, durable_unix_ms: UnixMs) -> tuple[Cut, ...]:
        """Media rule 9: a chunk of a period that has ended is harmless if it repeats one, else a reject."""
        if self._ended and self._ended.period.period == chunk.period:
            return self._ended.feed(chunk, offset=offset, durable_unix_ms=durable_unix_ms)
        if chunk.msn < self._scope.first_msn:
            return ()
        return (CutReject(error=f"chunk of period {chunk.period} of {chunk.channel}, but {self._current} is in force"),)

    def _known(self, chunk: Chunk, periods: Mapping[int, Period]) -> Period:
        period = periods.get(chunk.period)
        if period is None:
            raise PeriodUnknownError(chunk.channel, chunk.period)
        return period


def _gops_between(older: Period, younger: Period) -> int:
    """GOPs of a period whose end the log has lost: as many as its time had room for."""
    return (younger.anchor_unix_ms - older.anchor_unix_ms) // gop_ms(older)


@dataclass(slots=True)
class _Gone:
    """
    Segments of a period that the log has lost, from one to another.

    Their stamps are lost, too: the GOPs up to where the first segment begins that is left, or the period ends, are shared out evenly among
    all the segments until there, so that these leave no gap.
    """

    period: Period
    msn: Msn
    until: Msn
    end_msn: Msn
    end_gop: int

    def cuts(self, scope: Scope, durable_unix_ms: UnixMs) -> Iterator[CutFailed]:
        """The next of them, in each track wanted."""
        period = self.period
        count = self.end_msn - period.first_msn
        longest = gops_per_segment_max(
            gop_frames=frames_per_gop(period),
            frame_rate_num=period.frame_rate_num,
            frame_rate_den=period.frame_rate_den,
            target_duration_ms=period.target_duration_ms,
        )
        gops = min(max(self.end_gop, count), count * longest)
        first, end = ((self.msn + more - period.first_msn) * gops // count for more in (0, 1))
        picture = picture_track(period)
        for track in (*period.tracks, *([picture] if picture else [])):
            if scope.wants(track.track, self.msn):
                start, ticks = segment_span(period, track, first, end - first)
                yield CutFailed(
                    period=period, track=track, msn=self.msn, start_ticks=start, duration_ticks=ticks, durable_unix_ms=durable_unix_ms,
                    error="the log does not have it any more",
                )  # fmt: skip
