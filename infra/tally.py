"""What became of a run, counted from its log: a fold of entries, of any topic, in the order of their partitions."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from schemas.records import (
    Action,
    Assignment,
    ChannelForecast,
    Decision,
    Demand,
    Forecasts,
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
from schemas.timeline import PART_SUFFIX, frames_per_gop, object_name
from schemas.units import UnixMs
from streams.replay.entries import Entry

Life = tuple[str, str]
SegmentId = tuple[str, int, str]
"""Channel, media sequence number, track."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """
    A slice that passed from one packager to another.

    Attributes:
        key: Slice and copy.
        channel: Its channel.
        before: Life that held it.
        after: Life that holds it.
        at_unix_ms: When the assignment was appended.
        reason: Why.
    """

    key: str
    channel: str
    before: Life
    after: Life
    at_unix_ms: UnixMs
    reason: str


class Tally:
    """Counts of a run; `absorb` takes every record once."""

    def __init__(self) -> None:
        self.chunks = 0
        self.decisions = 0
        self.rejects = 0
        self.failures: dict[str, int] = defaultdict(int)
        self.periods: dict[tuple[str, int], Period] = {}
        self.ends: dict[tuple[str, int], PeriodEnd] = {}
        self.plans: dict[str, list[Plan]] = defaultdict(list)
        self.holders: dict[str, Assignment] = {}
        self.moves: list[Move] = []
        self.dead: set[Life] = set()
        self.encoder_lag_ms: dict[str, int] = defaultdict(int)
        """How far each channel's chunks came behind their time, at the worst."""
        self.heartbeats: dict[str, Heartbeat] = {}
        self.last_heard: dict[Life, UnixMs] = {}
        self.forecasts: dict[str, ChannelForecast] = {}
        self.sessions: dict[str, int] = defaultdict(int)
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
        self._published_count: dict[str, int] = defaultdict(int)
        self._held_since: dict[tuple[str, Life], UnixMs] = {}

    def absorb(self, entry: Entry) -> None:
        """Take one record."""
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
                self._absorb_assignment(entry.key, assignment, entry.at_unix_ms)
            case Heartbeat() as beat:
                self.heartbeats[beat.packager_id] = beat
                self.last_heard[beat.packager_id, beat.life] = entry.at_unix_ms
            case Demand() as demand:
                for seen in demand.channels:
                    count = seen.whole_sessions + seen.part_sessions + seen.chunked_sessions
                    self.sessions[seen.channel] = count
                    self.sessions_max[seen.channel] = max(self.sessions_max[seen.channel], count)
                    self.stalls_reported += seen.stalls
            case Forecasts() as forecasts:
                self.forecasts |= {forecast.channel: forecast for forecast in forecasts.channels}
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
            case Decision() as decision:
                self.decisions += 1
                self.dead |= {(dead.packager_id, dead.life) for dead in decision.dead}
            case Reject():
                self.rejects += 1
            case None if entry.topic.title == "assignments":
                self.holders.pop(entry.key, None)

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
        lengths = (round(count * self._gop_s(channel, period), 3) for _, (period, count) in sorted(found.items()))
        return [length for length, _ in groupby(lengths)]

    def length_s(self, channel: str, gop_count: int) -> float:
        """Length of a segment of so many GOPs."""
        newest = max((period for name, period in self.periods if name == channel), default=0)
        return round(gop_count * self._gop_s(channel, newest), 3)

    def segments_out(self, channel: str) -> int:
        """Segments of all its tracks that were published."""
        return self._published_count[channel]

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

    def _gop_s(self, channel: str, period: int) -> float:
        known = self.periods.get((channel, period))
        return frames_per_gop(known) * known.frame_rate_den / known.frame_rate_num if known else 1.0

    def _absorb_lag(self, gop: Gop) -> None:
        period = self.periods.get((gop.channel, gop.period))
        if period is not None:
            due = period.anchor_unix_ms + (gop.gop + 1) * self._gop_s(gop.channel, gop.period) * 1_000
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
                name = (segment.channel, segment.msn, segment.track)
                self._published_count[segment.channel] += name not in self.published
                self.published.add(name)
                self._check(object_name(segment.channel, segment.period, segment.track, segment.start_ticks), segment.digest)
            else:
                self.failures[str(segment.fault)] += 1

    def _check(self, name: str, digest: bytes) -> None:
        if self._digests.setdefault(name, digest) != digest:
            self.conflicts.add(name)

    def _absorb_assignment(self, key: str, assignment: Assignment, at: UnixMs) -> None:
        held, life = self.holders.get(key), (assignment.packager_id, assignment.life)
        self._held_since.setdefault((assignment.channel, life), at)
        if held is not None and held.epoch == assignment.epoch:
            return  # a restatement
        if assignment.cause_unix_ms:
            self.assignment_ms.append(at - assignment.cause_unix_ms)
        if held is not None and (held.packager_id, held.life) != life:
            before = (held.packager_id, held.life)
            self.moves.append(
                Move(key=key, channel=assignment.channel, before=before, after=life, at_unix_ms=at, reason=assignment.reason.value)
            )
        self.holders[key] = assignment
