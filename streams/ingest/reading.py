"""Reading topics by offset to their end, without a consumer group."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.errors import UserError
from schemas.settings import KafkaSettings
from schemas.topics import Topic
from schemas.units import UnixMs

ANSWER_S = 10.0


def make_consumer(kafka: KafkaSettings, **more: Any) -> Any:
    """A consumer that is told what to read and commits nothing."""
    ours = {
        "group.id": "finecut-ingest",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "log_level": 2,
    }
    return Consumer(kafka.client() | ours | more)


class Read(NamedTuple):
    """One record read."""

    key: str
    value: bytes
    offset: int
    at_unix_ms: UnixMs
    """Broker time."""


def partition_count(kafka: KafkaSettings, topic: Topic) -> int:
    """
    Partitions of a topic as it is.

    Raises:
        UserError: Kafka does not answer, or the topic does not exist.
    """
    name = topic.name(kafka)
    consumer = make_consumer(kafka)
    try:
        found = consumer.list_topics(name, timeout=ANSWER_S).topics[name]
    except KafkaException as error:
        problem = f"Kafka at {kafka.bootstrap_servers} does not answer: {error.args[0].str()}"
        raise UserError(problem, do="start it, or correct FINECUT_KAFKA__BOOTSTRAP_SERVERS") from error
    finally:
        consumer.close()
    if found.error or not found.partitions:
        raise UserError(f"topic {name} does not exist at {kafka.bootstrap_servers}", do="create the topics: finecut topics create")
    return len(found.partitions)


def read_to_end(kafka: KafkaSettings, topic: Topic, starts: Mapping[int, int]) -> Iterator[Read]:
    """
    The records of some partitions, each from an offset (or what retention left after it) to its present end.

    Raises:
        UserError: The topic does not exist or Kafka stopped answering.
    """
    consumer = make_consumer(kafka)
    name = topic.name(kafka)
    try:
        consumer.assign([TopicPartition(name, partition, offset) for partition, offset in starts.items()])
        open_partitions = set(starts)
        while open_partitions:
            message = consumer.poll(ANSWER_S)
            if message is None:
                raise UserError(f"Kafka at {kafka.bootstrap_servers} stopped answering ({name})", do="see that the broker runs")
            error = message.error()
            if error is None:
                key = (message.key() or b"").decode(errors="replace")
                yield Read(key, message.value() or b"", message.offset(), UnixMs(message.timestamp()[1]))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                open_partitions.discard(message.partition())
            elif not error.retriable():
                raise UserError(f"cannot read {name}: {error.str()}", do="check the topics: finecut topics verify")
    finally:
        consumer.close()


def offset_at(kafka: KafkaSettings, topic: Topic, partition: int, unix_ms: int) -> int:
    """Offset of the first record at or after a broker time; the end of the partition when there is none."""
    consumer = make_consumer(kafka)
    try:
        [found] = consumer.offsets_for_times([TopicPartition(topic.name(kafka), partition, unix_ms)], timeout=ANSWER_S)
        return int(found.offset)
    finally:
        consumer.close()
