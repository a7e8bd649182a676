"""What of a channel is published or void, and where a slice is taken up."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property

from schemas.records import Period, Reason, Void
from schemas.units import Msn
from streams.core.facts import ChannelFacts
from streams.core.rows import Failure, ReportRow, Run

NO_TRACKS: frozenset[str] = frozenset()


class Progress:
    """Segments done within memory, built per channel when first asked: most ticks do not."""

    def __init__(self, reports: Mapping[str, ReportRow], voids: Iterable[Void]) -> None:
        """
        Args:
            reports: Recent reports.
            voids: Segments declared lost whose reports may not be folded yet.
        """
        self._reports = reports
        self._voids: dict[str, list[Void]] = {}
        for void in voids:
            self._voids.setdefault(void.channel, []).append(void)
        self._done: dict[str, dict[int, frozenset[str]]] = {}
        self._late: dict[str, dict[int, frozenset[str]]] = {}

    @cached_property
    def _runs(self) -> Mapping[str, list[Run]]:
        runs: dict[str, list[Run]] = {}
        for row in self._reports.values():
            for run in row.runs:
                runs.setdefault(run.channel, []).append(run)
        return runs

    def _done_of(self, channel: str) -> Mapping[int, frozenset[str]]:
        """Tracks done of each segment of a channel."""
        done = self._done.get(channel)
        if done is None:
            done = self._done[channel] = self._folded(channel, is_late=False)
        return done

    def _folded(self, channel: str, *, is_late: bool) -> dict[int, frozenset[str]]:
        folded: dict[int, frozenset[str]] = {}
        for run in self._runs.get(channel, ()):
            if run.is_late is is_late:
                tracks = frozenset(run.tracks)
                for msn in range(run.first_msn, run.last_msn + 1):
                    folded[msn] = folded[msn] | tracks if msn in folded else tracks
        for void in self._voids.get(channel, ()):
            if (void.reason is Reason.LATE) is is_late:
                folded[void.msn] = folded.get(void.msn, NO_TRACKS) | {void.track}
        return folded

    def failures(self) -> list[Failure]:
        """Failures within memory, oldest first."""
        return sorted((f for row in self._reports.values() for f in row.failures), key=lambda f: (f.offset, f.track))

    def is_track_done(self, channel: str, msn: Msn, track: str) -> bool:
        """Whether one track of a segment is published, or void and not to be made any more."""
        return track in self._done_of(channel).get(msn, NO_TRACKS)

    def is_given_up(self, channel: str, msn: Msn, track: str) -> bool:
        """Whether one track of a segment is void for being late: it is still made, for the recording."""
        late = self._late.get(channel)
        if late is None:
            late = self._late[channel] = self._folded(channel, is_late=True)
        return track in late.get(msn, NO_TRACKS)

    def open_segments(
        self,
        facts: ChannelFacts,
        *,
        from_msn: Msn,
        until_msn: Msn | None = None,
        tracks: Collection[str] | None = None,
        turn: int = 0,
        turns: int = 1,
    ) -> Iterator[Msn]:
        """
        Segments of a slice that are not known to be done, oldest first, of those that are in the log.

        Args:
            facts: The channel.
            from_msn: What lies before it is done; what was reported longer ago than the memory must, too, or counts as open.
            until_msn: First segment not asked for.
            tracks: Tracks of the slice; None: all, whatever the period has.
            turn: Segments whose number modulo ``turns`` is this belong to the slice.
            turns: Number of holders that take turns.
        """
        end = facts.next_opened if until_msn is None else min(facts.next_opened, until_msn)
        done, period, made = self._done_of(facts.channel), None, NO_TRACKS
        for msn in range(from_msn + (turn - from_msn) % turns, end, turns):
            if period is None or facts.period.first_msn > period.first_msn:
                period = period_of(facts, Msn(msn))
                made = frozenset(made_of(period, tracks))
            if not done.get(msn, NO_TRACKS) >= made:
                yield Msn(msn)

    def first_open(
        self,
        facts: ChannelFacts,
        *,
        from_msn: Msn,
        until_msn: Msn | None = None,
        tracks: Collection[str] | None = None,
        turn: int = 0,
        turns: int = 1,
    ) -> Msn | None:
        """The oldest of `open_segments`; None if all that are in the log are done."""
        return next(self.open_segments(facts, from_msn=from_msn, until_msn=until_msn, tracks=tracks, turn=turn, turns=turns), None)


def period_of(facts: ChannelFacts, msn: Msn) -> Period:
    """The period of a segment. One left empty by the end of its period gives its number to the next one."""
    if facts.period.first_msn <= msn:
        return facts.period
    periods = facts.row.periods
    return next((period for period in reversed(periods) if period.first_msn <= msn), periods[0])


def made_of(period: Period, tracks: Collection[str] | None) -> list[str]:
    """Tracks of a period that are made for a slice; all of them for one without a choice, but nothing that is derived."""
    made = [track.track for track in period.tracks if tracks is None or track.track in tracks]
    if period.thumbnails and tracks is not None and period.thumbnails.track in tracks:
        made.append(period.thumbnails.track)
    return made


def read_from(facts: ChannelFacts, msn: Msn) -> int:
    """Offset in `media` from which a segment can be read; a bound from below when the index does not remember it."""
    segment = next((s for s in facts.segments if s.msn == msn), None)
    if segment:
        return segment.first_offset
    before = [s for s in facts.segments if s.msn < msn]
    if before:
        return before[-1].tail_offset
    older = [period for period in facts.row.periods if period.first_msn <= msn]
    return (older[-1] if older else facts.row.periods[0]).first_offset


def start_msn(facts: ChannelFacts, *, back_ms: int) -> Msn:
    """First segment of a channel that starts now: a hold back before the edge, as far as the index remembers."""
    msn, span_ms = facts.segments[-1].msn if facts.segments else facts.period.first_msn, 0
    for segment in reversed(facts.segments):
        msn = segment.msn
        span_ms += segment.seen_gops * facts.gop_ms
        if span_ms >= back_ms:
            break
    return msn
