"""The one wrapper of all agents (decode, reject, fold, count, acknowledge) and the watchdog of the process."""

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any, Self, cast

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
# Between two looks of the watchdog.
WATCH_S = 0.5
EXIT_STUCK = 1


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


class StuckError(Exception):
    """The worker lives but does not get on: end it, so that it is started again."""


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
        written: The table write that was sent last for a topic; None if none ever was.
        on_handled: Told topic, pool and the offset after each record done with, whatever became of it.
    """

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        codec: Codec,
        metrics: Metrics,
        send_reject: SendReject,
        written: Callable[[Topic], asyncio.Future[Any] | None] = lambda topic: None,
        on_handled: Callable[[Topic, int, int], None] = lambda topic, pool, next_offset: None,
    ) -> None:
        self._kafka = kafka
        self._codec = codec
        self._metrics = metrics
        self._send_reject = send_reject
        self._written = written
        self._acks: set[asyncio.Future[Any]] = set()
        self._on_handled = on_handled
        self.handled: dict[TP, int] = {}
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
            # Acknowledged by hand: Faust would acknowledge a record whose handling was cancelled or failed.
            async for event in cast(faust.Stream[bytes], stream).noack().events():
                await self._attend(topic, handle, event)
                written = self._written(topic)
                if written is None or written.done():
                    await stream.ack(event)
                else:
                    self._ack_after(written, stream, event)

        return app.agent(source, name=topic.title)(attend)

    def _ack_after(self, written: asyncio.Future[Any], stream: StreamT[bytes], event: EventT[bytes]) -> None:
        """
        Acknowledge a record once its row is durable.

        Faust commits the offset of a record without waiting for what it wrote to the changelog: killed in between, a worker
        would find rows without the record and a commit beyond it.
        """

        async def ack() -> None:
            try:
                await written
            except Exception as error:  # noqa: BLE001 - whatever kept the row from the log, the record must be read again
                self.fail(error)
            else:
                await stream.ack(event)

        task = asyncio.ensure_future(ack())
        self._acks.add(task)
        task.add_done_callback(self._acks.discard)

    def fail(self, error: BaseException) -> None:
        """The process must end with this error; the first counts."""
        if self.failure is None:
            self.failure = error
            self.failed.set()

    async def _attend(self, topic: Topic, handle: Handler, event: EventT[bytes]) -> None:
        message = event.message
        try:
            await self._handle(topic, handle, event)
        except Exception as error:
            log.exception("record_failed", topic=message.topic, partition=message.partition, offset=message.offset)
            self.fail(error)
            raise
        tp = TP(message.topic, message.partition)
        before = self.handled.get(tp)
        # Compacted topics have holes; in the others a hole is a record that Kafka or Faust did not give us.
        if before is not None and message.offset > before and topic.cleanup is topics.Cleanup.DELETE:
            self._metrics.gaps.labels(topic.title).inc(message.offset - before)
            log.error("offsets_skipped", topic=message.topic, partition=message.partition, after=before, until=message.offset)
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
        self._beat = monotonic()
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
        self._beat = monotonic()

    def _watch(self) -> None:
        while not self._stopped.wait(min(WATCH_S, self._stuck_after_s / 4)):
            if monotonic() - self._beat > self._stuck_after_s:
                log.error("loop_stands_still", for_ms=round((monotonic() - self._beat) * 1_000))
                faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr)
                self._end(EXIT_STUCK)
                return


async def watch(
    *,
    guard: LoopGuard,
    metrics: Metrics,
    handled: dict[Any, int],
    committed: Callable[[], dict[Any, int]],
    busy_recovering: Callable[[], object],
    stuck_after_ms: int,
) -> None:
    """
    Keep the guard content, measure, and return never.

    Args:
        busy_recovering: What recovery has left to do, None when there is none; the same answer for too long means it is stuck.

    Raises:
        StuckError: Commits or a recovery do not get on.
    """
    age, limit_s = CommitAge(), stuck_after_ms / 1_000
    left, left_since = busy_recovering(), monotonic()
    while True:
        asked = monotonic()
        await asyncio.sleep(WATCH_S)
        now = monotonic()
        guard.beat()
        metrics.loop_lag_s.set(max(0.0, now - asked - WATCH_S))
        commit_age = age.of(handled, committed(), now_s=now)
        metrics.commit_age_s.set(commit_age)
        if commit_age > limit_s:
            raise StuckError(f"no commit for {commit_age:.0f} s though records were folded")
        if (leaves := busy_recovering()) is None or leaves != left:
            left, left_since = leaves, now
        if left is not None and now - left_since > limit_s:
            raise StuckError(f"recovery of tables makes no progress: {left}")
