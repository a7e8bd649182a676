"""How much of a worker's time its planners take."""

import asyncio
from collections.abc import Callable
from time import monotonic

# Of the loop's time. What they decide by comes in by the same loop: planners that took all of it would decide by what is long over.
SHARE_MAX = 0.3


class Pace:
    """
    Work that takes at most a share of the loop's time, whoever does it.

    Args:
        share_max: Of the time.
        monotonic_s: Seconds.

    >>> seconds = iter([10.0, 10.1, 12.0])
    >>> pace = Pace(0.25, lambda: next(seconds))
    >>> pace.took(0.2); round(pace.rest_s, 3)
    0.5
    >>> pace.rest_s
    0.0
    """

    def __init__(self, share_max: float = SHARE_MAX, monotonic_s: Callable[[], float] = monotonic) -> None:
        self._rest_per_s = 1 / share_max - 1
        self._monotonic_s = monotonic_s
        self._free_at = 0.0

    @property
    def rest_s(self) -> float:
        """Until the next work may begin."""
        return max(0.0, self._free_at - self._monotonic_s())

    async def rest(self) -> None:
        """Return when the next work may begin."""
        await asyncio.sleep(self.rest_s)

    def took(self, seconds: float) -> None:
        """Work that has just ended took so long."""
        self._free_at = max(self._free_at, self._monotonic_s()) + seconds * self._rest_per_s
