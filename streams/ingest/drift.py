"""How far a period's wall clock is from the broker's, and when it must be set anew (media rule 6; pure)."""

from collections import deque

# Looked at together: a burst after a hiccup of the network is over sooner.
WINDOW_MS = 30_000
# Media rule 6: above this, an alarm; above that, a new period.
ALARM_MS = 200
DRIFT_MS_MAX = 1_000
# Nothing is said of a clock before.
SETTLED_MS = 10_000


class Drift:
    """
    Broker time at which chunks come minus the time that their period gives them.

    A chunk may come late for many reasons; the earliest of a window tells of the clock. What is ahead of its time for good cannot be
    anchored anew, since periods do not overlap.

    >>> drift = Drift()
    >>> for second in range(40):
    ...     drift.acked(steady_ms=1_000 * second, broker_unix_ms=1_000 * second + 7_003)
    ...     drift.add(steady_ms=1_000 * second, media_unix_ms=1_000 * second + 5_500)
    >>> drift.skew_ms, drift.drift_ms, drift.is_over
    (1503, 1503, True)
    """

    def __init__(self) -> None:
        self._offsets: deque[tuple[int, int]] = deque()
        self._skews: deque[tuple[int, int]] = deque()
        self._began: int | None = None
        self.skew_ms = 0
        """That of the newest chunk."""

    def acked(self, *, steady_ms: int, broker_unix_ms: int) -> None:
        """The broker's clock at a chunk that we produced then, by a clock that nobody sets: the least difference is that of the clocks."""
        _push(self._offsets, steady_ms, broker_unix_ms - steady_ms)

    def add(self, *, steady_ms: int, media_unix_ms: int) -> None:
        """A chunk was produced that ends then by its period."""
        if not self._offsets:
            return  # nothing is known of the broker's clock yet
        offset = self._offsets[0][1]
        self._began = steady_ms if self._began is None else self._began
        self.skew_ms = steady_ms + offset - media_unix_ms
        _push(self._skews, steady_ms, self.skew_ms)

    def begin(self) -> None:
        """Another period begins, anchored anew; the clocks are what they were."""
        self._skews.clear()
        self._began, self.skew_ms = None, 0

    @property
    def drift_ms(self) -> int:
        """The least of the window."""
        return self._skews[0][1] if self._skews else 0

    @property
    def is_alarming(self) -> bool:
        """Whether the period's time is further off than it should be, one way or the other."""
        return self._seen_ms >= SETTLED_MS and abs(self.drift_ms) > ALARM_MS

    @property
    def is_over(self) -> bool:
        """Whether a whole window was later than it may be."""
        return self._seen_ms >= WINDOW_MS and self.drift_ms > DRIFT_MS_MAX

    @property
    def _seen_ms(self) -> int:
        return self._skews[-1][0] - self._began if self._began is not None and self._skews else 0


def _push(window: deque[tuple[int, int]], at: int, value: int) -> None:
    """Keep the least of the window at its head: a monotonic queue."""
    while window and window[-1][1] >= value:
        window.pop()
    window.append((at, value))
    while window[0][0] < at - WINDOW_MS:
        window.popleft()
