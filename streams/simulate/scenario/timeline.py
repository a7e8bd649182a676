"""Where the segments of one channel lie: a length holds from one boundary on, until a plan sets another."""

from bisect import bisect_right
from dataclasses import dataclass
from math import floor

# Stretches remembered: what is packaged late lies within minutes.
STRETCHES_MAX = 64


@dataclass(frozen=True, slots=True)
class Stretch:
    """
    Segments of one length.

    Attributes:
        msn: The first.
        start_ms: Where it begins.
        length_ms: Of each.
    """

    msn: int
    start_ms: float
    length_ms: float


class Timeline:
    """
    Segments of a channel, by media sequence number; media time is the time of the simulation.

    >>> line = Timeline(0.0, length_ms=4_000)
    >>> line.open_at(9_000.0), line.start(2), line.end(2)
    (2, 8000.0, 12000.0)
    >>> line.plan(9_000.0, 2_000)
    >>> line.open_at(13_000.0), line.start(3), line.end(3), line.ended_between(0.0, 14_000.0)
    (3, 12000.0, 14000.0, 4)
    """

    def __init__(self, start_ms: float, *, length_ms: float) -> None:
        self._stretches = [Stretch(0, start_ms, length_ms)]

    def plan(self, now_ms: float, length_ms: float) -> None:
        """Segments opened from now on have a length; the open one keeps its own."""
        newest = self._stretches[-1]
        if newest.start_ms > now_ms and len(self._stretches) > 1:
            self._stretches.pop()
            newest = self._stretches[-1]
        if newest.length_ms != length_ms:
            follows = self.open_at(now_ms) + 1
            self._stretches.append(Stretch(follows, self.start(follows), length_ms))
            del self._stretches[:-STRETCHES_MAX]

    def open_at(self, at_ms: float) -> int:
        """The segment that holds an instant; one that ends there is not open any more."""
        stretch = self._at(at_ms)
        return max(0, stretch.msn + floor((at_ms - stretch.start_ms) / stretch.length_ms))

    def start(self, msn: int) -> float:
        """Where a segment begins."""
        stretch = self._of(msn)
        return stretch.start_ms + (msn - stretch.msn) * stretch.length_ms

    def end(self, msn: int) -> float:
        """Where a segment ends."""
        stretch = self._of(msn)
        return stretch.start_ms + (msn + 1 - stretch.msn) * stretch.length_ms

    def length(self, msn: int) -> float:
        """How long a segment is."""
        return self._of(msn).length_ms

    @property
    def newest_length(self) -> float:
        """Length of segments that open from now on."""
        return self._stretches[-1].length_ms

    def ended_between(self, start_ms: float, end_ms: float) -> int:
        """Segments whose end lies after the first instant and not after the second."""
        return self.open_at(end_ms) - self.open_at(start_ms)

    def _at(self, at_ms: float) -> Stretch:
        newest = self._stretches[-1]
        if newest.start_ms <= at_ms:
            return newest
        return self._stretches[max(0, bisect_right(self._stretches, at_ms, key=lambda s: s.start_ms) - 1)]

    def _of(self, msn: int) -> Stretch:
        newest = self._stretches[-1]
        if newest.msn <= msn:
            return newest
        return self._stretches[max(0, bisect_right(self._stretches, msn, key=lambda s: s.msn) - 1)]
