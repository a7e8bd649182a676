"""The one wrapper of all agents: decode, reject, fold, count, acknowledge."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import faust
import structlog
from faust.types import TP, AgentT, EventT, StreamT

from schemas import topics
from schemas.codec import Codec
from schemas.errors import RejectedError
from schemas.records import Reject
from schemas.settings import KafkaSettings
from schemas.topics import Topic
from schemas.units import UnixMs
from streams.metrics import Metrics

log = structlog.get_logger()

# A reject holds its own fields beside the bytes it quotes.
REJECT_MARGIN_BYTES = 4_096


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """
    One decoded record where and when it arrived.

    Attributes:
        topic: Its topic.
        pool: Its partition.
        offset: Its offset.
        at_unix_ms: Broker time.
        cause: How others name it.
        record: The record.
    """

    topic: Topic
    pool: int
    offset: int
    at_unix_ms: UnixMs
    cause: str
    record: Any


Handler = Callable[[Arrival], None]
SendReject = Callable[[int, bytes, Reject], Awaitable[None]]


async def _never(tp: TP, first: int, found: int) -> bool:
    del tp, first, found
    return False


class Shell:
    """
    Wraps handlers into agents.

    A record that cannot be read or breaks a rule goes to ``rejects`` with its bytes, and reading goes on. Any other exception
    is our bug: it is told to ``failed``, the record stays unacknowledged, and nothing after it is read, so that the process
    ends and its successor reads the record again.

    Args:
        kafka: Names and limits.
        codec: Decodes.
        metrics: Counts.
        send_reject: Writes a reject to a partition under a key, and returns once it is acknowledged.
        when_durable: Calls back once the rows of a topic and pool are durable as they are now, in the order of its calls.
        is_given_again: Whether the records from an offset on come again that were passed over before one that was found.
        on_handled: Told topic, pool and the offset after each record done with, whatever became of it.

    Attributes:
        handled: The offset after the newest record done with, or the one that is to come first.
        failure: What the process must end with.
        failed: Set with it.
    """

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        codec: Codec,
        metrics: Metrics,
        send_reject: SendReject,
        when_durable: Callable[[Topic, int, Callable[[], object]], None],
        is_given_again: Callable[[TP, int, int], Awaitable[bool]] = _never,
        on_handled: Callable[[Topic, int, int], None] = lambda topic, pool, next_offset: None,
    ) -> None:
        self._kafka = kafka
        self._codec = codec
        self._metrics = metrics
        self._send_reject = send_reject
        self._when_durable = when_durable
        self._is_given_again = is_given_again
        self._on_handled = on_handled
        self.handled: dict[TP, int] = {}
        self._first: dict[TP, int] = {}
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()

    def attend(self, app: faust.App, topic: Topic, handle: Handler) -> AgentT[Any]:
        """The agent that gives every record of a topic to a handler."""
        source = app.topic(
            topic.name(self._kafka),
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            allow_empty=True,
        )

        async def attend(stream: StreamT[bytes]) -> None:
            # Acknowledged by hand: Faust would acknowledge a record whose handling was cancelled or failed, and commits its offset without
            # waiting for the changelog: killed in between, a worker would find rows without the record and a commit beyond it.
            async for event in cast(faust.Stream[bytes], stream).noack().events():
                tp, offset = TP(event.message.topic, event.message.partition), event.message.offset
                if await self._is_early(tp, offset):
                    continue  # it comes again, after what is missing before it
                if not self._is_known(tp, offset):
                    await self._attend(topic, handle, event)
                self._when_durable(topic, event.message.partition, event.ack)

        return app.agent(source, name=topic.title)(attend)

    def expect(self, begin: Mapping[TP, int]) -> bool:
        """
        Reading begins at these offsets.

        Returns:
            Whether nothing is missing between them and what was handled before they were known; if so, it counts.
        """
        is_whole = all(self._first.get(tp, offset) <= offset <= self.handled.get(tp, offset) for tp, offset in begin.items())
        for tp, offset in begin.items():
            if not is_whole or tp not in self.handled:
                self._first[tp] = self.handled[tp] = offset
        return is_whole

    def forget(self, tp: TP) -> None:
        """What was handled of a partition does not count any more."""
        self._first.pop(tp, None)
        self.handled.pop(tp, None)

    async def _is_early(self, tp: TP, offset: int) -> bool:
        """Whether records before it were passed over, and come again."""
        first = self.handled.get(tp)
        if first is None or offset <= first:
            return False
        is_early = await self._is_given_again(tp, first, offset)
        # Reading may have begun anew meanwhile: then whatever was read before comes again.
        return is_early or self.handled.get(tp) != first

    def _is_known(self, tp: TP, offset: int) -> bool:
        """Whether it was handled before, without a gap until now."""
        return self._first.get(tp, offset + 1) <= offset < self.handled.get(tp, 0)

    def fail(self, error: BaseException) -> None:
        """The process must end with this error; the first counts."""
        if self.failure is None:
            self.failure = error
            self.failed.set()

    async def _attend(self, topic: Topic, handle: Handler, event: EventT[bytes]) -> None:
        message = event.message
        tp = TP(message.topic, message.partition)
        before = self.handled.get(tp)
        try:
            await self._handle(topic, handle, event)
        except Exception as error:
            log.exception("record_failed", topic=message.topic, partition=message.partition, offset=message.offset)
            self.fail(error)
            raise
        if self.handled.get(tp) != before:
            return  # reading began anew while a reject was written: what comes again is not to be hidden by it
        # Compaction makes holes; elsewhere one is of records that were too old before they were read.
        if before is not None and message.offset > before and topic.cleanup is topics.Cleanup.DELETE:
            self._metrics.gaps.labels(topic.title).inc(message.offset - before)
            log.error("offsets_skipped", topic=message.topic, partition=message.partition, after=before, until=message.offset)
        self._first.setdefault(tp, message.offset)
        self.handled[tp] = max(before or 0, message.offset + 1)
        self._on_handled(topic, message.partition, message.offset + 1)

    async def _handle(self, topic: Topic, handle: Handler, event: EventT[bytes]) -> None:
        message = event.message
        if message.value is None:
            return  # a tombstone in `channels`: it removes a period that no decision can read any more
        began = perf_counter()
        try:
            record = self._decode(topic, message.partition, message.value)
            handle(
                Arrival(
                    topic=topic,
                    pool=message.partition,
                    offset=message.offset,
                    at_unix_ms=UnixMs(round(message.timestamp * 1_000)),
                    cause=topics.cause(message.topic, message.partition, message.offset),
                    record=record,
                )
            )
        except RejectedError as error:
            await self._reject(topic, event, str(error))
        self._metrics.records.labels(topic.title).inc()
        self._metrics.fold_s.labels(topic.title).observe(perf_counter() - began)

    def _decode(self, topic: Topic, partition: int, value: bytes) -> Any:
        record = self._codec.decode(value)
        if not isinstance(record, topic.records):
            raise RejectedError(f"a {type(record).__name__} in {topic.title}")
        pool = getattr(record, "pool", partition)
        if pool != partition:
            raise RejectedError(f"a {type(record).__name__} of pool {pool} in partition {partition}")
        return record

    async def _reject(self, topic: Topic, event: EventT[bytes], error: str) -> None:
        message = event.message
        payload, key = message.value or b"", message.key or b""
        reject = Reject(
            source_topic=message.topic,
            source_partition=message.partition,
            source_offset=message.offset,
            source_key=key,
            payload=payload[: self._kafka.message_bytes_max - REJECT_MARGIN_BYTES - len(key)],
            payload_size=len(payload),
            error=error,
            rejected_by="control",
        )
        await self._send_reject(message.partition, topic.title.encode(), reject)
        self._metrics.rejects.labels(topic.title).inc()
        log.warning("record_rejected", topic=message.topic, partition=message.partition, offset=message.offset, error=error)
