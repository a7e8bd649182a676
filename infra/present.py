"""How a run stands, from its log: what is bounded by the channels and packagers that there are, however long it lasts."""

from collections import defaultdict
from dataclasses import dataclass

from schemas.records import (
    Assignment,
    ChannelForecast,
    Decision,
    Demand,
    Forecasts,
    Heartbeat,
    Outcome,
    PackagerState,
    Period,
    PeriodEnd,
    Reports,
)
from schemas.timeline import frames_per_gop
from schemas.units import UnixMs
from streams.replay.entries import Entry

Life = tuple[str, str]
# Segments of a track that are remembered, so that one reported twice counts once: repeated is what a takeover or a catch-up repeats.
RECENT_MAX = 1_000
# Dead lives that are remembered: the topics of a log are not read in step, and a last heartbeat may come after the death.
DEAD_MAX = 1_000


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


class Present:
    """The run as of the last record; `absorb` takes every record once."""

    def __init__(self) -> None:
        self.newest: dict[str, Period] = {}
        """Newest period of each channel."""
        self.ended: set[str] = set()
        """Channels that ended."""
        self.holders: dict[str, Assignment] = {}
        self.heartbeats: dict[str, Heartbeat] = {}
        """The last of each packager that has neither left nor was declared dead."""
        self.forecasts: dict[str, ChannelForecast] = {}
        self.sessions: dict[str, int] = defaultdict(int)
        self._dead: dict[Life, None] = {}
        self._published_count: dict[str, int] = defaultdict(int)
        self._recent: dict[tuple[str, str], set[int]] = defaultdict(set)

    def absorb(self, entry: Entry) -> Move | None:
        """The move that this record tells of, if it does."""
        match entry.record:
            case Reports() as reports:
                for segment in reports.segments:
                    if segment.outcome is Outcome.PUBLISHED:
                        self._count(segment.channel, segment.track, segment.msn)
            case Assignment() as assignment:
                return self._hand_over(entry.key, assignment, entry.at_unix_ms)
            case Heartbeat() as beat if beat.state is PackagerState.GONE:
                self.heartbeats.pop(beat.packager_id, None)
            case Heartbeat() as beat if (beat.packager_id, beat.life) not in self._dead:
                self.heartbeats[beat.packager_id] = beat
            case Demand() as demand:
                for seen in demand.channels:
                    self.sessions[seen.channel] = seen.whole_sessions + seen.part_sessions + seen.chunked_sessions
            case Forecasts() as forecasts:
                self.forecasts |= {forecast.channel: forecast for forecast in forecasts.channels}
            case Period() as period if period.period >= self._number(period.channel):
                self.newest[period.channel] = period
                self.ended.discard(period.channel)
            case PeriodEnd(channel_ended=True) as end if end.period >= self._number(end.channel):
                self.ended.add(end.channel)
            case Decision() as decision:
                for dead in decision.dead:
                    self._bury((dead.packager_id, dead.life))
            case None if entry.topic.title == "assignments":
                self.holders.pop(entry.key, None)
            case None if entry.topic.title == "channels":
                self._forget(entry.key)
        return None

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that are known, those that ended included."""
        return tuple(sorted(self.newest))

    def length_s(self, channel: str, gop_count: int) -> float:
        """Length of a segment of so many GOPs."""
        return round(gop_count * gop_s(self.newest.get(channel)), 3)

    def segments_out(self, channel: str) -> int:
        """Segments of all its tracks that were published."""
        return self._published_count[channel]

    def _number(self, channel: str) -> int:
        return self.newest[channel].period if channel in self.newest else 0

    def _count(self, channel: str, track: str, msn: int) -> None:
        recent = self._recent[channel, track]
        if msn in recent or msn <= max(recent, default=msn) - RECENT_MAX:
            return
        recent.add(msn)
        self._published_count[channel] += 1
        if len(recent) > 2 * RECENT_MAX:
            self._recent[channel, track] = {kept for kept in recent if kept > max(recent) - RECENT_MAX}

    def _hand_over(self, key: str, given: Assignment, at: UnixMs) -> Move | None:
        held, self.holders[key] = self.holders.get(key), given
        after = (given.packager_id, given.life)
        if held is None or held.epoch == given.epoch or (before := (held.packager_id, held.life)) == after:
            return None
        return Move(key=key, channel=given.channel, before=before, after=after, at_unix_ms=at, reason=given.reason.value)

    def _bury(self, life: Life) -> None:
        self._dead[life] = None
        if len(self._dead) > DEAD_MAX:
            del self._dead[next(iter(self._dead))]
        held = self.heartbeats.get(life[0])
        if held is not None and held.life == life[1]:
            del self.heartbeats[life[0]]

    def _forget(self, key: str) -> None:
        """A configuration was withdrawn; with that of its newest period a channel is gone."""
        channel, number, *rest = key.split("/")
        if rest or channel not in self.newest or int(number) != self.newest[channel].period:
            return
        for held in (self.newest, self.forecasts, self.sessions, self._published_count):
            held.pop(channel, None)
        self.ended.discard(channel)
        for track in [track for name, track in self._recent if name == channel]:
            del self._recent[channel, track]


def gop_s(period: Period | None) -> float:
    """Seconds of a GOP; 1 of a period that is not known."""
    return frames_per_gop(period) * period.frame_rate_den / period.frame_rate_num if period else 1.0
