"""The broker's clock, as a process that follows its topics knows it: all times are its, whatever the clock of this machine says."""

import time
from collections.abc import Callable

from schemas.units import UnixMs

# Clocks of machines drift apart by some milliseconds in this time.
WINDOW_S = 60.0
# A clock of this machine that is no further off is taken for exact, where milliseconds are measured.
NEAR_MS = 1_000


class BrokerClock:
    """
    Time of the broker, behind by the quickest delivery of a record in the last minute or two: a few milliseconds.

    A record is delivered some time after it was appended, never before: of all recent ones the latest append, counted on by a clock that
    only rises, is nearest to the broker's time.
    """

    def __init__(self, *, monotonic_s: Callable[[], float], wall: Callable[[], UnixMs]) -> None:
        """
        Args:
            monotonic_s: Seconds of a clock that only rises.
            wall: Time of this machine, used until a record comes.
        """
        self._monotonic_s = monotonic_s
        self._wall = wall
        self._lead_ms: float | None = None
        self._newer_ms: float | None = None
        self._since_s = 0.0

    def hear(self, appended: UnixMs) -> None:
        """A record was delivered that was appended at this time."""
        now_s = self._monotonic_s()
        lead_ms = appended - now_s * 1_000
        if self._lead_ms is None or self._newer_ms is None:
            self._lead_ms = self._newer_ms = lead_ms
            self._since_s = now_s
        elif now_s - self._since_s > WINDOW_S:
            self._lead_ms, self._newer_ms, self._since_s = max(self._newer_ms, lead_ms), lead_ms, now_s
        else:
            self._lead_ms, self._newer_ms = max(self._lead_ms, lead_ms), max(self._newer_ms, lead_ms)

    def now(self) -> UnixMs:
        """
        The broker's time.

        >>> clock = BrokerClock(monotonic_s=lambda: 10.0, wall=lambda: UnixMs(5))
        >>> clock.now()
        5
        >>> clock.hear(UnixMs(70_000)); clock.hear(UnixMs(69_990)); clock.now()
        70000
        """
        return self._wall() if self._lead_ms is None else UnixMs(round(self._monotonic_s() * 1_000 + self._lead_ms))

    def nearest(self) -> UnixMs:
        """
        The time to measure milliseconds by: that of this machine while it is near the broker's, since it does not lag by a delivery; a
        clock that is far off is not believed.

        >>> clock = BrokerClock(monotonic_s=lambda: 10.0, wall=lambda: UnixMs(70_003))
        >>> clock.hear(UnixMs(70_000)); clock.nearest()
        70003
        >>> clock.hear(UnixMs(700_000)); clock.nearest()
        700000
        """
        wall, now = self._wall(), self.now()
        return wall if abs(wall - now) <= NEAR_MS else now


def wall() -> UnixMs:
    """Time of this machine."""
    return UnixMs(time.time_ns() // 1_000_000)
