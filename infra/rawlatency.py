"""How long the cluster itself takes from produce to consume, measured beside everything else that runs on it."""

import json
import time
from pathlib import Path
from threading import Thread
from uuid import uuid4

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from infra.topics import reach
from schemas.settings import KafkaSettings, Settings

# Chunks of the lowest rendition are about this large and a channel sends about as many.
RECORD_BYTES = 16_384
RECORDS_PER_S = 20
STAMP_BYTES = 8
# The first second goes to connections and metadata, which long-lived clients pay once.
WARM_UP_RECORDS = RECORDS_PER_S


def run(settings: Settings, *, seconds: float, result: Path | None) -> int:
    """Measure, print and write the figures."""
    figures = measure(settings.kafka, seconds=seconds)
    text = json.dumps(figures)
    if result is not None:
        part = result.with_suffix(".part")
        part.write_text(text)
        part.replace(result)
    print(text)
    return 0


def measure(kafka: KafkaSettings, *, seconds: float) -> dict[str, float]:
    """
    Milliseconds from handing a record to the client library until another client has it: ``p50``, ``p99``, and the number of ``records``.

    Raises:
        UserError: The cluster does not answer.
    """
    admin = reach(kafka)
    topic = f"{kafka.topic_prefix}raw-{uuid4().hex[:8]}"
    admin.create_topics([NewTopic(topic, 1, kafka.replication_factor)])[topic].result(30)
    try:
        return _percentiles(_exchange(kafka, topic, count=WARM_UP_RECORDS + max(1, round(seconds * RECORDS_PER_S)))[WARM_UP_RECORDS:])
    finally:
        admin.delete_topics([topic])[topic].result(30)


def _exchange(kafka: KafkaSettings, topic: str, *, count: int) -> list[float]:
    consumer = Consumer(
        {
            **kafka.client(), "group.id": topic, "enable.auto.commit": False, "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": kafka.fetch_wait_ms, "log_level": 0,
        }
    )  # fmt: skip
    consumer.assign([TopicPartition(topic, 0, 0)])
    sender = Thread(target=_send, args=(kafka, topic, count), daemon=True)
    spans_ms: list[float] = []
    try:
        sender.start()
        deadline = time.monotonic() + count / RECORDS_PER_S + kafka.delivery_timeout_ms / 1_000
        while len(spans_ms) < count and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                sent_ns = int.from_bytes((message.value() or b"")[:STAMP_BYTES], "big")
                spans_ms.append((time.monotonic_ns() - sent_ns) / 1e6)
    finally:
        sender.join()
        consumer.close()
    return spans_ms


def _send(kafka: KafkaSettings, topic: str, count: int) -> None:
    producer = Producer({**kafka.client(), "acks": "all", "enable.idempotence": True, "linger.ms": 0, "log_level": 0})
    filler = bytes(RECORD_BYTES - STAMP_BYTES)
    begin_s = time.monotonic()
    for number in range(count):
        # poll returns early when it has delivery reports to tell: wait on
        while (early_s := begin_s + number / RECORDS_PER_S - time.monotonic()) > 0:
            producer.poll(early_s)
        producer.produce(topic, time.monotonic_ns().to_bytes(STAMP_BYTES, "big") + filler, partition=0)
    producer.flush(kafka.delivery_timeout_ms / 1_000)


def _percentiles(spans_ms: list[float]) -> dict[str, float]:
    ranked = sorted(spans_ms) or [0.0]
    return {
        "p50": round(ranked[len(ranked) // 2], 2),
        "p99": round(ranked[min(len(ranked) - 1, len(ranked) * 99 // 100)], 2),
        "records": len(spans_ms),
    }
