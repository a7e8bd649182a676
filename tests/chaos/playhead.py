"""A viewer's playhead and buffer: when it plays, when it stands still for want of media."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Playhead:
    """
    Media bought and media played, in seconds of a clock that the caller reads.

    Attributes:
        begin_s: Media that must lie ahead before it plays, at the start and after a stall.
        hold_back_s: Where it plays behind the edge; who fell back by `slack_s` more seeks to there, as players do.
        slack_s: See there.
        stalls: When it stood still: from, until.

    >>> head = Playhead(begin_s=2, hold_back_s=4, slack_s=4)
    >>> head.append(2.0, now_s=0.0), head.append(2.0, now_s=1.0), head.append(2.0, now_s=7.0), head.append(1.0, now_s=7.5)
    (None, None, None, None)
    >>> head.stalls, head.buffer_s(now_s=8.0)
    ([(4.0, 7.0)], 2.0)
    """

    begin_s: float
    hold_back_s: float
    slack_s: float
    stalls: list[tuple[float, float]] = field(default_factory=list)
    played_s: float = 0.0
    _ahead_s: float = 0.0
    _since_s: float | None = None
    _starved_s: float | None = None

    def buffer_s(self, *, now_s: float) -> float:
        """Media ahead."""
        return self._ahead_s if self._since_s is None else max(0.0, self._ahead_s - (now_s - self._since_s))

    def append(self, seconds: float, *, now_s: float) -> None:
        """Take more media."""
        self._play(now_s)
        self._ahead_s += seconds
        if self._since_s is None and self._ahead_s >= self.begin_s:
            if self._starved_s is not None:
                self.stalls.append((self._starved_s, now_s))
                self._starved_s = None
            self._since_s = now_s
        if self._ahead_s > self.hold_back_s + self.slack_s:
            self._ahead_s = self.hold_back_s

    def leave(self, *, now_s: float) -> None:
        """Stop watching; a stall that lasts is counted."""
        self._play(now_s)
        if self._starved_s is not None:
            self.stalls.append((self._starved_s, now_s))
        self._since_s = self._starved_s = None

    def _play(self, now_s: float) -> None:
        if self._since_s is None:
            return
        ran_s = now_s - self._since_s
        self.played_s += min(ran_s, self._ahead_s)
        if ran_s > self._ahead_s:
            self._starved_s, self._since_s, self._ahead_s = self._since_s + self._ahead_s, None, 0.0
        else:
            self._ahead_s, self._since_s = self._ahead_s - ran_s, now_s
