"""What a writer makes of what it follows; no broker."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from schemas import topics
from schemas.codec import Codec
from schemas.errors import UserError
from schemas.records import Demand, Level, Plan
from schemas.settings import KafkaSettings
from schemas.topics import Topic
from schemas.units import UnixMs
from streams.ingest.reading import KafkaAwayError
from streams.ingest.registry import Registry
from tests.builders import make_period

KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:1")
CODEC = Codec()
FOREIGN = CODEC.encode(Demand(origin_id="o", at_unix_ms=UnixMs(0), channels=()))


@dataclass
class Message:
    """A record as librdkafka gives it."""

    of: Topic
    data: bytes | None

    def topic(self) -> str:
        return self.of.name(KAFKA)

    def offset(self) -> int:
        return 7

    def value(self) -> bytes | None:
        return self.data

    def error(self) -> None:
        return None


class Desk:
    """A registry and what it rejected; it follows nothing."""

    def __init__(self) -> None:
        self.rejected: list[tuple[Topic, Any, str]] = []
        self.registry = Registry(KAFKA, lambda topic, message, error: self.rejected.append((topic, message, error)))

    def take(self, topic: Topic, data: bytes | None) -> None:
        self.registry._take(Message(topic, data))  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"\xc3\x01nonsense", FOREIGN], ids=["no record", "a demand"])
def test_what_stands_in_plans_and_is_none_goes_to_rejects_since_nobody_else_reads_it(data: bytes) -> None:
    desk = Desk()
    desk.take(topics.PLANS, data)
    ((topic, message, error),) = desk.rejected
    assert (topic, message.value()) == (topics.PLANS, data)
    assert error


@pytest.mark.parametrize("data", [b"\xc3\x01nonsense", FOREIGN], ids=["no record", "a demand"])
def test_what_the_control_plane_reads_too_is_rejected_by_it_alone(data: bytes) -> None:
    desk = Desk()
    desk.take(topics.CHANNELS, data)
    assert desk.rejected == []


def test_tombstones_tell_nothing_and_records_are_known() -> None:
    desk = Desk()
    desk.take(topics.CHANNELS, None)
    desk.take(topics.CHANNELS, CODEC.encode(make_period("news")))
    desk.take(topics.PLANS, CODEC.encode(Plan(channel="news", level=Level.PARTS, gops_per_segment=3, decision=2)))
    assert desk.rejected == []
    assert desk.registry.newest("news") == make_period("news")
    assert desk.registry._plans["news"].gops_per_segment == 3


class Answers:
    """A consumer that knows a topic only by an error."""

    def __init__(self, error: int) -> None:
        self._error = KafkaError(error)

    def list_topics(self, name: str, timeout: float) -> Any:
        return SimpleNamespace(topics={name: SimpleNamespace(error=self._error, partitions={})})


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, (UserError, "does not exist")),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, (UserError, "may not be read")),
        (KafkaError.LEADER_NOT_AVAILABLE, (KafkaAwayError, "127.0.0.1:1")),
    ],
    ids=["no topic", "no right", "its leader is being elected"],
)
def test_a_topic_that_cannot_be_looked_at_is_said_to_be_what_it_is(error: int, told: tuple[type[Exception], str]) -> None:
    registry = Desk().registry
    registry.close()
    registry._consumer = Answers(error)  # type: ignore[assignment]
    kind, text = told
    with pytest.raises(kind, match=text):
        registry._partition_count(topics.CHANNELS)
