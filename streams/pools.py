"""What a worker knows of each pool it is assigned: its folds, the broker's clock, and what waits to be decided."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from schemas.settings import Settings
from schemas.units import UnixMs
from streams.core.state import FOLDS, State
from streams.metrics import Metrics
from streams.rows import Tables
from streams.shell import Arrival

Urges = Callable[[Any, Any], bool]


class BrokerClock:
    """
    The broker's time: that of the last append or record, plus monotonic time since; never back.

    Args:
        monotonic_s: Seconds of a clock that only rises.

    >>> seconds = iter([10.0, 10.5, 11.0, 12.0])
    >>> clock = BrokerClock(lambda: next(seconds))
    >>> clock.observe(UnixMs(5_000)); clock.now()
    5500
    >>> clock.observe(UnixMs(5_200)); clock.now()
    7000
    """

    def __init__(self, monotonic_s: Callable[[], float] = monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._ahead_ms: float | None = None
        self._last = UnixMs(0)

    @property
    def is_known(self) -> bool:
        """Whether any record told the time."""
        return self._ahead_ms is not None

    def observe(self, at: UnixMs) -> None:
        """A record was read that the broker stamped with this time; it may have waited."""
        ahead_ms = at - self._monotonic_s() * 1_000
        self._ahead_ms = ahead_ms if self._ahead_ms is None else max(self._ahead_ms, ahead_ms)

    def appended(self, at: UnixMs) -> None:
        """An append was stamped with this time just now: this corrects what the two clocks drifted apart."""
        self._ahead_ms = at - self._monotonic_s() * 1_000

    def now(self) -> UnixMs:
        """
        The time.

        Raises:
            ValueError: No record told it yet.
        """
        if self._ahead_ms is None:
            raise ValueError("no record told the broker's time yet")
        self._last = max(self._last, UnixMs(int(self._monotonic_s() * 1_000 + self._ahead_ms)))
        return self._last


class Pool:
    """
    One pool.

    Attributes:
        number: Pool, the partition of its topics.
        state: Its folds.
        clock: The broker's time.
        cause: Newest record that urges a decision, ``topic/partition/offset``; empty: none.
        touched: Set whenever a record was folded.
        urged: Set when a decision should not wait for the next tick.
        pruned_unix_ms: By topic, broker time at which rows that no decision can read any more were last dropped.
    """

    def __init__(self, number: int, settings: Settings, tables: Tables) -> None:
        self.number = number
        self.state = State(number, settings.planner.memory_ms, topic_prefix=settings.kafka.topic_prefix)
        self.clock = BrokerClock()
        self.cause = ""
        self.touched = asyncio.Event()
        self.urged = asyncio.Event()
        self.pruned_unix_ms: dict[str, UnixMs] = {}
        for title, rows in tables.by_title.items():
            for key, row in rows.of(number):
                self.state.put(title, key, row)
                self.clock.observe(row.at_unix_ms)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever folded."""
        return not any(self.state.rows(title) for title in FOLDS)

    def urge(self, cause: str) -> None:
        """A record calls for a decision at once."""
        self.cause = cause
        self.urged.set()

    def take_cause(self) -> str:
        """What urges the decision that begins now; later records urge the next."""
        cause, self.cause = self.cause, ""
        self.urged.clear()
        return cause


class Pools:
    """
    The pools of this worker, made from the tables when first asked for, which is after their recovery.

    Args:
        settings: Settings.
        tables: Where rows survive.
        metrics: Counts replays.
    """

    def __init__(self, settings: Settings, tables: Tables, metrics: Metrics) -> None:
        self._settings = settings
        self._tables = tables
        self._metrics = metrics
        self._pools: dict[int, Pool] = {}

    def of(self, number: int) -> Pool:
        """A pool of this worker."""
        if number not in self._pools:
            self._pools[number] = Pool(number, self._settings, self._tables)
        return self._pools[number]

    def recovered(self, assigned: set[int]) -> None:
        """
        The tables of these pools hold all that anybody folded: what is in memory here does not count any more, nor any other pool.

        A pool that never left our assignment may have been another worker's, while we stood still.
        """
        for number in range(self._settings.kafka.pool_count):
            (self._tables.drop if number in assigned else self._tables.forget)(number)
        self._pools.clear()

    def fold(self, arrival: Arrival, *, urges: Urges) -> bool:
        """
        Fold a record into its row, in memory and in the table.

        Args:
            arrival: The record.
            urges: Whether it calls for a decision at once, given the record and the row before it.

        Returns:
            Whether it is new; one that its row includes changes nothing. Rows are written one after the other: of a worker that was killed,
            some include records that others, with older ones, do not.
        """
        pool, title = self.of(arrival.pool), arrival.topic.title
        key = FOLDS[title].key(arrival.record)
        before = pool.state.rows(title).get(key)
        if before is not None and arrival.offset <= before.offset:
            self._metrics.replayed.labels(title).inc()
            return False
        after = pool.state.fold(title, arrival.record, offset=arrival.offset, at=arrival.at_unix_ms)
        self._tables.by_title[title].put(arrival.pool, key, after)
        pool.clock.observe(arrival.at_unix_ms)
        self._prune(pool, title, arrival)
        if urges(arrival.record, before):
            pool.urge(arrival.cause)
        pool.touched.set()
        return True

    def _prune(self, pool: Pool, title: str, arrival: Arrival) -> None:
        # By records, whose time is the broker's; once per restatement, as all rows are looked through.
        now = arrival.at_unix_ms
        if now - pool.pruned_unix_ms.get(title, 0) >= self._settings.planner.restate_ms:
            pool.pruned_unix_ms[title] = now
            for key in pool.state.prune(title, now):
                self._tables.by_title[title].remove(pool.number, key, arrival.offset)
