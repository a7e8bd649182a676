"""The lost first record, on real Kafka with the order of events forced."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import faust
import pytest
from confluent_kafka import Producer
from yarl import URL

import tests.broker.drained  # noqa: F401 - registers the transports
from infra.kafka import LocalBroker

from .conftest import MakeTopic
from .control_plane import until

SECOND_S = 15


async def handled(kafka: LocalBroker, topic: str, scheme: str, data_dir: Path) -> list[bytes]:
    """What an agent is given of two records, the first of which waited for its start."""
    app = faust.App(
        f"app-{uuid4().hex[:8]}",
        broker=[URL(f"{scheme}://{kafka.bootstrap}").with_query(fetch_wait_ms=50, request_timeout_ms=5_000)],
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        datadir=str(data_dir),
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
    )
    source: Any = app.topic(topic, key_serializer="raw", value_serializer="raw", value_type=bytes)
    values: list[bytes] = []
    second = asyncio.Event()

    async def attend(stream: Any) -> None:
        async for value in stream:
            values.append(value)
            if value == b"second":
                second.set()

    app.agent(source)(attend)
    produce(kafka, topic, b"first")
    await app.start()
    try:
        async with asyncio.timeout(SECOND_S):
            await asyncio.to_thread(until, lambda: app.consumer.assignment() and not app.rebalancing, what="assignment")
            await asyncio.to_thread(produce, kafka, topic, b"second")
            await second.wait()
    finally:
        await app.stop()
    return values


def produce(kafka: LocalBroker, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(topic, value, partition=0)
    assert producer.flush(10) == 0


@pytest.mark.parametrize(("scheme", "given"), [("drained-stock", [b"second"]), ("drained-cured", [b"first", b"second"])])
async def test_a_record_drained_before_the_seek_is_given_to_its_agent_only_with_the_cure(
    kafka: LocalBroker, make_topic: MakeTopic, tmp_path: Path, scheme: str, given: list[bytes]
) -> None:
    topic = make_topic()
    assert await handled(kafka, topic, scheme, tmp_path) == given
