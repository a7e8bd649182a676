"""The log as the control plane writes it and reads it back: what it asks of one, and the one in Kafka."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Self

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from schemas import topics
from schemas.codec import Codec
from schemas.settings import KafkaSettings
from schemas.units import UnixMs
from streams import patience
from streams.transport import security

log = structlog.get_logger()

READ_TIMEOUT_MS = 1_000
CLOSE_TIMEOUT_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """A record to be written; ``value`` None is a tombstone."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def outgoing(
    topic: topics.Topic, pool: int, key: str, record: Any | None, *, codec: Codec, kafka: KafkaSettings, decision: int | None = None
) -> Outgoing:
    """A record of a topic of the pools, framed; None is a tombstone, which says in a header from which decision it follows, if from one."""
    value = None if record is None else codec.encode(record)
    headers = topics.decision_headers(decision) if record is None and decision is not None else ()
    return Outgoing(topic=topic.name(kafka), partition=pool, key=key.encode(), value=value, headers=headers)


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

    async def ends(self, topics: Sequence[str], partition: int) -> list[int]:
        """The offset after the last of each."""
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


class KafkaLog:
    """
    The log in Kafka.

    Args:
        kafka: Cluster and limits.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self._asking: AIOKafkaConsumer | None = None

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
        patience.limit(self._producer.client, request_timeout_ms=self._kafka.request_timeout_ms)
        self._asking = _consumer(self._kafka)
        try:
            await self._producer.start()
            await self._asking.start()
        except KafkaError:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in filter(None, (self._producer, self._asking)):
            try:
                await asyncio.wait_for(client.stop(), CLOSE_TIMEOUT_S)
            except TimeoutError:
                # It waits for acknowledgements; whoever closes the log waits for none.
                log.warning("log_close_timed_out", after_s=CLOSE_TIMEOUT_S)

    async def append(self, records: Sequence[Outgoing]) -> list[Ack]:
        """Write records in order; returns once all are acknowledged by all in-sync replicas."""
        if self._producer is None:
            raise RuntimeError("the log is not open")
        sent = [await self._producer.send(r.topic, r.value, key=r.key, partition=r.partition, headers=[*r.headers]) for r in records]
        return [Ack(offset=done.offset, at_unix_ms=UnixMs(done.timestamp)) for done in await asyncio.gather(*sent)]

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["KafkaReading"]:
        """Open a look at the log."""
        if self._asking is None:
            raise RuntimeError("the log is not open")
        yield KafkaReading(self._kafka, self._asking)


def _consumer(kafka: KafkaSettings) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=kafka.fetch_wait_ms,
        **security(kafka),
    )
    patience.limit(consumer._client, request_timeout_ms=kafka.request_timeout_ms)  # noqa: SLF001 - it has no other door
    return consumer


async def _asked(ask: Callable[[], Awaitable[Any]]) -> Any:
    """
    The answer, asked for twice if need be.

    Of a process that stood still, the time for an answer is over before what has come meanwhile is looked at.
    """
    try:
        return await ask()
    except KafkaTimeoutError:
        return await ask()


class KafkaReading:
    """Consumers without a group: one that is asked for offsets, and one more for each stretch that is read."""

    def __init__(self, kafka: KafkaSettings, asking: AIOKafkaConsumer) -> None:
        self._kafka = kafka
        self._asking = asking

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset kept, and the offset after the last."""
        tp = TopicPartition(topic, partition)
        first, end = await _asked(lambda: asyncio.gather(self._asking.beginning_offsets([tp]), self._asking.end_offsets([tp])))
        return first[tp], end[tp]

    async def ends(self, topics: Sequence[str], partition: int) -> list[int]:
        """The offset after the last of each."""
        found = await _asked(lambda: self._asking.end_offsets([TopicPartition(topic, partition) for topic in topics]))
        return [found[TopicPartition(topic, partition)] for topic in topics]

    async def since(self, topic: str, partition: int, at: UnixMs) -> int:
        """Offset of the first record appended at or after a time; the end if there is none."""
        tp = TopicPartition(topic, partition)
        found = (await _asked(lambda: self._asking.offsets_for_times({tp: at})))[tp]
        offset: int = found.offset if found is not None else (await self.ends([topic], partition))[0]
        return offset

    async def read(self, topic: str, partition: int, first: int, end: int) -> list[Stored]:
        """Records from ``first`` until before ``end``."""
        if first >= end:
            return []
        tp = TopicPartition(topic, partition)
        read: list[Stored] = []
        # A consumer of its own: aiokafka 0.14 may never stop one that was assigned a second time.
        consumer = _consumer(self._kafka)
        await consumer.start()
        try:
            consumer.assign([tp])
            consumer.seek(tp, first)
            # Compaction leaves holes, also at the end: the position tells that it was passed.
            while await consumer.position(tp) < end:
                batch = await consumer.getmany(tp, timeout_ms=READ_TIMEOUT_MS)
                read += [
                    Stored(offset=r.offset, at_unix_ms=UnixMs(r.timestamp), key=r.key or b"", value=r.value) for r in batch.get(tp, ())
                ]
        finally:
            await consumer.stop()
        return [stored for stored in read if stored.offset < end]
