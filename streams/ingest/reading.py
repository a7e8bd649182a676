"""Reading topics by offset to their end, without a consumer group."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.errors import UnreachableError, UserError
from schemas.settings import KafkaSettings
from schemas.topics import Topic
from schemas.units import UnixMs

ANSWER_S = 10.0
# Errors that waiting does not cure; a broker that is away is waited for.
ERRORS = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED})


class KafkaAwayError(UnreachableError):
    """Kafka does not answer. At the start that is the end; who wrote before tries again."""


def make_consumer(kafka: KafkaSettings) -> Consumer:
    """A consumer that is told what to read and commits nothing."""
    ours = {
        "group.id": "finecut-ingest",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": kafka.fetch_wait_ms,
    }
    return Consumer(kafka.client() | ours)


def away(kafka: KafkaSettings, error: KafkaException) -> KafkaAwayError:
    """What a question that Kafka did not answer means."""
    return KafkaAwayError(kafka.bootstrap_servers, error.args[0].str())


class Read(NamedTuple):
    """One record read."""

    key: str
    value: bytes
    offset: int
    at_unix_ms: UnixMs
    """Broker time."""


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
            # As long as records may wait: it must outlast a change of leaders.
            message = consumer.poll(kafka.delivery_timeout_ms / 1_000)
            if message is None:
                raise KafkaAwayError(kafka.bootstrap_servers, f"it stopped answering ({name})")
            error = message.error()
            if error is None:
                key = bytes(message.key() or b"").decode(errors="replace")
                yield Read(key, message.value() or b"", message.offset() or 0, UnixMs(message.timestamp()[1]))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                open_partitions.discard(message.partition())
            elif error.code() in ERRORS:
                raise UserError(f"cannot read {name}: {error.str()}", do="check the topics: finecut topics verify")
    finally:
        consumer.close()


def end_of(kafka: KafkaSettings, topic: Topic, partition: int) -> int:
    """Offset that the next record of a partition gets."""
    consumer = make_consumer(kafka)
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(topic.name(kafka), partition), timeout=ANSWER_S)[1])
    except KafkaException as error:
        raise away(kafka, error) from error
    finally:
        consumer.close()


def offset_at(kafka: KafkaSettings, topic: Topic, partition: int, unix_ms: int) -> int:
    """Offset of the first record at or after a broker time; the end of the partition when there is none."""
    consumer = make_consumer(kafka)
    try:
        [found] = consumer.offsets_for_times([TopicPartition(topic.name(kafka), partition, unix_ms)], timeout=ANSWER_S)
        return int(found.offset)
    except KafkaException as error:
        raise away(kafka, error) from error
    finally:
        consumer.close()
