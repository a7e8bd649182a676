"""Read a stretch of topics back from Kafka by offset, without a consumer group: nothing is committed, nobody is disturbed."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.codec import Codec
from schemas.errors import RejectedError, UnreachableError, UserError
from schemas.records import Chunk
from schemas.registry import codec_of
from schemas.settings import KafkaSettings
from schemas.topics import Topic
from schemas.units import UnixMs

from .entries import Entry, narrow
from .positions import Offset, Position

Progress = Callable[[int, int], None]
"""Told (records read, records in the stretch); a compacted topic has fewer than its offsets say."""
ANSWER_S = 30.0
# Without any record for this long though some are due, the cluster is gone.
SILENCE_S = 30.0
BATCH = 1_000
IDLE_S = 0.2
# A broker known by its address alone is let go when its number is learned, and what was asked of it with it; a connection may be lost.
UNSETTLED = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._DESTROY_BROKER,  # noqa: SLF001  # their public names
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Offsets of one partition, from the first to before the end."""

    topic: Topic
    partition: int
    first: int
    end: int


def stretches(
    kafka: KafkaSettings, topics: Sequence[Topic], *, begin: Position | None = None, end: Position | None = None
) -> tuple[Stretch, ...]:
    """
    What a reader would read: the partitions of the topics between two positions, those that hold nothing there left out.

    Raises:
        UserError: A topic does not exist, or the cluster does not answer.
    """
    consumer = _consumer(kafka)
    try:
        every = (stretch for topic in topics for stretch in _stretches(consumer, topic, topic.name(kafka), begin, end))
        return tuple(stretch for stretch in every if stretch.first < stretch.end)
    except KafkaException as error:
        raise UnreachableError(kafka.bootstrap_servers, error.args[0].str()) from error
    finally:
        consumer.close()


def read(
    kafka: KafkaSettings, wanted: Sequence[Stretch], *, channel: str | None = None, payloads: bool = False, progress: Progress | None = None
) -> Iterator[Entry]:
    """
    Entries of the stretches, those of each partition in order, topic after topic.

    Args:
        kafka: The cluster.
        wanted: From `stretches`.
        channel: Only what speaks of this channel.
        payloads: Keep the payload of chunks; else it is left out and its size is told.
        progress: Told now and then.

    Raises:
        UserError: The cluster stopped answering.
    """
    codec = codec_of(kafka)
    total, seen = sum(stretch.end - stretch.first for stretch in wanted), 0
    for topic in dict.fromkeys(stretch.topic for stretch in wanted):
        for message in _messages(kafka, [stretch for stretch in wanted if stretch.topic is topic]):
            seen += 1
            if progress and (seen % BATCH == 0 or seen == total):
                progress(seen, total)
            entry = _entry(topic, message, codec, payloads=payloads)
            if channel is None or (entry.record is None and entry.key.split("/")[0] == channel):
                yield entry
            elif entry.record is not None and (kept := narrow(entry.record, channel)) is not None:
                yield replace(entry, record=kept)


def follow(kafka: KafkaSettings, topics: Sequence[Topic], *, from_start: bool = False) -> Iterator[Entry | None]:
    """
    Entries of topics as they are written, for ever; None whenever there was nothing for a moment.

    Args:
        kafka: The cluster.
        topics: Followed together.
        from_start: What is there already comes first.

    Raises:
        UserError: A topic does not exist.
    """
    consumer, codec = _consumer(kafka), codec_of(kafka)
    titles = {topic.name(kafka): topic for topic in topics}
    try:
        marks = {name: _watermarks(consumer, name) for name in titles}
        consumer.assign(
            [TopicPartition(n, p, low if from_start else high) for n, found in marks.items() for p, (low, high) in found.items()]
        )
        while True:
            messages = consumer.consume(BATCH, timeout=IDLE_S)
            for message in messages:
                error = message.error()
                if error is None:
                    yield _entry(titles[message.topic() or ""], message, codec, payloads=False)
                elif error.code() != KafkaError._PARTITION_EOF and not error.retriable():  # noqa: SLF001  # its public name
                    raise KafkaException(error)
            if not messages:
                yield None
    finally:
        consumer.close()


def _consumer(kafka: KafkaSettings) -> Consumer:
    return Consumer(
        {
            **kafka.client(),
            "group.id": "finecut-replay",  # demanded by the library, never used: partitions are assigned, nothing is committed
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": kafka.fetch_wait_ms,
            "log_level": 0,
        }
    )


def _watermarks(consumer: Consumer, name: str) -> dict[int, tuple[int, int]]:
    found = consumer.list_topics(name, timeout=ANSWER_S).topics[name]
    if found.error is not None:
        raise UserError(f"topic {name} does not exist", do="`finecut topics create`, or correct FINECUT_KAFKA__TOPIC_PREFIX")
    deadline = time.monotonic() + ANSWER_S
    return {p: _watermark(consumer, TopicPartition(name, p), deadline) for p in sorted(found.partitions)}


def _watermark(consumer: Consumer, place: TopicPartition, deadline: float) -> tuple[int, int]:
    while True:
        try:
            low, high = consumer.get_watermark_offsets(place, timeout=ANSWER_S)
        except KafkaException as error:
            # A broker that has just started answers before it leads its partitions.
            if error.args[0].code() not in UNSETTLED or time.monotonic() > deadline:
                raise
            consumer.poll(IDLE_S)
        else:
            return low, high


def _stretches(consumer: Consumer, topic: Topic, name: str, begin: Position | None, end: Position | None) -> Iterator[Stretch]:
    marks = _watermarks(consumer, name)
    firsts, ends = (_resolve(consumer, name, marks, position) for position in (begin, end))
    for partition, (low, high) in marks.items():
        first = low if begin is None else max(low, firsts[partition])
        yield Stretch(topic=topic, partition=partition, first=first, end=high if end is None else min(high, ends[partition]))


def _resolve(consumer: Consumer, name: str, marks: dict[int, tuple[int, int]], position: Position | None) -> dict[int, int]:
    if position is None:
        return {}
    if isinstance(position, Offset):
        return dict.fromkeys(marks, position.value)
    asked = [TopicPartition(name, partition, position.unix_ms) for partition in marks]
    found = consumer.offsets_for_times(asked, timeout=ANSWER_S)
    return {place.partition: place.offset if place.offset >= 0 else marks[place.partition][1] for place in found}


def _messages(kafka: KafkaSettings, wanted: Sequence[Stretch]) -> Iterator[Message]:
    """Messages of the stretches of one topic."""
    consumer = _consumer(kafka)
    name = wanted[0].topic.name(kafka)
    ends = {stretch.partition: stretch.end for stretch in wanted}
    try:
        consumer.assign([TopicPartition(name, stretch.partition, stretch.first) for stretch in wanted])
        deadline = time.monotonic() + SILENCE_S
        while ends:
            for message in consumer.consume(BATCH, timeout=0.5):
                deadline = time.monotonic() + SILENCE_S
                partition, offset, error = message.partition() or 0, message.offset() or 0, message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                    raise UserError(f"reading {name}/{partition}: {error.str()}")
                if partition not in ends:
                    continue
                end = ends[partition]
                if error is None and offset < end:
                    yield message
                # The last offsets before the end may be gone (compacted), so that the next record or the end of the partition ends it.
                if error is not None or offset + 1 >= end:
                    del ends[partition]
                    consumer.incremental_unassign([TopicPartition(name, partition)])
            if time.monotonic() > deadline:
                raise UserError(f"{kafka.bootstrap_servers} sent nothing of {name} for {SILENCE_S:.0f} s", do="see `finecut doctor`")
    finally:
        consumer.close()


def _entry(topic: Topic, message: Message, codec: Codec, *, payloads: bool) -> Entry:
    value, key = message.value(), message.key() or b""
    record: Any = None
    error, size = "", 0
    if value is not None:
        try:
            record = codec.decode(value)
        except RejectedError as problem:
            error = str(problem)
    if isinstance(record, Chunk):
        size = len(record.payload)
        if not payloads:
            record = replace(record, payload=b"")
    return Entry(
        topic=topic, partition=message.partition() or 0, offset=message.offset() or 0, at_unix_ms=UnixMs(message.timestamp()[1]),
        key=key.decode(errors="replace"), record=record, payload_size=size, error=error,
    )  # fmt: skip
