"""How fast a packager may catch up while it follows a live edge: a share of the time of its loop, and of one core for what is published."""

# Seconds that may be spent at once after a rest: a few records, so that the live edge is looked at in between.
BURST_S = 0.01


class Pace:
    """
    Time that may be spent on the past: it comes back at a rate; what is spent beyond it is waited for.

    The loop's time is counted as it passes: on a busy machine the past slows down with it, and does not take what the live edge needs.
    """

    def __init__(self, share: float) -> None:
        """
        Args:
            share: Share of the time.

        >>> pace = Pace(0.5)
        >>> pace.spend(0.12)
        >>> [pace.may_go_on(seconds) for seconds in (0.0, 0.1, 0.3)]
        [False, False, True]
        """
        self._share = share
        self._left_s = BURST_S
        self._at_s = 0.0

    def spend(self, seconds: float) -> None:
        """Time was spent."""
        self._left_s -= seconds

    def may_go_on(self, now_s: float) -> bool:
        """Whether there is time left, by a clock of seconds that never goes back."""
        self._left_s = min(BURST_S, self._left_s + max(0.0, now_s - self._at_s) * self._share)
        self._at_s = now_s
        return self._left_s > 0
