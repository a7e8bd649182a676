"""The watchdog: ends a worker whose loop, commits, recovery or reading stand still, so that its supervisor starts it again."""

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Self

import structlog

from schemas.errors import Exit
from streams.metrics import Metrics

log = structlog.get_logger()

# Between two looks of the watchdog.
WATCH_S = 0.5
# Between two questions to the broker for the ends of what is read.
ENDS_S = 2.0
# How much of the time in which others get on counts as standing still.
AMONG_OTHERS = 0.2
# A look may come so many times later than it should before the rest counts as standing still.
LATE_MAX = 4


class StuckError(Exception):
    """The worker lives but does not get on: end it, so that it is started again."""


class Awake:
    """
    Seconds in which this process ran, asked again and again; of a time that it stood still, stopped or starved, only one step counts.

    Else who wakes up from a long stop would find everything overdue, and end.

    >>> seconds = iter([10.0, 10.5, 70.0, 70.5])
    >>> awake = Awake(1.0, lambda: next(seconds)); awake(), awake(), awake()
    (0.5, 1.5, 2.0)
    """

    def __init__(self, step_max_s: float, monotonic_s: Callable[[], float] = monotonic) -> None:
        self._step_max_s = step_max_s
        self._monotonic_s = monotonic_s
        self._asked = monotonic_s()
        self._awake_s = 0.0

    def __call__(self) -> float:
        """Seconds since it was made."""
        now = self._monotonic_s()
        self._awake_s += min(now - self._asked, self._step_max_s)
        self._asked = now
        return self._awake_s


class Stall:
    """
    How long nothing was read of each of those that have more.

    Who is far behind reads by turns, and of each partition long nothing: while others get on, time counts a fifth.

    >>> stall = Stall()
    >>> stall.of({"a": 5, "b": 3}, {"a": 9, "b": 3}, now_s=10.0)
    {'a': 0.0}
    >>> stall.of({"a": 5, "b": 3}, {"a": 9, "b": 4}, now_s=12.0)
    {'a': 2.0, 'b': 0.0}
    >>> stall.of({"a": 6, "b": 3}, {"a": 9, "b": 4}, now_s=17.0)
    {'a': 0.0, 'b': 1.0}
    """

    def __init__(self) -> None:
        self._stood: dict[Any, tuple[int, float]] = {}
        self._looked_s = 0.0

    def of(self, positions: dict[Any, int], ends: dict[Any, int], *, now_s: float) -> dict[Any, float]:
        """Seconds, by what is not at its end; 0 for one that gets on."""
        before, behind = self._stood, {key: positions.get(key, 0) for key, end in ends.items() if positions.get(key, 0) < end}
        gets_on = any(positions.get(key, 0) > at for key, (at, _) in before.items())
        more_s = (now_s - self._looked_s) * (AMONG_OTHERS if gets_on else 1.0)
        self._looked_s = now_s
        self._stood = {key: (at, before[key][1] + more_s if before.get(key, (-1, 0.0))[0] == at else 0.0) for key, at in behind.items()}
        return {key: stood_s for key, (_, stood_s) in self._stood.items()}


class CommitAge:
    """
    Age of the oldest record handled whose offset is not committed.

    >>> age = CommitAge()
    >>> age.of({"a": 5}, {"a": 3}, now_s=10.0)
    0.0
    >>> age.of({"a": 9}, {"a": 4}, now_s=12.0)
    2.0
    >>> age.of({"a": 9}, {"a": 5}, now_s=13.0)
    0.0
    """

    def __init__(self) -> None:
        self._open: dict[Any, tuple[int, float]] = {}

    def of(self, handled: dict[Any, int], committed: dict[Any, int], *, now_s: float) -> float:
        """Seconds, 0 when all that was handled at some earlier look is committed."""
        self._open = {key: mark for key, mark in self._open.items() if key in handled}
        for key, offset in handled.items():
            mark = self._open.get(key)
            if mark is not None and committed.get(key, 0) >= mark[0]:
                mark = None
            if committed.get(key, 0) >= offset:
                self._open.pop(key, None)
            else:
                self._open[key] = mark or (offset, now_s)
        return max((now_s - since for _, since in self._open.values()), default=0.0)


class LoopGuard:
    """
    Ends the process, with the stacks of all threads on stderr, when its event loop stands still.

    Args:
        stuck_after_ms: For how long.
        end: What ends the process.
    """

    def __init__(self, stuck_after_ms: int, *, end: Callable[[int], Any] = os._exit) -> None:
        self._stuck_after_s = stuck_after_ms / 1_000
        self._end = end
        self._has_beaten = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop-guard", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def beat(self) -> None:
        """The loop turns."""
        self._has_beaten.set()

    def _watch(self) -> None:
        look_s = min(WATCH_S, self._stuck_after_s / 4)
        awake = Awake(LATE_MAX * look_s)
        beaten_s = 0.0
        while not self._stopped.wait(look_s):
            now_s = awake()
            if self._has_beaten.is_set():
                self._has_beaten.clear()
                beaten_s = now_s
            if now_s - beaten_s > self._stuck_after_s:
                log.error("loop_stands_still", for_ms=round((now_s - beaten_s) * 1_000))
                faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr)
                self._end(Exit.STUCK)
                return


async def beat(guard: LoopGuard, metrics: Metrics) -> None:
    """Tell the guard that the loop turns, measure how late it does, and return never."""
    while True:
        asked = monotonic()
        guard.beat()
        await asyncio.sleep(WATCH_S)
        metrics.loop_lag_s.set(max(0.0, monotonic() - asked - WATCH_S))


async def watch(
    *,
    metrics: Metrics,
    handled: dict[Any, int],
    committed: Callable[[], dict[Any, int]],
    busy_recovering: Callable[[], object],
    stuck_after_ms: int,
) -> None:
    """
    See that commits and recoveries get on, and return never.

    Args:
        busy_recovering: What recovery has left to do, None when there is none; the same answer for too long means it is stuck.

    Raises:
        StuckError: Commits or a recovery do not get on.
    """
    age, limit_s = CommitAge(), stuck_after_ms / 1_000
    awake = Awake(LATE_MAX * WATCH_S)
    left, left_since = busy_recovering(), awake()
    while True:
        await asyncio.sleep(WATCH_S)
        now = awake()
        commit_age = age.of(handled, committed(), now_s=now)
        metrics.commit_age_s.set(commit_age)
        if commit_age > limit_s:
            raise StuckError(f"no commit for {commit_age:.0f} s though records were folded")
        if (leaves := busy_recovering()) is None or leaves != left:
            left, left_since = leaves, now
        if left is not None and now - left_since > limit_s:
            raise StuckError(f"recovery of tables makes no progress: {left}")


async def watch_reading(
    *,
    positions: Callable[[], dict[Any, int]],
    ends: Callable[[], Awaitable[dict[Any, int]]],
    go_back: Callable[[dict[Any, int]], Awaitable[None]],
    metrics: Metrics,
    stuck_after_ms: int,
) -> None:
    """
    See that what is to be read is read, and return never.

    A record that was passed over in a rebalance is missed when the next one comes; after the last one there is none. So what stands still
    from one look to the next is asked for again.

    Args:
        positions: Offset of the next record, of each partition that is read.
        ends: The offset after the last record of each of them; empty while there is nothing to read, or nobody to tell.
        go_back: Has them read from these offsets on.

    Raises:
        StuckError: There are records, and none of them is read.
    """
    stall, awake = Stall(), Awake(LATE_MAX * ENDS_S)
    while True:
        await asyncio.sleep(ENDS_S)
        found = await ends()
        read = positions()
        stood = stall.of(read, found, now_s=awake())
        stalled_s = max(stood.values(), default=0.0)
        metrics.stalled_s.set(stalled_s)
        behind = {str(key): f"{read.get(key, 0)} of {found[key]}" for key in stood}
        if stalled_s * 1_000 > stuck_after_ms:
            raise StuckError(f"nothing was read for {stalled_s:.0f} s though there is more: {behind}")
        if again := {key: read.get(key, 0) for key, stood_s in stood.items() if stood_s >= ENDS_S}:
            log.warning("records_asked_again", read=behind)
            await go_back(again)
