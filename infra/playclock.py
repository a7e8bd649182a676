"""The playhead and buffer of one viewer: when it plays, when it starves."""

from dataclasses import dataclass

# Until a viewer has this many segments it waits, as players do: with one it would starve at the first reload.
SEGMENTS_TO_START = 2


@dataclass(slots=True)
class PlayClock:
    """
    Media bought and media played, in seconds of a monotonic clock that the caller reads.

    >>> clock = PlayClock()
    >>> clock.append(2.0, now_s=0.0), clock.append(2.0, now_s=0.5), clock.buffer_s(now_s=1.5)
    (False, True, 3.0)
    >>> clock.append(2.0, now_s=5.0), clock.stalls, clock.stalled_s
    (False, 1, 0.5)
    """

    segments: int = 0
    stalls: int = 0
    stalled_s: float = 0.0
    _ahead_s: float = 0.0
    _since_s: float | None = None

    @property
    def is_started(self) -> bool:
        """It plays, or would if it did not starve."""
        return self._since_s is not None

    def buffer_s(self, *, now_s: float) -> float:
        """Media ahead of the playhead."""
        played = 0.0 if self._since_s is None else now_s - self._since_s
        return max(0.0, self._ahead_s - played)

    def is_starved(self, *, now_s: float) -> bool:
        """It should play and has nothing to play."""
        return self.is_started and self.buffer_s(now_s=now_s) == 0.0

    def append(self, duration_s: float, *, now_s: float) -> bool:
        """Take a segment; true if play begins with it."""
        if self._since_s is not None:
            lack_s = now_s - self._since_s - self._ahead_s
            if lack_s > 0:
                self.stalls += 1
                self.stalled_s += lack_s
            self._ahead_s, self._since_s = self.buffer_s(now_s=now_s), now_s
        self._ahead_s += duration_s
        self.segments += 1
        if self._since_s is None and self.segments >= SEGMENTS_TO_START:
            self._since_s = now_s
            return True
        return False

    def leave(self, *, now_s: float) -> None:
        """Stop watching; a stall that lasts is counted."""
        if self._since_s is not None and (lack_s := now_s - self._since_s - self._ahead_s) > 0:
            self.stalls += 1
            self.stalled_s += lack_s
        self._since_s = None
