"""What each fault did, from the log alone: until when nothing new was announced of what it touched, and which stalls it explains."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from schemas.records import Decision, Parts, Period
from streams.core.standing import assignment_key, counts
from streams.replay.entries import Entry
from tests.chaos.audience import Stall
from tests.chaos.plan import ENCODER, PACKAGER, STORE
from tests.chaos.story import Done

TrackId = tuple[str, str]
"""Channel and track."""
# A fault may be felt this long after it was made good, beyond what a viewer has in its buffer.
ECHO_MS = 6_000
# What viewers of whole segments, and of parts, have in their buffers.
BUFFER_MS, BUFFER_LL_MS = 16_000, 4_000
# Who did not run for a while fills its buffer again within so long, if there is something to fill it with.
JUST_MS = 4_000
# A part that was durable before the fault may be announced after it.
SECOND_MS = 1_000


@dataclass(slots=True)
class History:
    """
    What of a run's log effects are told from; `absorb` takes every entry of ``parts``, ``decisions`` and ``channels``.

    Who held what is read from decisions: what is compacted tells of the end of a long run alone.

    Attributes:
        parts: Of each track, when parts became durable and were announced, in the order of their announcement.
        edge: Of each channel, when a part was announced and how long after its media time was over.
    """

    parts: dict[TrackId, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    edge: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    _periods: dict[tuple[str, int], Period] = field(default_factory=dict)
    _held: dict[str, list[tuple[int, str, tuple[TrackId, ...]]]] = field(default_factory=lambda: defaultdict(list))
    _seen: set[tuple[str, int, str, int]] = field(default_factory=set)

    def absorb(self, entry: Entry) -> None:
        """One entry; those of ``channels`` come before those of ``parts``."""
        match entry.record:
            case Period() as period:
                self._periods[period.channel, period.period] = period
            case Decision() as decided if counts(decided, offset=entry.offset):
                given = {f"{decided.pool}/{assignment_key(assignment)}": assignment for assignment in decided.assignments}
                ended = {f"{decided.pool}/{key}" for key in decided.ended_slices}
                if decided.whole:
                    ended |= {key for key in self._held if key.startswith(f"{decided.pool}/")}
                for key in ended - given.keys():
                    self._held[key].append((entry.at_unix_ms, "", ()))
                for key, assignment in given.items():
                    tracks = tuple((assignment.channel, track) for track in assignment.tracks)
                    self._held[key].append((entry.at_unix_ms, assignment.packager_id, tracks))
            case Parts() as told:
                for part in told.parts:
                    name = part.channel, part.period, part.track, part.start_ticks
                    if name in self._seen:
                        continue
                    self._seen.add(name)
                    self.parts[part.channel, part.track].append((entry.at_unix_ms, part.durable_unix_ms))
                    period = self._periods[part.channel, part.period]
                    track = next(t for t in period.tracks if t.track == part.track)
                    end_ms = (part.start_ticks + part.duration_ticks - track.start_ticks) * 1_000 / track.timescale
                    self.edge[part.channel].append((entry.at_unix_ms, round(entry.at_unix_ms - period.anchor_unix_ms - end_ms)))

    def held_by(self, packager_id: str, at: int) -> set[TrackId]:
        """Tracks of the slices that a packager held at a time; empty name: of all."""
        found: set[TrackId] = set()
        for given in self._held.values():
            index = bisect_right(given, at, key=lambda one: one[0]) - 1
            if index >= 0 and given[index][1] and packager_id in {"", given[index][1]}:
                found.update(given[index][2])
        return found

    def takeover_ms(self, track: TrackId, at: int) -> int | None:
        """From a time to the first announcement of something that was not even durable then."""
        times = self.parts.get(track, [])
        first = bisect_left(times, at, key=lambda one: one[0])
        return next((announced - at for announced, durable in times[first:] if durable >= at), None)

    def gap_ms(self, track: TrackId, begin: int, end: int) -> int:
        """Longest time without an announcement that began between two times."""
        times = [announced for announced, _ in self.parts.get(track, [])]
        first = max(0, bisect_left(times, begin) - 1)
        return max((after - before for before, after in zip(times[first:], times[first + 1 :], strict=False) if before <= end), default=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """
    What a fault did.

    Attributes:
        number: Of the fault.
        kind: Its kind.
        target: Whom it happened to.
        begin_unix_ms: When it began.
        healed_unix_ms: When it was made good.
        tracks: How many tracks it touched.
        takeover_ms: Until the last of them went on; None: it touched none, or nothing went on.
        gap_ms: Longest time that nothing was announced of one of them.
        stalls: Stalls of viewers that it may explain, of which it is the last fault before them.
        back_ms: From when what had ended was started again until it did its work, or brokers were in sync; None: nothing was.
    """

    number: int
    kind: str
    target: str
    begin_unix_ms: int
    healed_unix_ms: int
    tracks: int
    takeover_ms: int | None
    gap_ms: int
    stalls: int
    back_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """
    A stall, and the faults that lasted or were just over when it began; the likeliest, which began last, first.

    One is the machine's if the audience itself did not run for as long just then: had it run, there would have been none.
    """

    stall: Stall
    causes: tuple[int, ...]
    is_machine: bool = False


def explain(stalls: Iterable[Stall], done: Sequence[Done], *, asleep: Sequence[tuple[int, int]] = ()) -> list[Explained]:
    """
    The causes of each stall, by overlap in time.

    Args:
        stalls: Of viewers.
        done: Faults as they happened.
        asleep: When the audience itself did not run.
    """
    found = []
    for stall in stalls:
        buffer_ms = BUFFER_LL_MS if "-ll-" in stall.viewer else BUFFER_MS
        at, felt_ms = stall.begin_unix_ms, ECHO_MS + buffer_ms
        near = [d for d in done if d.begin_unix_ms <= at <= (d.healed_unix_ms or at) + felt_ms]
        late_ms = sum(max(0, min(end, stall.end_unix_ms) - max(begin, at - JUST_MS)) for begin, end in asleep)
        causes = tuple(d.fault.number for d in reversed(near))
        found.append(Explained(stall=stall, causes=causes, is_machine=late_ms >= stall.end_unix_ms - at))
    return found


def effects(history: History, done: Sequence[Done], stalls: Sequence[Explained], encoders: Mapping[str, Sequence[str]]) -> list[Effect]:
    """
    What each fault did.

    Args:
        history: From the log.
        done: The faults as they happened.
        stalls: Explained.
        encoders: Channels of each encoder process.
    """
    told = []
    for one in done:
        begin, end = one.begin_unix_ms, one.healed_unix_ms or one.begin_unix_ms
        if one.fault.role in {PACKAGER, STORE}:
            touched = history.held_by("" if one.target == "all" else one.target, begin)
        elif one.fault.role == ENCODER:
            touched = {track for track in history.parts if track[0] in encoders[one.target]}
        else:
            touched = history.held_by("", begin)
        takeovers = [history.takeover_ms(track, begin) for track in sorted(touched)]
        told.append(
            Effect(
                number=one.fault.number,
                kind=one.fault.kind,
                target=one.target,
                begin_unix_ms=begin,
                healed_unix_ms=end,
                tracks=len(touched),
                takeover_ms=None if None in takeovers else max((ms for ms in takeovers if ms is not None), default=None),
                gap_ms=max((history.gap_ms(track, begin, end + SECOND_MS) for track in touched), default=0),
                back_ms=one.healed_unix_ms - one.revived_unix_ms if one.healed_unix_ms and one.revived_unix_ms else None,
                stalls=sum(not e.is_machine and e.causes[:1] == (one.fault.number,) for e in stalls),
            )
        )
    return told
