"""Processes held to a share of a core as `cpu.max` of a cgroup does it, but from outside: stopped for the rest of a period."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

# As of cpu.max: short beside a heartbeat.
PERIOD_S = 0.1
LOOK_S = 0.004
# A cgroup stops a process in time; we may be late, on a busy machine by much, and nobody is to stand still for that.
OWED_PERIODS = 5


def cpu_s(pid: int) -> float:
    """
    CPU seconds of a process, of all its threads, to the microsecond (Linux: the CPU clock of another process is a number made of its id).

    Raises:
        OSError: There is no such process.
    """
    return time.clock_gettime((~pid << 3) | 2)


class Allowance:
    """
    Whether a process may run on: so many seconds of CPU in each period, and what it took beyond is taken from the next five.

    >>> own = Allowance(0.2, cpu_s=5.0, now_s=10.0)
    >>> own.may_run(cpu_s=5.01, now_s=10.05), own.may_run(cpu_s=5.03, now_s=10.06), own.may_run(cpu_s=5.03, now_s=10.1)
    (True, False, True)
    >>> own.may_run(cpu_s=5.03, now_s=17.0), own.may_run(cpu_s=5.06, now_s=17.01)
    (True, False)
    """

    def __init__(self, cores: float, *, cpu_s: float, now_s: float) -> None:
        self._quota_s = cores * PERIOD_S
        self._seen_s, self._until_s = cpu_s, now_s + PERIOD_S
        self._left_s = self._quota_s

    def may_run(self, *, cpu_s: float, now_s: float) -> bool:
        """Whether it may, having used so much in all."""
        self._left_s -= cpu_s - self._seen_s
        self._seen_s = cpu_s
        if now_s >= self._until_s:
            periods = int((now_s - self._until_s) / PERIOD_S) + 1
            owed_s = max(self._left_s, -OWED_PERIODS * self._quota_s)
            self._left_s = min(self._quota_s, owed_s + periods * self._quota_s)
            self._until_s += periods * PERIOD_S
        return self._left_s > 0


@contextmanager
def throttled(pids: Callable[[], Mapping[int, float]]) -> Iterator[None]:
    """
    Holds processes to their cores for as long as the context lasts.

    Args:
        pids: Of each process the cores it may use; asked again and again.
    """
    over = threading.Event()

    def hold() -> None:
        held: dict[int, Allowance] = {}
        stopped: set[int] = set()
        while not over.wait(LOOK_S):
            for pid, cores in pids().items():
                with suppress(OSError):  # it has just ended
                    used, now = cpu_s(pid), time.monotonic()
                    own = held.setdefault(pid, Allowance(cores, cpu_s=used, now_s=now))
                    if own.may_run(cpu_s=used, now_s=now) == (pid in stopped):
                        os.kill(pid, signal.SIGCONT if pid in stopped else signal.SIGSTOP)
                        stopped ^= {pid}
        for pid in stopped:
            with suppress(OSError):
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=hold, name="throttle", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
