"""The journal of decisions: append with a contiguous-offset check, read back, and send what follows from them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas import topics
from schemas.codec import Codec
from schemas.errors import FinecutError, RejectedError
from schemas.records import Decision
from schemas.settings import KafkaSettings
from schemas.units import UnixMs
from streams.core.standing import Projection, Standing, apply, counts, orphans, projections
from streams.transport import security

# Decisions looked at in one step back in search of a whole one: a minute of a busy pool.
BLOCK = 500
READ_TIMEOUT_MS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """A record to be written; ``value`` None is a tombstone."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None


def outgoing(topic: topics.Topic, pool: int, key: str, record: Any | None, *, codec: Codec, kafka: KafkaSettings) -> Outgoing:
    """A record of a topic of the pools, framed; None is a tombstone."""
    value = None if record is None else codec.encode(record)
    return Outgoing(topic=topic.name(kafka), partition=pool, key=key.encode(), value=value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ack:
    """Where and when the broker appended a record."""

    offset: int
    at_unix_ms: UnixMs


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A record read back."""

    offset: int
    at_unix_ms: UnixMs
    key: bytes
    value: bytes | None


class Reading(Protocol):
    """An open look at the log."""

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset kept, and the offset after the last."""
        ...

    async def since(self, topic: str, partition: int, at: UnixMs) -> int:
        """Offset of the first record appended at or after a time; the end if there is none."""
        ...

    async def read(self, topic: str, partition: int, first: int, end: int) -> list[Stored]:
        """Records from ``first`` until before ``end``."""
        ...


class Log(Protocol):
    """What the control plane writes to and reads back from."""

    async def append(self, records: Sequence[Outgoing]) -> list[Ack]:
        """Write records in order; returns once all are acknowledged by all in-sync replicas."""
        ...

    def reading(self) -> AbstractAsyncContextManager[Reading]:
        """Open a look at the log."""
        ...


class OvertakenError(FinecutError):
    """Another planner appended since we last looked: read to the end and begin anew."""

    def __init__(self, *, pool: int, number: int, expected: int, got: int) -> None:
        super().__init__(f"decision {number} of pool {pool} landed at offset {got}, not {expected}: another planner came between")


class Journal:
    """
    Decisions of one pool: what is in force by them, and the only way to add one.

    Args:
        pool: Pool.
        log: Where they are.
        codec: Frames them.
        kafka: Names.

    Attributes:
        standing: What is in force.
    """

    def __init__(self, pool: int, *, log: Log, codec: Codec, kafka: KafkaSettings) -> None:
        self.pool = pool
        self.standing = Standing.empty(pool)
        self._log = log
        self._codec = codec
        self._kafka = kafka
        self._end = 0
        self._unsent: list[Projection] = []

    async def recover(self) -> UnixMs | None:
        """
        Read back what is in force: from a whole decision on, the first of each number.

        Returns:
            Broker time of the newest record; None when there is none.
        """
        name = topics.DECISIONS.name(self._kafka)
        async with self._log.reading() as reading:
            first, self._end = await reading.bounds(name, self.pool)
            tail: list[tuple[Stored, Decision]] = []
            start = self._end
            while start > first and not any(decision.whole and counts(decision, offset=stored.offset) for stored, decision in tail):
                start, end = max(first, start - BLOCK), start
                tail = [(stored, self._decision(stored)) for stored in await reading.read(name, self.pool, start, end)] + tail
            standing, self._unsent = Standing.empty(self.pool), []
            for decision in in_force([(stored.offset, decision) for stored, decision in tail]):
                before, standing = standing, apply(standing, decision)
                # Of all but the last, a planner had its projections acknowledged before it went on.
                self._unsent = projections(decision, before)
            self.standing = standing
            for topic in (topics.ASSIGNMENTS, topics.PLANS):
                self._unsent += orphans(topic, await self._keys(reading, topic), standing)
        return tail[-1][0].at_unix_ms if tail else None

    async def append(self, decision: Decision) -> Ack:
        """
        Write the next decision; from then on it is in force. What follows from it is sent by `project`.

        Raises:
            OvertakenError: Another planner wrote since: `recover` before anything else.
        """
        landing = replace(decision, lands_at=self._end)
        (ack,) = await self._log.append([self._outgoing(topics.DECISIONS, str(self.pool), landing)])
        if ack.offset != self._end:
            raise OvertakenError(pool=self.pool, number=decision.number, expected=self._end, got=ack.offset)
        self._end = ack.offset + 1
        self._unsent += projections(decision, self.standing)
        self.standing = apply(self.standing, decision)
        return ack

    async def project(self) -> list[tuple[Projection, Ack]]:
        """Send what follows from the decisions appended, after a recovery also what the last planner may have owed."""
        unsent = self._unsent
        acks = await self._log.append([self._outgoing(p.topic, p.key, p.record) for p in unsent])
        self._unsent = []
        return list(zip(unsent, acks, strict=True))

    async def _keys(self, reading: Reading, topic: topics.Topic) -> set[str]:
        """Keys of a compacted topic that have a value."""
        name = topic.name(self._kafka)
        first, end = await reading.bounds(name, self.pool)
        newest = {stored.key: stored.value for stored in await reading.read(name, self.pool, first, end)}
        return {key.decode() for key, value in newest.items() if value is not None}

    def _outgoing(self, topic: topics.Topic, key: str, record: Any | None) -> Outgoing:
        return outgoing(topic, self.pool, key, record, codec=self._codec, kafka=self._kafka)

    def _decision(self, stored: Stored) -> Decision:
        record = self._codec.decode(stored.value or b"")
        if not isinstance(record, Decision):
            raise RejectedError(f"offset {stored.offset} of the decisions of pool {self.pool} is a {type(record).__name__}")
        return record


def in_force(entries: Sequence[tuple[int, Decision]]) -> list[Decision]:
    """
    Those of a stretch of the journal that count, from its newest whole one on.

    Args:
        entries: Offset and decision, in order.

    >>> from dataclasses import replace
    >>> made = Decision(pool=0, number=7, at_unix_ms=UnixMs(0), whole=True, inputs=(), policy="", code_version="", lands_at=40)
    >>> then = replace(made, number=8, whole=False, lands_at=41)
    >>> [d.number for d in in_force([(39, replace(then, number=6, lands_at=39)), (40, made), (41, then), (42, then)])]
    [7, 8]
    """
    counted = [decision for offset, decision in entries if counts(decision, offset=offset)]
    newest = max((index for index, decision in enumerate(counted) if decision.whole), default=len(counted))
    return counted[newest:]


class KafkaLog:
    """
    The log in Kafka.

    Args:
        kafka: Cluster and limits.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka.bootstrap_servers,
            client_id="finecut-control",
            acks="all",
            enable_idempotence=True,
            max_request_size=self._kafka.message_bytes_max,
            request_timeout_ms=self._kafka.delivery_timeout_ms,
            **security(self._kafka),
        )
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def append(self, records: Sequence[Outgoing]) -> list[Ack]:
        """Write records in order; returns once all are acknowledged by all in-sync replicas."""
        if self._producer is None:
            raise RuntimeError("the log is not open")
        sent = [await self._producer.send(r.topic, r.value, key=r.key, partition=r.partition) for r in records]
        return [Ack(offset=done.offset, at_unix_ms=UnixMs(done.timestamp)) for done in await asyncio.gather(*sent)]

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["KafkaReading"]:
        """Open a look at the log."""
        async with _consumer(self._kafka) as consumer:
            yield KafkaReading(self._kafka, consumer)


@asynccontextmanager
async def _consumer(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=kafka.fetch_wait_ms,
        **security(kafka),
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


class KafkaReading:
    """Consumers without a group."""

    def __init__(self, kafka: KafkaSettings, consumer: AIOKafkaConsumer) -> None:
        self._kafka = kafka
        self._consumer = consumer

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset kept, and the offset after the last."""
        tp = TopicPartition(topic, partition)
        first, end = await asyncio.gather(self._consumer.beginning_offsets([tp]), self._consumer.end_offsets([tp]))
        return first[tp], end[tp]

    async def since(self, topic: str, partition: int, at: UnixMs) -> int:
        """Offset of the first record appended at or after a time; the end if there is none."""
        tp = TopicPartition(topic, partition)
        found = (await self._consumer.offsets_for_times({tp: at}))[tp]
        offset: int = found.offset if found is not None else (await self._consumer.end_offsets([tp]))[tp]
        return offset

    async def read(self, topic: str, partition: int, first: int, end: int) -> list[Stored]:
        """Records from ``first`` until before ``end``."""
        if first >= end:
            return []
        tp = TopicPartition(topic, partition)
        read: list[Stored] = []
        # A consumer of its own: aiokafka 0.14 may never stop one that was assigned a second time.
        async with _consumer(self._kafka) as consumer:
            consumer.assign([tp])
            consumer.seek(tp, first)
            # Compaction leaves holes, also at the end: the position tells that it was passed.
            while await consumer.position(tp) < end:
                batch = await consumer.getmany(tp, timeout_ms=READ_TIMEOUT_MS)
                read += [
                    Stored(offset=r.offset, at_unix_ms=UnixMs(r.timestamp), key=r.key or b"", value=r.value) for r in batch.get(tp, ())
                ]
        return [stored for stored in read if stored.offset < end]
