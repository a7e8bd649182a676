"""Cuts a slice: follows its channel through the marks of the log from period to period, one `Cutter` each; pure."""

from collections.abc import Mapping

from packager.cutter import Check, Cut, CutReject, Cutter, Scope
from schemas.records import Chunk, MarkKind, MediaMark, Period
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
        self._current = -1  # period in force at the last offset fed
        self._cutter: Cutter | None = None
        self._ended: Cutter | None = None
        self._chunks_beyond = 0

    @property
    def next_msn(self) -> Msn:
        """The segment in hand."""
        cutter = self._cutter or self._ended
        return max(self._scope.from_msn, cutter.next_msn) if cutter else self._scope.from_msn

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
        same = (held.tracks, held.turn, held.turns) == (scope.tracks, scope.turn, scope.turns)
        is_longer = held.until_msn is not None and (scope.until_msn is None or scope.until_msn > held.until_msn)
        return same and held.from_msn <= scope.from_msn and not is_longer

    def needs(self, header: Chunk) -> bool:
        """Whether the payload of a chunk is to be fed with it."""
        if self._cutter and header.period == self._current:
            return self._cutter.needs(header)
        return self._scope.wants(header.track, header.msn)

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
        if isinstance(record, MediaMark):
            return self._mark(record)
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

    def _mark(self, mark: MediaMark) -> tuple[Cut, ...]:
        if mark.kind is MarkKind.CHANNEL_END:
            return self._end(mark) if mark.period == self._current else ()
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
        if chunk.msn < self._scope.from_msn:
            return ()
        return (CutReject(error=f"chunk of period {chunk.period} of {chunk.channel}, but {self._current} is in force"),)

    def _known(self, chunk: Chunk, periods: Mapping[int, Period]) -> Period:
        period = periods.get(chunk.period)
        if period is None:
            raise PeriodUnknownError(chunk.channel, chunk.period)
        return period
