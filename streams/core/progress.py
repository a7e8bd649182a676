"""What of a channel is published or void, and where a slice is taken up."""

from collections.abc import Iterable, Mapping
from functools import cached_property

from schemas.records import Void
from schemas.units import Msn
from streams.core.facts import ChannelFacts
from streams.core.rows import Failure, ReportRow, Run


class Progress:
    """Segments done within memory, built per channel when first asked: most ticks do not."""

    def __init__(self, reports: Mapping[str, ReportRow], voids: Iterable[Void]) -> None:
        """
        Args:
            reports: Recent reports.
            voids: Segments declared lost whose reports may not be folded yet.
        """
        self._reports = reports
        self._voids = tuple(voids)
        self._done: dict[str, dict[int, frozenset[str]]] = {}

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
            done = self._done[channel] = {}
            for run in self._runs.get(channel, ()):
                tracks = frozenset(run.tracks)
                for msn in range(run.first_msn, run.last_msn + 1):
                    done[msn] = done[msn] | tracks if msn in done else tracks
            for void in self._voids:
                if void.channel == channel:
                    done[void.msn] = done.get(void.msn, frozenset()) | {void.track}
        return done

    def failures(self) -> list[Failure]:
        """Failures within memory, oldest first."""
        return sorted((f for row in self._reports.values() for f in row.failures), key=lambda f: (f.offset, f.track))

    def is_track_done(self, channel: str, msn: Msn, track: str) -> bool:
        """Whether one track of a segment is published or void."""
        return track in self._done_of(channel).get(msn, frozenset())

    def first_open(self, facts: ChannelFacts, *, from_msn: Msn, until_msn: Msn | None = None) -> Msn | None:
        """
        The oldest segment from a number on that is not known to be done; None if all that are in the log are.

        Args:
            facts: The channel.
            from_msn: What lies before it is done; what was reported longer ago than the memory must, too, or counts as open.
            until_msn: First segment not asked for.
        """
        end = facts.next_opened if until_msn is None else min(facts.next_opened, until_msn)
        done, periods = self._done_of(facts.channel), facts.row.periods
        for msn in range(from_msn, end):
            # A segment left empty by the end of its period gives its number to the next one.
            period = next((period for period in reversed(periods) if period.first_msn <= msn), periods[0])
            if not done.get(msn, frozenset()).issuperset(track.track for track in period.tracks):
                return Msn(msn)
        return None


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
