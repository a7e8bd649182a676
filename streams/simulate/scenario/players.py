"""What viewers go through: how long joining takes, when their buffers run dry. Cohorts per channel and class, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.records import Level
from streams.simulate.scenario.audience import CHUNKED, PARTS, WHOLE, Counts
from streams.simulate.scenario.line import Line
from streams.simulate.scenario.spec import Scenario
from streams.simulate.scenario.tally import Tally

CLASSES = ("whole", "parts", "chunked")
# Round trips until the first media byte: multivariant playlist, media playlist, init segment, media.
TRIPS = 4
# Of a client per segment or part: picture, sound, the playlist of each. Of a track: the object and its playlist.
FETCHES = 4
OBJECTS = 2
TARGETS_BACK = 3
PARTS_BACK = 3
# Where in a segment, or between two independent frames, a client arrives: equally likely shares.
POSITIONS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(slots=True)
class Waiting:
    """Viewers who wait for a channel to be there."""

    since_ms: float
    kind: int
    count: int


@dataclass(slots=True)
class Stalls:
    """
    Stalls of one class.

    Attributes:
        count: Viewers who stalled, each time.
        seconds: Viewer-seconds.
        viewer_s: Viewer-seconds watched.
    """

    count: float = 0.0
    seconds: float = 0.0
    viewer_s: float = 0.0


class Players:
    """All viewers' clients."""

    def __init__(self, scenario: Scenario, lines: Sequence[Line]) -> None:
        players, channels = scenario.players, scenario.channels
        self._players = players
        self._lines = lines
        self._gop_ms, self._part_ms = channels.gop, channels.part
        self._buffers = (
            players.whole_buffer or TARGETS_BACK * channels.target,
            players.parts_buffer or PARTS_BACK * (channels.part + 34),
            players.chunked_buffer,
        )
        self._stay_ms = scenario.audience.stay
        # How much later than at the beginning viewers play, since they stalled.
        self._shift = np.zeros((len(lines), 3))
        self.sessions: Counts = np.zeros((len(lines), 3), dtype=np.int64)
        self.waiting: dict[int, list[Waiting]] = {}
        self.joins = [Tally() for _ in CLASSES]
        self.stalls = [Stalls() for _ in CLASSES]
        self._phi_mean = sum(players.phi) / len(players.phi)

    def reset(self) -> None:
        """From here on is counted."""
        self.joins = [Tally() for _ in CLASSES]
        self.stalls = [Stalls() for _ in CLASSES]

    # ------------------------------------------------------------ joining

    def join(self, joins: Counts, at_ms: float) -> None:
        """Viewers who came: they join at once where the channel is there, else they wait for it."""
        for number, kind in zip(*np.nonzero(joins), strict=True):
            line, count = self._lines[number], int(joins[number, kind])
            if self._is_there(line, kind, at_ms):
                self._joined(line, kind, count, 0.0, at_ms)
            else:
                self.waiting.setdefault(int(number), []).append(Waiting(at_ms, int(kind), count))

    def settle(self, at_ms: float) -> None:
        """Those who waited join if the channel is there by now."""
        for number in list(self.waiting):
            line, left = self._lines[number], []
            for waits in self.waiting[number]:
                if line.end_msn < line.next_msn:
                    continue
                there = self._there_at(line, waits.kind, at_ms)
                if there is None:
                    left.append(waits)
                else:
                    self._joined(line, waits.kind, waits.count, max(0.0, there - waits.since_ms), at_ms)
            if left:
                self.waiting[number] = left
            else:
                del self.waiting[number]

    def _is_there(self, line: Line, kind: int, at_ms: float) -> bool:
        if not line.is_on or line.there_ms > at_ms:
            return False
        return kind == WHOLE or (line.level is Level.PARTS and line.level_from_ms <= at_ms)

    def _there_at(self, line: Line, kind: int, at_ms: float) -> float | None:
        """When a channel was there for a class; None: it is not yet."""
        if not self._is_there(line, kind, at_ms):
            return None
        return line.there_ms if kind == WHOLE else max(line.there_ms, line.level_from_ms)

    def _joined(self, line: Line, kind: int, count: int, waited_ms: float, at_ms: float) -> None:
        length = line.timeline.length(line.timeline.open_at(at_ms))
        base = self._base(kind, length)
        for value, weight in base:
            self.joins[kind].add(waited_ms + value, count * weight)

    def _base(self, kind: int, length_ms: float) -> list[tuple[float, float]]:
        """Join times of a class where the channel is there, equally likely."""
        players, trips = self._players, TRIPS * self._players.rtt
        if kind == WHOLE:
            times = [trips + phi * length_ms for phi in players.phi]
        else:
            # Parts: from the newest independent frame on. Chunked: the open segment from its beginning.
            back = self._gop_ms if kind == PARTS else length_ms
            times = [trips + phi * max(self._part_ms, share * back) for phi in players.phi for share in POSITIONS]
        return [(time, 1 / len(times)) for time in times]

    # ------------------------------------------------------------ asking

    def requests_per_s(self, line: Line, sessions: Sequence[int], length_ms: float) -> float:
        """Requests that reach origins: clients fetch sound, picture and their playlists; each cache in front asks once per object."""
        if not line.is_on:
            return 0.0
        asked = 0.0
        for count, object_ms in zip(sessions, (length_ms, self._part_ms, length_ms), strict=True):
            clients = count * FETCHES / object_ms
            objects = line.tracks * OBJECTS * self._players.caches / object_ms if count else 0.0
            asked += min(clients, objects) if self._players.caches else clients
        return asked * 1_000

    # ------------------------------------------------------------ watching

    def watch(self, sessions: Counts, span_ms: float) -> None:
        """Viewers who are there after a span; those new to it have no stall behind them."""
        for kind, stalls in enumerate(self.stalls):
            stalls.viewer_s += float(self.sessions[:, kind].sum()) * span_ms / 1_000
        self._shift *= np.exp(-span_ms / self._stay_ms)
        self.sessions = sessions

    def late(self, line: Line, late_ms: float, length_ms: float) -> None:
        """A segment could be fetched so late: those who fetch whole segments may stall."""
        self._starve(line, WHOLE, late_ms + length_ms * (1.0 + self._phi_mean) - self._buffers[WHOLE])

    def lag(self, line: Line, lag_ms: float) -> None:
        """The gap-free end is so far behind: those near the live edge may stall."""
        more = self._part_ms * (1.0 + self._phi_mean)
        for kind in (PARTS, CHUNKED):
            self._starve(line, kind, lag_ms + (more if kind == PARTS else more / 2) - self._buffers[kind])

    def _starve(self, line: Line, kind: int, dry_ms: float) -> None:
        """So long a viewer of a class would have nothing to play, had it not stalled before."""
        more = dry_ms - self._shift[line.number, kind]
        viewers = int(self.sessions[line.number, kind])
        if more > 0.0 and viewers:
            # What stalls goes on stalling: it is one stall until it is over.
            is_new = not line.stalled[kind]
            self.stalls[kind].count += viewers if is_new else 0
            self.stalls[kind].seconds += viewers * more / 1_000
        if more > 0.0:
            self._shift[line.number, kind] += more
            line.stalled[kind] = True
