"""What a recorded run came to, counted from its topics: the figures that a simulation of it can be held against."""

from collections import Counter
from dataclasses import dataclass
from math import ceil

from schemas.records import Action, Decision, Demand, Heartbeat, Outcome, Reason, Reports, Void
from schemas.topics import life_key
from schemas.units import UnixMs
from streams.core.standing import Standing, apply, counts

from .entries import Entry

HOUR_MS = 3_600_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """
    Figures of what really happened; what topics do not tell is not here.

    Attributes:
        packager_hours: From the first to the last heartbeat of each run of a packager.
        packagers_most: At once, in any second.
        packaged_hours: Channel-hours between starts and stops.
        segments: Of channels, all tracks published.
        late: Of them told later than the allowance after they were durable or asked for, whatever came last.
        late_p99_ms: Lateness that 1 % pass.
        void: Segments declared lost.
        joins: Sessions that began.
        stalls: Stalls that viewers told of.
        viewer_hours: Watched.
        requests: That reached origins.
        moves: Slices given to another packager, by reason.
        plan_changes: Granularities changed.
        decisions: Made.
        publish_ms: From durable to told, that nine of ten segments take longer for: what publishing takes without any queue.
    """

    packager_hours: float
    packagers_most: int
    packaged_hours: float
    segments: int
    late: int
    late_p99_ms: int
    void: int
    joins: int
    stalls: int
    viewer_hours: float
    requests: int
    moves: Counter[str]
    plan_changes: int
    decisions: int
    publish_ms: int


class Measuring:
    """
    A fold of entries, topic after topic, each in order; decisions come before reports.

    Args:
        begin_unix_ms: What was appended before it only tells what was in force.
        end_unix_ms: What was appended from then on does not count.
        tracks: Number of tracks of each channel.
        allowance_ms: What a segment may take from durable to told.
    """

    def __init__(self, *, begin_unix_ms: UnixMs, end_unix_ms: UnixMs, tracks: dict[str, int], allowance_ms: int) -> None:
        self._begin, self._end = begin_unix_ms, end_unix_ms
        self._tracks = tracks
        self._allowance_ms = allowance_ms
        self._standing: Standing | None = None
        self.heard: dict[tuple[str, str], list[int]] = {}
        """First and last heartbeat of each life, and the time to its next."""
        self.deaths: dict[str, int] = {}
        """When each life was declared dead, by ``packager/life``."""
        self._seconds: dict[int, set[tuple[str, str]]] = {}
        self._on: dict[str, int] = {}
        self._since: dict[str, int] = {}
        self._packaged_ms = 0
        self._told: dict[tuple[str, int], dict[str, tuple[int, int]]] = {}
        self._voids: set[tuple[str, int]] = set()
        self._moves: Counter[str] = Counter()
        self._joins = self._stalls = self._requests = self._plan_changes = self._decisions = 0
        self._viewer_s = 0.0

    def absorb(self, entry: Entry) -> None:
        """Count a record."""
        record, at = entry.record, entry.at_unix_ms
        if at >= self._end:
            return
        if isinstance(record, Decision):
            self._decide(record, entry)
        elif at < self._begin:
            return
        elif isinstance(record, Heartbeat):
            life = (record.packager_id, record.life)
            spans = self.heard.setdefault(life, [at, at, record.interval_ms])
            spans[1] = at
            self._seconds.setdefault(at // 1_000, set()).add(life)
        elif isinstance(record, Demand):
            for seen in record.channels:
                self._joins += seen.joins
                self._stalls += seen.stalls
                self._requests += seen.requests
                self._viewer_s += seen.whole_sessions + seen.part_sessions + seen.chunked_sessions
        elif isinstance(record, Void):
            self._voids.add((record.channel, record.msn))
        elif isinstance(record, Reports):
            for one in record.segments:
                if one.outcome is Outcome.PUBLISHED:
                    told = self._told.setdefault((one.channel, one.msn), {})
                    told.setdefault(one.track, (one.durable_unix_ms, at))

    def result(self) -> Measured:
        """The figures."""
        for channel in list(self._on):
            self._off(channel, self._end)
        lags, takes = [], []
        for (channel, _), told in self._told.items():
            if len(told) < self._tracks.get(channel, 1):
                continue
            durable, at = max(d for d, _ in told.values()), max(a for _, a in told.values())
            takes.append(at - durable)
            since = self._since.get(channel, 0)
            if durable > since:
                lags.append(at - durable)
        paid_ms = sum(last - first + interval for first, last, interval in self.heard.values())
        return Measured(
            packager_hours=paid_ms / HOUR_MS,
            packagers_most=max(map(len, self._seconds.values()), default=0),
            packaged_hours=self._packaged_ms / HOUR_MS,
            segments=len(takes),
            late=sum(lag > self._allowance_ms for lag in lags),
            late_p99_ms=_quantile(lags, 0.99),
            void=len(self._voids),
            joins=self._joins,
            stalls=self._stalls,
            viewer_hours=self._viewer_s / 3_600,
            requests=self._requests,
            moves=self._moves,
            plan_changes=self._plan_changes,
            decisions=self._decisions,
            publish_ms=_quantile(takes, 0.1),
        )

    def _decide(self, decision: Decision, entry: Entry) -> None:
        if not counts(decision, offset=entry.offset):
            return
        before = self._standing
        for word in decision.packaging:
            if word.action is Action.START and word.channel not in self._on:
                self._on[word.channel] = decision.at_unix_ms
                self._since[word.channel] = word.since_unix_ms or decision.at_unix_ms
            elif word.action is Action.STOP:
                self._off(word.channel, decision.at_unix_ms)
        for channel in decision.ended_channels:
            self._off(channel, decision.at_unix_ms)
        if before is None or decision.number != before.number + 1:
            self._standing = apply(Standing.empty(decision.pool), decision) if decision.whole else None
            return
        self._standing = apply(before, decision)
        if entry.at_unix_ms < self._begin:
            return
        self._decisions += 1
        for given in decision.assignments:
            held = before.assignments.get(f"{given.slice_id}/{given.copy}")
            if held and (held.packager_id, held.life) != (given.packager_id, given.life):
                self._moves[given.reason.value] += 1
        for plan in decision.plans:
            held_plan = before.plans.get(plan.channel)
            shapes = [(p.level, p.gops_per_segment, p.groups, p.turns, p.copies) for p in (held_plan, plan) if p]
            self._plan_changes += len(set(shapes)) > 1
        for dead in decision.dead:
            if dead.reason is Reason.PACKAGER_DEAD:
                self.deaths.setdefault(life_key(dead.packager_id, dead.life), decision.at_unix_ms)

    def _off(self, channel: str, at: UnixMs) -> None:
        since = self._on.pop(channel, at)
        self._packaged_ms += max(0, at - max(since, self._begin))


def _quantile(values: list[int], share: float) -> int:
    """
    The smallest value that at least a share of the values do not pass; 0 of none.

    >>> _quantile([5, 1, 9], 0.5), _quantile([], 0.5)
    (5, 0)
    """
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0
