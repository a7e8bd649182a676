"""
Who watches what, per channel and second: sessions by class, joins, seeks, switches, stalls, buffers, throughput. Pure.

A session is what a player calls one (CMCD ``sid``), or a client's address and user agent where it says nothing.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from packager.origin.cmcd import Report
from schemas.records import ChannelDemand

# dash.js reports a starved buffer while it starts (media rule 40); Shaka calls every start urgent.
SETTLE_MS = 5_000
# One stall is told several times: as a state, and by the first requests after it.
SAME_STALL_MS = 2_000


class Kind(StrEnum):
    """What a session fetches."""

    WHOLE = "whole"
    PARTS = "parts"
    CHUNKED = "chunked"


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """
    One request for a manifest or object of a channel.

    Attributes:
        client: Address and user agent.
        channel: Channel id.
        kind: What its address tells of the session's class, None if nothing.
        video: Track of a video segment asked for, else None.
        sent_bytes: Media bytes sent.
        report: What the player says of itself.
    """

    client: str
    channel: str
    kind: Kind | None = None
    video: str | None = None
    sent_bytes: int = 0
    report: Report | None = None


@dataclass(slots=True)
class _Session:
    channel: str
    began_ms: int
    seen_ms: int
    client: str = ""
    kind: Kind = Kind.WHOLE
    video: str | None = None
    state: str | None = None
    stalled_ms: int | None = None
    tells_stalls: bool = False
    was_urgent: bool = True
    buffer_ms: int | None = None
    throughput_kbps: int | None = None


@dataclass(slots=True)
class _Tally:
    counts: Counter[str] = field(default_factory=Counter)
    first_request: bool = False


class Audience:
    """The sessions of one origin and what they did since the last second was closed."""

    def __init__(self, *, session_timeout_ms: int, sessions_max: int) -> None:
        """
        Args:
            session_timeout_ms: Silence after which a client has left.
            sessions_max: Sessions kept; those beyond are not told apart: their requests count, they do not.
        """
        self._timeout_ms = session_timeout_ms
        self._sessions_max = sessions_max
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._keys: dict[str, tuple[str, str]] = {}
        self._tallies: dict[str, _Tally] = {}
        self._shown: set[str] = set()

    @property
    def session_count(self) -> int:
        """Sessions held."""
        return len(self._sessions)

    def visit(self, visit: Visit, *, now_ms: int) -> None:
        """A request was answered."""
        tally = self._tally(visit.channel)
        tally.counts["requests"] += 1
        tally.counts["sent_bytes"] += visit.sent_bytes
        name = (visit.report.session if visit.report else None) or visit.client
        session = self._session(visit.channel, name, visit.client, now_ms)
        if session is None:
            return
        if visit.kind is not None and (visit.kind is not Kind.WHOLE or visit.video is None):
            session.kind = visit.kind
        if visit.video is not None:
            tally.counts["switches"] += session.video not in {None, visit.video}
            session.video = visit.video
        tally.counts["whole_requests"] += session.kind is Kind.WHOLE
        if visit.report is not None:
            self._hear(session, visit.report, now_ms)

    def event(self, client: str, report: Report, *, now_ms: int) -> str | None:
        """
        A player reports by itself.

        Returns:
            The channel it belongs to; None if that cannot be told.
        """
        # dash.js events carry no session unless told to: then they are of the client's last one.
        for who in (report.session, client):
            key = self._keys.get(who) if who else None
            if key is not None:
                session = self._session(key[0], report.session or key[1], client, now_ms)
                if session is not None:
                    self._hear(session, report, now_ms)
                return key[0]
        return None

    def sent(self, channel: str, sent_bytes: int) -> None:
        """More bytes of an answer that was counted before."""
        self._tally(channel).counts["sent_bytes"] += sent_bytes

    def first_request(self, channel: str, *, low_latency: bool) -> None:
        """Somebody asked for a channel that is off, or for its parts, which are not packaged."""
        tally = self._tally(channel)
        tally.first_request = True
        tally.counts["low_latency_requests"] += low_latency

    def close(self, now_ms: int) -> dict[str, ChannelDemand]:
        """
        What happened since the last call, for every channel with sessions or requests, and once more after the last has left.
        """
        for key in [key for key, s in self._sessions.items() if now_ms - s.seen_ms > self._timeout_ms]:
            del self._sessions[key]
        for who in [who for who, key in self._keys.items() if key not in self._sessions]:
            del self._keys[who]
        by_channel: dict[str, list[_Session]] = {}
        for session in self._sessions.values():
            by_channel.setdefault(session.channel, []).append(session)
        told = {c: _demand(c, by_channel.get(c, []), self._tallies.get(c)) for c in sorted({*by_channel, *self._tallies, *self._shown})}
        self._shown = set(by_channel) | set(self._tallies)
        self._tallies = {}
        return told

    def _tally(self, channel: str) -> _Tally:
        return self._tallies.setdefault(channel, _Tally())

    def _session(self, channel: str, name: str, client: str, now_ms: int) -> _Session | None:
        key = (channel, name)
        session = self._sessions.get(key)
        if session is None:
            if len(self._sessions) >= self._sessions_max:
                return None
            session = self._sessions[key] = _Session(channel, now_ms, now_ms)
            self._tally(channel).counts["joins"] += 1
        session.seen_ms = now_ms
        if session.client != client and self._keys.get(session.client) == key:
            del self._keys[session.client]  # one name for each session, however many it calls itself
        session.client = client
        self._keys[name] = self._keys[client] = key
        return session

    def _hear(self, session: _Session, report: Report, now_ms: int) -> None:
        counts = self._tally(session.channel).counts
        if report.buffer_ms is not None and report.kind in {None, "v", "av"}:
            session.buffer_ms = report.buffer_ms
        if report.throughput_kbps is not None:
            session.throughput_kbps = report.throughput_kbps
        if report.state is not None and report.state != session.state:
            counts["seeks"] += report.state == "k"
            session.tells_stalls |= report.state == "r"
            if report.state == "r" and session.state == "p" and now_ms - session.began_ms > SETTLE_MS:
                counts["stalls"] += self._is_new_stall(session, now_ms)
            session.state = report.state
        if report.is_starved:
            session.tells_stalls = True
            counts["stalls"] += now_ms - session.began_ms > SETTLE_MS and self._is_new_stall(session, now_ms)
        if report.kind in {"v", "av", "a"} and not report.event:
            # Shaka says nothing of stalls, but calls requests urgent while it recovers (media section 5).
            recovers = report.is_urgent and not session.was_urgent and not session.tells_stalls and session.state is None
            counts["stalls"] += recovers and now_ms - session.began_ms > SETTLE_MS and self._is_new_stall(session, now_ms)
            session.was_urgent = report.is_urgent

    @staticmethod
    def _is_new_stall(session: _Session, now_ms: int) -> bool:
        is_new = session.stalled_ms is None or now_ms - session.stalled_ms > SAME_STALL_MS
        session.stalled_ms = now_ms
        return is_new


def _demand(channel: str, sessions: list[_Session], tally: _Tally | None) -> ChannelDemand:
    kinds = Counter(session.kind for session in sessions)
    counts = tally.counts if tally else Counter[str]()
    return ChannelDemand(
        channel=channel,
        whole_sessions=kinds[Kind.WHOLE],
        part_sessions=kinds[Kind.PARTS],
        chunked_sessions=kinds[Kind.CHUNKED],
        joins=counts["joins"],
        seeks=counts["seeks"],
        switches=counts["switches"],
        stalls=counts["stalls"],
        requests=counts["requests"],
        sent_bytes=counts["sent_bytes"],
        buffer_ms_p10=quantile([s.buffer_ms for s in sessions if s.buffer_ms is not None], 10),
        throughput_kbps_p50=quantile([s.throughput_kbps for s in sessions if s.throughput_kbps is not None], 50),
        first_request=tally.first_request if tally else False,
        low_latency_requests=counts["low_latency_requests"],
        whole_requests=counts["whole_requests"],
    )


def quantile(values: list[int], percent: int) -> int:
    """
    The value below or at which so many percent lie; -1 when there is none.

    >>> quantile([5, 1, 3], 50), quantile([], 10)
    (3, -1)
    """
    return sorted(values)[(len(values) - 1) * percent // 100] if values else -1
