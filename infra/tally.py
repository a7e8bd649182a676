"""What became of a run, counted from its whole log: a fold of entries, of any topic, in the order of their partitions."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby

from infra.present import Life, Move, Present, gop_s
from schemas.records import (
    Action,
    Assignment,
    Decision,
    Demand,
    Gop,
    Heartbeat,
    Outcome,
    Packaging,
    Parts,
    Period,
    PeriodEnd,
    Plan,
    Reject,
    Reports,
    Void,
)
from schemas.timeline import PART_SUFFIX, object_name
from schemas.units import UnixMs
from streams.replay.entries import Entry

SegmentId = tuple[str, int, str]
"""Channel, media sequence number, track."""


class Tally(Present):
    """Counts of a run, which remember all of it; `absorb` takes every record once."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks = 0
        self.decisions = 0
        self.rejects = 0
        self.failures: dict[str, int] = defaultdict(int)
        self.periods: dict[tuple[str, int], Period] = {}
        self.ends: dict[tuple[str, int], PeriodEnd] = {}
        self.plans: dict[str, list[Plan]] = defaultdict(list)
        self.moves: list[Move] = []
        self.encoder_lag_ms: dict[str, int] = defaultdict(int)
        """How far each channel's chunks came behind their time, at the worst."""
        self.last_heard: dict[Life, UnixMs] = {}
        self.sessions_max: dict[str, int] = defaultdict(int)
        self.stalls_reported = 0
        self.assignment_ms: list[int] = []
        self.published: set[SegmentId] = set()
        self.voids: set[SegmentId] = set()
        self.conflicts: set[str] = set()
        self.part_times: list[tuple[str, Life, UnixMs, UnixMs]] = []
        """Channel, publisher, durable and announced of each part, at its first announcement."""
        self._digests: dict[str, bytes] = {}
        self._parts: set[str] = set()
        self._packaging: dict[str, list[Packaging]] = defaultdict(list)
        self._segments: dict[str, dict[int, tuple[int, int]]] = defaultdict(dict)
        """Period and GOP count as stamped, by channel and media sequence number."""
        self._held_since: dict[tuple[str, Life], UnixMs] = {}

    def absorb(self, entry: Entry) -> Move | None:
        """The move that this record tells of, if it does."""
        held = self.holders.get(entry.key)
        move = super().absorb(entry)
        if move is not None:
            self.moves.append(move)
        match entry.record:
            case Gop() as gop:
                self.chunks += sum(track.chunk_count for track in gop.tracks)
                self._segments[gop.channel][gop.msn] = (gop.period, gop.gop_count)
                self._absorb_lag(gop)
            case Parts() as parts:
                self._absorb_parts(parts, entry.at_unix_ms)
            case Reports() as reports:
                self._absorb_reports(reports)
            case Assignment() as assignment:
                life = (assignment.packager_id, assignment.life)
                self._held_since.setdefault((assignment.channel, life), entry.at_unix_ms)
                if assignment.cause_unix_ms and (held is None or held.epoch != assignment.epoch):
                    self.assignment_ms.append(entry.at_unix_ms - assignment.cause_unix_ms)
            case Heartbeat() as beat:
                self.last_heard[beat.packager_id, beat.life] = entry.at_unix_ms
            case Demand() as demand:
                for seen in demand.channels:
                    self.sessions_max[seen.channel] = max(self.sessions_max[seen.channel], self.sessions[seen.channel])
                    self.stalls_reported += seen.stalls
            case Packaging() as packaging:
                self._packaging[packaging.channel].append(packaging)
            case Void() as void:
                self.voids.add((void.channel, void.msn, void.track))
            case Plan() as plan:
                self.plans[plan.channel].append(plan)
            case Period() as period:
                self.periods[period.channel, period.period] = period
            case PeriodEnd() as end:
                self.ends[end.channel, end.period] = end
            case Decision():
                self.decisions += 1
            case Reject():
                self.rejects += 1
        return move

    @property
    def part_count(self) -> int:
        """Parts announced, each once."""
        return len(self._parts)

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that were live."""
        return tuple(sorted({channel for channel, _ in self.periods}))

    def lost(self) -> list[SegmentId]:
        """Segments of each track between a start and its stop, or the channel's end, that nobody published or that were declared void."""
        kept = self.published - self.voids
        return sorted(wanted for channel in self.channels for wanted in self._wanted(channel) if wanted not in kept)

    def discontinuities(self) -> int:
        """How often the content of a channel began anew."""
        numbers = defaultdict[str, list[int]](list)
        for (channel, _), period in self.periods.items():
            numbers[channel].append(period.discontinuity)
        return sum(max(found) - min(found) for found in numbers.values())

    def segment_lengths_s(self, channel: str) -> list[float]:
        """Lengths that were stamped, each run of equal ones once, in order."""
        found = self._segments[channel]
        lengths = (round(count * gop_s(self.periods.get((channel, period))), 3) for _, (period, count) in sorted(found.items()))
        return [length for length, _ in groupby(lengths)]

    def takeovers_ms(self, killed: Life | None, *, killed_unix_ms: UnixMs | None = None) -> list[int]:
        """From a packager's end, else its last heartbeat, to the first part that the next holder announced, for each slice it held."""
        moved = [(move, first) for move in self.moves if move.before == killed and (first := self._first_part(move)) is not None]
        return [first - (killed_unix_ms or self.last_heard[move.before]) for move, first in moved]

    def part_latencies_ms(self) -> tuple[list[int], list[int]]:
        """From a part's last chunk being durable to its announcement: of parts made by who was in charge then, and of those caught up."""
        live: list[int] = []
        late: list[int] = []
        for channel, life, durable, at in self.part_times:
            in_charge = self._held_since.get((channel, life))
            (live if in_charge is not None and durable >= in_charge else late).append(at - durable)
        return live, late

    def _first_part(self, move: Move) -> UnixMs | None:
        """When the new holder announced its first part."""
        mine = (at for channel, life, _, at in self.part_times if channel == move.channel and life == move.after)
        return min((at for at in mine if at >= move.at_unix_ms), default=None)

    def _wanted(self, channel: str) -> Iterator[SegmentId]:
        newest = max(period for name, period in self.periods if name == channel)
        end = self.ends.get((channel, newest))
        # Of a channel that goes on, the newest segment may be open.
        until = end.next_msn if end and end.channel_ended else max(self._segments[channel], default=0)
        tracks = [track.track for track in self.periods[channel, newest].tracks]
        for begin, stop in self._intervals(channel):
            for msn in range(begin, until if stop is None else min(stop, until)):
                yield from ((channel, msn, track) for track in tracks)

    def _intervals(self, channel: str) -> Iterator[tuple[int, int | None]]:
        begin: int | None = None
        for word in self._packaging[channel]:
            if word.action is Action.START and begin is None:
                begin = word.from_msn
            elif word.action is Action.STOP and begin is not None:
                yield begin, word.from_msn
                begin = None
        if begin is not None:
            yield begin, None

    def _absorb_lag(self, gop: Gop) -> None:
        period = self.periods.get((gop.channel, gop.period))
        if period is not None:
            due = period.anchor_unix_ms + (gop.gop + 1) * gop_s(period) * 1_000
            self.encoder_lag_ms[gop.channel] = max(self.encoder_lag_ms[gop.channel], round(gop.durable_unix_ms - due))

    def _absorb_parts(self, parts: Parts, at: UnixMs) -> None:
        for part in parts.parts:
            name = object_name(part.channel, part.period, part.track, part.start_ticks, PART_SUFFIX)
            if name not in self._parts:
                self._parts.add(name)
                self.part_times.append((part.channel, (parts.packager_id, parts.life), part.durable_unix_ms, at))
            self._check(name, part.digest)

    def _absorb_reports(self, reports: Reports) -> None:
        for segment in reports.segments:
            if segment.outcome is Outcome.PUBLISHED:
                self.published.add((segment.channel, segment.msn, segment.track))
                self._check(object_name(segment.channel, segment.period, segment.track, segment.start_ticks), segment.digest)
            else:
                self.failures[str(segment.fault)] += 1

    def _check(self, name: str, digest: bytes) -> None:
        if self._digests.setdefault(name, digest) != digest:
            self.conflicts.add(name)
