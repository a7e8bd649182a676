"""Sees that what stands last in the changelogs of a pool is what its tables hold, so that compaction keeps that."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from streams.log import Log
from streams.metrics import Metrics
from streams.rows import Tables

log = structlog.get_logger()

# Between two looks. Only if we, too, end between a late row and the next look, and compaction comes between, is anything lost.
LOOK_S = 5.0


class Changelogs:
    """
    The changelogs of one pool.

    A worker that stood still writes rows when it wakes up that its successor went beyond. A recovery passes them over, but compaction
    keeps the newest by offset: of a key that nobody writes again, the row would be lost that includes more. So what was found to lie
    later and to include less, by a recovery or by looking back at what is not ours, is written over with what the table holds.

    Args:
        pool: Pool.
        tables: Its tables, among others.
        log: Where the changelogs are.
        is_ours: Whether the pool is still assigned to this worker, asked of Kafka.
        metrics: Counts.
    """

    def __init__(self, pool: int, *, tables: Tables, log: Log, is_ours: Callable[[int], Awaitable[bool]], metrics: Metrics) -> None:
        self._pool = pool
        self._tables = tables.by_title
        self._log = log
        self._is_ours = is_ours
        self._metrics = metrics

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            await self.mend()
            await asyncio.sleep(LOOK_S)

    async def mend(self) -> tuple[str, ...]:
        """Write again what somebody else wrote over since the last look, and what the recovery passed over; its keys."""
        await self._look()
        wrong = [(rows, key) for rows in self._tables.values() for key in rows.overwritten(self._pool)]
        if not wrong or not await self._is_ours(self._pool):
            return ()
        for rows, key in wrong:
            is_mended = False
            while not is_mended:  # what was folded meanwhile may lie before what we wrote
                record = rows.again(self._pool, key)
                (ack,) = await self._log.append([record])
                is_mended = rows.mended(self._pool, record, ack.offset)
        keys = tuple(key.decode(errors="replace") for _, key in wrong)
        self._metrics.mended_rows.inc(len(keys))
        log.warning("rows_written_over", pool=self._pool, keys=keys)
        return keys

    async def _look(self) -> None:
        async with self._log.reading() as reading:
            ends = await reading.ends([rows.changelog for rows in self._tables.values()], self._pool)
            for rows, end in zip(self._tables.values(), ends, strict=True):
                if stretch := await rows.unexplained(self._pool, end):
                    rows.look(self._pool, await reading.read(rows.changelog, self._pool, *stretch), end=end)
