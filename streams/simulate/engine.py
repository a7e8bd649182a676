"""Virtual time: what happens next, and processes that can be killed, paused and woken."""

from collections.abc import Callable
from heapq import heappop, heappush

from schemas.units import UnixMs

START = UnixMs(1_700_000_000_000)
"""Virtual time at which every simulation begins."""

Step = Callable[[], None]


class Engine:
    """
    A virtual clock: steps run one by one, by time and then by the order in which they were asked for.

    >>> engine, said = Engine(), []
    >>> engine.after(20, lambda: said.append("b")); engine.after(10, lambda: said.append("a"))
    >>> engine.run_until(UnixMs(START + 15)); said
    ['a']
    """

    def __init__(self) -> None:
        self.now = START
        self._number = 0
        self._steps: list[tuple[int, int, Step]] = []

    def after(self, ms: int, step: Step) -> None:
        """Runs a step so much later."""
        self._number += 1
        heappush(self._steps, (self.now + max(0, ms), self._number, step))

    def run_until(self, end: UnixMs) -> None:
        """Runs all steps due until a time."""
        while self._steps and self._steps[0][0] <= end:
            at, _, step = heappop(self._steps)
            self.now = UnixMs(at)
            step()
        self.now = end


class Process:
    """
    One run of a process. What it asked for does not happen once it has crashed, and waits, in order, while it is paused.

    Attributes:
        engine: The clock.
        is_up: Whether it has not ended.
        is_paused: Whether it stands still (SIGSTOP); it does not know.
    """

    def __init__(self, engine: Engine) -> None:
        """
        Args:
            engine: The clock.
        """
        self.engine = engine
        self.is_up = True
        self.is_paused = False
        self._held: list[Step] = []

    def after(self, ms: int, step: Step) -> None:
        """Runs a step so much later, if the process then runs."""
        self.engine.after(ms, lambda: self._run(step))

    def pause(self, ms: int) -> None:
        """Stands still for a while."""
        if not self.is_paused:
            self.is_paused = True
            self.engine.after(ms, self._resume)

    def crash(self) -> None:
        """Ends at once."""
        self.is_up = False
        self._held.clear()

    def _run(self, step: Step) -> None:
        if self.is_paused:
            self._held.append(step)
        elif self.is_up:
            step()

    def _resume(self) -> None:
        self.is_paused = False
        held, self._held = self._held, []
        for step in held:
            self._run(step)
