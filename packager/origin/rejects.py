"""Writes to ``rejects`` what origins alone read and could not."""

import structlog
from confluent_kafka import KafkaError, Message

from packager.origin import metrics
from packager.origin.renewed import Renewed
from schemas.records import Reject
from schemas.registry import codec_of
from schemas.settings import KafkaSettings
from schemas.topics import REJECTS, Topic

log = structlog.get_logger()

# A reject holds its own fields beside the bytes it quotes.
MARGIN_BYTES = 4_096


class Rejects:
    """
    The rejects of one origin. Several origins, or one that starts anew, reject the same record again: its offset tells.

    Args:
        kafka: Names and limits.
        producer: Used from any thread.
        origin_id: Who rejects.
    """

    def __init__(self, kafka: KafkaSettings, producer: Renewed, *, origin_id: str) -> None:
        self._kafka = kafka
        self._producer = producer
        self._origin_id = origin_id
        self._codec = codec_of(kafka)

    def put(self, topic: Topic, message: Message, error: str) -> None:
        """A record of a topic, with its bytes and what is wrong with it."""
        payload, key = message.value() or b"", message.key() or b""
        reject = Reject(
            source_topic=message.topic() or "",
            source_partition=message.partition() or 0,
            source_offset=message.offset() or 0,
            source_key=key,
            payload=payload[: self._kafka.message_bytes_max - MARGIN_BYTES - len(key)],
            payload_size=len(payload),
            error=error,
            rejected_by=f"origin {self._origin_id}",
        )
        try:
            self._producer.produce(
                REJECTS.name(self._kafka),
                self._codec.encode(reject),
                topic.title.encode(),
                partition=reject.source_partition,
                on_delivery=_delivered,
            )
        except BufferError as problem:
            _lost(str(problem))


def _delivered(error: KafkaError | None, _: Message) -> None:
    if error is not None:
        _lost(error.str())


def _lost(error: str) -> None:
    metrics.REJECTS_FAILED.inc()
    log.error("reject_not_delivered", error=error)
