"""Deletes from `channels` what nobody needs any more: periods long ended, never the newest of a channel."""

import asyncio

import structlog

from schemas import topics
from schemas.codec import Codec
from schemas.errors import RejectedError
from schemas.records import Period
from schemas.settings import Settings
from schemas.units import Ms, UnixMs
from streams.log import Log, Stored, outgoing
from streams.pools import Pool

log = structlog.get_logger()


def keep_ms(settings: Settings) -> Ms:
    """
    How long the records of a period stay after the next one began: while it may be watched, packaged late, or decided on again.

    >>> keep_ms(Settings()) == Settings().kafka.control_retention_ms + Settings().planner.memory_ms
    True
    """
    replayed_ms = settings.kafka.control_retention_ms + settings.planner.memory_ms
    return Ms(max(settings.media.time_shift_ms, settings.kafka.media_retention_ms, replayed_ms))


class Periods:
    """
    The records of `channels` of one pool.

    What is deleted follows from the topic and the time alone and is the same whoever looks: it needs no decision, a second planner
    does no harm, and one that starts anew finds what the last one left.

    Args:
        pool: The pool.
        log: Where they are.
        codec: Frames.
        settings: How long they stay, and how often they are looked through.
    """

    def __init__(self, pool: Pool, *, log: Log, codec: Codec, settings: Settings) -> None:
        self._pool = pool
        self._log = log
        self._codec = codec
        self._settings = settings
        self._keep_ms = keep_ms(settings)
        self._next = 0
        self._keys: dict[str, dict[str, int]] = {}
        self._settled: dict[str, dict[int, UnixMs]] = {}

    async def run(self) -> None:
        """Look once per restatement, for ever."""
        while True:
            await asyncio.sleep(self._settings.planner.restate_ms / 1_000)
            if self._pool.clock.is_known:
                await self.sweep(self._pool.clock.now())

    async def sweep(self, now: UnixMs) -> tuple[str, ...]:
        """Delete what nobody needs any more; its keys."""
        await self._read()
        gone = tuple((channel, key) for channel in sorted(self._keys) for key in self._expired(channel, now))
        if gone:
            kafka, pool = self._settings.kafka, self._pool.number
            await self._log.append([outgoing(topics.CHANNELS, pool, key, None, codec=self._codec, kafka=kafka) for _, key in gone])
            for channel, key in gone:
                self._forget(channel, key)
            log.info("periods_deleted", pool=pool, keys=[key for _, key in gone])
        return tuple(key for _, key in gone)

    def _expired(self, channel: str, now: UnixMs) -> list[str]:
        """Keys of all periods before the newest one that began long enough ago."""
        settled = max((number for number, at in self._settled.get(channel, {}).items() if at <= now), default=0)
        return sorted(key for key, number in self._keys[channel].items() if number < settled)

    async def _read(self) -> None:
        name, pool = topics.CHANNELS.name(self._settings.kafka), self._pool.number
        async with self._log.reading() as reading:
            first, end = await reading.bounds(name, pool)
            for stored in await reading.read(name, pool, max(first, self._next), end):
                self._take(stored)
        self._next = end

    def _take(self, stored: Stored) -> None:
        key = stored.key.decode(errors="replace")
        channel, _, rest = key.partition("/")
        number = rest.removesuffix("/end")
        if not number.isdecimal():
            return
        if stored.value is None:
            self._forget(channel, key)
            return
        self._keys.setdefault(channel, {})[key] = int(number)
        if (period := self._period(stored.value)) is not None and topics.period_key(period.channel, period.period) == key:
            # The period before it ended before this record was appended.
            at = UnixMs(stored.at_unix_ms + max(self._keep_ms, period.time_shift_ms))
            self._settled.setdefault(channel, {})[period.period] = at

    def _period(self, value: bytes) -> Period | None:
        try:
            record = self._codec.decode(value)
        except RejectedError:
            return None  # the agent of `channels` writes it to rejects
        return record if isinstance(record, Period) else None

    def _forget(self, channel: str, key: str) -> None:
        keys, settled = self._keys.get(channel, {}), self._settled.get(channel, {})
        number = keys.pop(key, None)
        if number is not None and not key.endswith("/end"):
            settled.pop(number, None)
        for held in (self._keys, self._settled):
            if channel in held and not held[channel]:
                del held[channel]
