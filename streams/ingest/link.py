"""
One process's connection to Kafka for producing: idempotent, acknowledged by all replicas, bounded in bytes, never silent.

Acknowledgements are served inside `poll` and the sending calls, in the caller's thread. What the broker refused surfaces at the next call.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import RetryableError, UserError
from schemas.records import Reject
from schemas.registry import codec_of
from schemas.settings import Settings
from schemas.topics import REJECTS, Topic
from schemas.units import UnixMs
from streams.ingest import metrics
from streams.ingest.registry import Registry

log = structlog.get_logger()

Acked = Callable[[int, UnixMs], None]
"""Called with the record's offset and its broker time."""
# While waiting for room or for an acknowledgement: how long one look lasts.
LOOK_S = 0.1
# A reject holds its own fields beside the bytes it quotes.
REJECT_MARGIN_BYTES = 4_096


# What no second attempt cures.
FINAL = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    }
)

WHERE_UNKNOWN = "it took an earlier attempt, whose answer was lost, and does not say where the record stands"


def _ignore(_offset: int, _unix_ms: UnixMs) -> None:
    return


class Link:
    """Producer of all channels of a process, and what it follows for them; used from one thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.codec = codec_of(settings.kafka)
        self.registry = Registry(settings.kafka, self._reject)
        self.queued_bytes = 0
        self._failure: KafkaError | None = None
        self._reachable = True
        self._acks: deque[tuple[Acked, int, UnixMs]] = deque()
        self._sent_s: OrderedDict[int, float] = OrderedDict()
        """When each record that is not acknowledged was sent, the oldest first."""
        self._numbers = count()
        limit = settings.ingest.queue_bytes_max
        self._producer = Producer(
            settings.kafka.producer()
            | {
                # Our own count below is the limit; this one only has to be out of its way.
                "queue.buffering.max.kbytes": 2 * limit // 1024 + settings.kafka.message_bytes_max // 1024,
                "queue.buffering.max.messages": 0,
                # We give up all that waits, or nothing: librdkafka gives up record by record, and writes what follows beyond the hole.
                "delivery.timeout.ms": 0,
                "error_cb": self._on_error,
            }
        )
        try:
            self.registry.start()
            self.flush()  # what was rejected of the past is told before anything else
        except BaseException:
            self.close()  # nobody else can: who tries again and again would keep a consumer for each
            raise

    def send(self, topic: Topic, partition: int, key: str, record: Any, acked: Acked = _ignore) -> None:
        """
        Queue a record; blocks while the queue is full.

        Raises:
            RetryableError: The queue stayed full for ``queue_wait_ms``.
            UserError: The record is too large.
        """
        value, number = self.codec.encode(record), next(self._numbers)
        self._wait_for_room(len(value))

        def delivered(error: KafkaError | None, message: Message) -> None:
            del self._sent_s[number]
            self._delivered(error, message, len(value), acked)

        try:
            self._producer.produce(topic.name(self.settings.kafka), value, key, partition, on_delivery=delivered)
        except KafkaException as error:
            problem = f"a record of {len(value)} bytes for {topic.name(self.settings.kafka)} was refused: {error.args[0].str()}"
            raise UserError(problem, do="shorten FINECUT_MEDIA__PART_MS or raise FINECUT_KAFKA__MESSAGE_BYTES_MAX") from error
        self._sent_s[number] = time.monotonic()
        self.queued_bytes += len(value)
        self.poll()

    def send_now(self, topic: Topic, partition: int, key: str, record: Any) -> tuple[int, UnixMs]:
        """
        Offset and broker time of a record, once it is acknowledged.

        Raises:
            RetryableError: It was not delivered within ``delivery_timeout_ms``.
        """
        done: list[tuple[int, UnixMs]] = []
        self.send(topic, partition, key, record, lambda offset, at: done.append((offset, at)))
        while not done:
            self.poll(LOOK_S)
        return done[0]

    def poll(self, timeout_s: float = 0.0) -> None:
        """
        Serve acknowledgements; returns after the first of them or the time.

        Raises:
            RetryableError: A record was not delivered.
            UserError: None will be.
        """
        self._producer.poll(timeout_s)
        while self._acks:
            acked, offset, at_unix_ms = self._acks.popleft()
            acked(offset, at_unix_ms)
        metrics.QUEUE.set(self.queued_bytes)
        oldest_s = next(iter(self._sent_s.values()), inf)
        if not self._failure and (time.monotonic() - oldest_s) * 1_000 > self.settings.kafka.delivery_timeout_ms:
            self._failure = KafkaError(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001
            self._producer.purge()
        if self._failure:
            problem = f"Kafka at {self.settings.kafka.bootstrap_servers} did not acknowledge a record: {self._failure.str()}"
            if self._failure.code() in FINAL or self._failure.fatal():
                raise UserError(problem, do="put that right, then start the encoder again: it continues where the log ends")
            raise RetryableError(problem, retry_after_ms=self.settings.ingest.retry_ms)

    def flush(self) -> None:
        """
        Return when everything sent is acknowledged.

        Raises:
            RetryableError: Something was not delivered within ``delivery_timeout_ms``.
        """
        while self.queued_bytes:
            self.poll(LOOK_S)

    def close(self) -> None:
        """Let go; what is not acknowledged by now is given up, and counted."""
        self.registry.close()
        self._producer.purge()
        self._producer.poll(0)
        metrics.LOST.inc(self.queued_bytes)  # of these librdkafka did not tell
        self.queued_bytes = 0

    def _reject(self, topic: Topic, message: Message, error: str) -> None:
        payload, key = message.value() or b"", message.key() or b""
        reject = Reject(
            source_topic=message.topic() or "",
            source_partition=message.partition() or 0,
            source_offset=message.offset() or 0,
            source_key=key,
            payload=payload[: self.settings.kafka.message_bytes_max - REJECT_MARGIN_BYTES - len(key)],
            payload_size=len(payload),
            error=error,
            rejected_by="ingest",
        )
        log.warning(
            "record_rejected", topic=reject.source_topic, partition=reject.source_partition, offset=reject.source_offset, error=error
        )
        self.send(REJECTS, reject.source_partition, topic.title, reject)

    def _wait_for_room(self, size: int) -> None:
        limit, wait_ms = self.settings.ingest.queue_bytes_max, self.settings.ingest.queue_wait_ms
        deadline = time.monotonic() + wait_ms / 1_000
        while self.queued_bytes and self.queued_bytes + size > limit:
            if time.monotonic() >= deadline:
                raise RetryableError(
                    f"Kafka at {self.settings.kafka.bootstrap_servers} took nothing for {wait_ms} ms; {self.queued_bytes} bytes wait",
                    retry_after_ms=wait_ms,
                )
            self.poll(LOOK_S)

    def _delivered(self, error: KafkaError | None, message: Any, size: int, acked: Acked) -> None:
        self.queued_bytes -= size
        if error is not None:
            metrics.LOST.inc(size)
            if error.code() != KafkaError._PURGE_QUEUE and error.code() != KafkaError._PURGE_INFLIGHT:  # noqa: SLF001
                self._failure = self._failure or error
            return
        if message.offset() is None:
            # It was written by an earlier attempt. What follows is written only after the log was read: by offsets that are known.
            self._failure = self._failure or KafkaError(KafkaError.DUPLICATE_SEQUENCE_NUMBER, WHERE_UNKNOWN)
            return
        if not self._reachable:
            self._reachable = True
            log.info("kafka_reachable", queued_bytes=self.queued_bytes)
        # Called once librdkafka's callback is over: what follows from an acknowledgement may send.
        self._acks.append((acked, message.offset(), UnixMs(message.timestamp()[1])))

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._failure = self._failure or error
        elif self._reachable:
            self._reachable = False
            log.warning("kafka_unreachable", error=error.str(), queued_bytes=self.queued_bytes)
