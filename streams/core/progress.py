"""What of a channel is published or void, and where a slice is taken up."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import pairwise

from schemas.records import Void
from schemas.units import Msn, UnixMs
from streams.core.facts import ChannelFacts
from streams.core.folds import INTERVAL_MS
from streams.core.rows import Failure, ReportRow, Run, Segment

# Reports are forgotten by whole intervals: segments whose newest GOP is so near the end of the memory count as done.
SETTLED_MS = 2 * INTERVAL_MS


class Progress:
    """Segments done within memory, built per channel when first asked: most ticks do not."""

    def __init__(self, reports: Mapping[str, ReportRow], voids: Iterable[Void], *, since: UnixMs) -> None:
        """
        Args:
            reports: Recent reports.
            voids: Segments declared lost whose reports may not be folded yet.
            since: Oldest broker time that decisions look back to.
        """
        self._reports = reports
        self._voids = tuple(voids)
        self._settled_before = since + SETTLED_MS
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

    def is_done(self, facts: ChannelFacts, segment: Segment) -> bool:
        """Whether every track of a segment's period has it, published or void."""
        period = facts.row.find(segment.period) or facts.period
        done = self._done_of(facts.channel).get(segment.msn, frozenset())
        return done.issuperset(track.track for track in period.tracks)

    def is_track_done(self, channel: str, msn: Msn, track: str) -> bool:
        """Whether one track of a segment is published or void."""
        return track in self._done_of(channel).get(msn, frozenset())

    def first_open(self, facts: ChannelFacts, *, from_msn: Msn, until_msn: Msn | None = None) -> Msn | None:
        """The oldest segment from a number on that is not done; None if all that are in the log are."""
        wanted = (s for s in facts.segments if s.msn >= from_msn and s.durable_unix_ms >= self._settled_before)
        indexed = next((segment.msn for segment in wanted if not self.is_done(facts, segment)), None)
        found = (msn for msn in (indexed, *self._unindexed(facts)) if msn is not None and msn >= from_msn)
        first = min(found, default=None)
        return None if first is None or (until_msn is not None and first >= until_msn) else first

    def _unindexed(self, facts: ChannelFacts) -> list[Msn]:
        """
        Segments not done that the index does not know: a period that ends within the first GOP of a segment leaves one with content
        and without a whole GOP.
        """
        if len(facts.row.periods) < 2:
            return []
        indexed, found = {segment.msn for segment in facts.segments}, []
        for period, following in pairwise(facts.row.periods):
            msn = Msn(following.first_msn - 1)
            is_recent = following.anchor_unix_ms >= self._settled_before
            if is_recent and msn >= period.first_msn and msn not in indexed:
                done = self._done_of(facts.channel).get(msn, frozenset())
                if not done.issuperset(track.track for track in period.tracks):
                    found.append(msn)
        return found

    def is_done_until(self, facts: ChannelFacts, *, from_msn: Msn, until_msn: Msn, is_waiting: bool) -> bool:
        """
        Whether every segment from a number up to another is done.

        Args:
            facts: The channel.
            from_msn: First segment asked for.
            until_msn: First segment not asked for.
            is_waiting: Whether nobody works on them: then what is not known to be done is not.
        """
        known = [s for s in facts.segments if s.durable_unix_ms >= self._settled_before]
        floor = from_msn
        if not is_waiting:
            if known:
                floor = max(from_msn, known[0].msn)
            elif facts.row.at_unix_ms < self._settled_before:
                return True
        periods = {segment.msn: segment.period for segment in known}
        done = self._done_of(facts.channel)
        for msn in range(floor, until_msn):
            period = facts.row.find(periods.get(Msn(msn), facts.period.period)) or facts.period
            if not done.get(msn, frozenset()).issuperset(track.track for track in period.tracks):
                return False
        return True


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
