"""
What a writer knows of all channels, from ``channels`` and ``plans``, read whole and then followed.

Which period is the newest and how it ended, which media partitions are taken, which segment length a plan asks for, and whether
another writer has taken a channel over.
"""

import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import RejectedError, SupersededError, UserError
from schemas.records import Level, Period, PeriodEnd, Plan
from schemas.registry import codec_of
from schemas.settings import KafkaSettings
from schemas.topics import CHANNELS, MEDIA, PLANS, Topic
from streams.ingest.reading import ANSWER_S, ERRORS, KafkaAwayError, away, make_consumer

# More than all pools say in a second.
BATCH = 500


class Registry:
    """
    Newest period, its end, and plan of each channel: bounded by the number of channels.

    Args:
        kafka: The cluster.
        reject: Takes a record of ``plans`` that is none, with what is wrong.
    """

    def __init__(self, kafka: KafkaSettings, reject: Callable[[Topic, Message, str], None]) -> None:
        self._kafka = kafka
        self._reject = reject
        self._codec = codec_of(kafka)
        self._topics = {topic.name(kafka): topic for topic in (CHANNELS, PLANS)}
        self._periods: dict[str, tuple[Period, int]] = {}
        self._ends: dict[str, PeriodEnd] = {}
        self._plans: dict[str, Plan] = {}
        self._taken: dict[str, int] = {}
        self._counts: dict[Topic, int] = {}
        self._unread: set[tuple[str, int]] = set()
        self._consumer = make_consumer(kafka)

    def start(self) -> None:
        """
        Returns when both topics are read to their ends.

        Raises:
            UserError: Kafka does not answer or a topic does not exist.
        """
        self._counts = {topic: self._partition_count(topic) for topic in (CHANNELS, PLANS, MEDIA)}
        self._unread = {(name, partition) for name, topic in self._topics.items() for partition in range(self._counts[topic])}
        self._consumer.assign([TopicPartition(name, partition, 0) for name, partition in sorted(self._unread)])
        while self._unread:
            message = self._consumer.poll(self._kafka.delivery_timeout_ms / 1_000)
            if message is None:
                raise KafkaAwayError(self._kafka.bootstrap_servers, "it stopped answering")
            self._take(message)

    @property
    def pool_count(self) -> int:
        """Pools, as the topics were created."""
        return self._counts[CHANNELS]

    def newest(self, channel: str) -> Period | None:
        """Newest period of a channel; None if it never was."""
        found = self._periods.get(channel)
        return found[0] if found else None

    def place_of(self, period: Period) -> int:
        """Offset in ``channels`` of a channel's newest period."""
        return self._periods[period.channel][1]

    def end_of(self, period: Period) -> PeriodEnd | None:
        """How a channel's newest period ended, if it did."""
        end = self._ends.get(period.channel)
        return end if end and end.period == period.period else None

    def take_media_partition(self, channel: str) -> int:
        """A media partition for a new channel: the one with the fewest live channels."""
        live = {period.channel: period.media_partition for period, _ in self._periods.values() if self._is_live(period)}
        others = {other: taken for other, taken in (self._taken | live).items() if other != channel}
        self._taken[channel] = choose_media_partition(channel, others, self._counts[MEDIA])
        return self._taken[channel]

    def gops_per_segment(self, channel: str) -> int | None:
        """Segment length of the plan in force, None while there is none; reads what has arrived, without waiting."""
        self.follow()
        plan = self._plans.get(channel)
        return plan.gops_per_segment if plan else None

    def is_on(self, channel: str) -> bool:
        """Whether the plan in force has a channel packaged; reads what has arrived, without waiting."""
        self.follow()
        plan = self._plans.get(channel)
        return plan is not None and plan.level is not Level.OFF

    def follow(self, timeout_s: float = 0.0) -> None:
        """Read what has arrived; waits at most this long for the first of it."""
        first = self._consumer.poll(timeout_s) if timeout_s else None
        for message in ([first] if first else []) + self._consumer.consume(BATCH, timeout=0):
            self._take(message)

    def wait_for(self, channel: str, number: int, *, timeout_s: float) -> bool:
        """Whether a period of a channel, or a later one, comes within a time."""
        deadline = time.monotonic() + timeout_s
        while (found := self.newest(channel)) is None or found.period < number:
            if time.monotonic() > deadline:
                return False
            self.follow(0.05)
        return True

    def catch_up(self) -> None:
        """
        Returns when all that stands in ``channels`` now is read: what is new to us may be long there.

        Raises:
            KafkaAwayError: Kafka does not answer.
        """
        name = CHANNELS.name(self._kafka)
        deadline = time.monotonic() + self._kafka.delivery_timeout_ms / 1_000
        try:
            for place in (TopicPartition(name, pool) for pool in range(self.pool_count)):
                low, end = self._consumer.get_watermark_offsets(place, timeout=ANSWER_S)
                while low < end and self._consumer.position([place])[0].offset < end:
                    if time.monotonic() > deadline:
                        raise KafkaAwayError(self._kafka.bootstrap_servers, "it stopped answering")
                    self.follow(0.05)
        except KafkaException as error:
            raise away(self._kafka, error) from error

    def check_owner(self, channel: str, *, life: str, period: int, offset: int) -> None:
        """
        Nothing, while no later record in ``channels`` gives the channel to another writer.

        Args:
            offset: Where this writer's newest period stands in ``channels``.

        Raises:
            SupersededError: One does.
        """
        found = self._periods.get(channel)
        if found and found[0].life != life and found[1] > offset:
            raise SupersededError(f"another writer took over channel {channel}: period", held=period, seen=found[0].period)

    def close(self) -> None:
        """Stop following."""
        self._consumer.close()

    def _is_live(self, period: Period) -> bool:
        end = self.end_of(period)
        return not (end and end.channel_ended)

    def _partition_count(self, topic: Topic) -> int:
        name = topic.name(self._kafka)
        try:
            found = self._consumer.list_topics(name, timeout=ANSWER_S).topics[name]
        except KafkaException as error:
            raise away(self._kafka, error) from error
        if found.error and found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise UserError(f"topic {name} may not be read by this user: {found.error.str()}", do="give the user the ACLs of its role")
        if found.error and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise away(self._kafka, KafkaException(found.error))  # its leader is being elected
        if not found.partitions:
            raise UserError(
                f"topic {name} does not exist at {self._kafka.bootstrap_servers}", do="create the topics: finecut topics create"
            )
        return len(found.partitions)

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is None:
            if value := message.value():
                topic = self._topics[message.topic() or ""]
                try:
                    self._fold(self._decode(topic, value), message.offset() or 0)
                except RejectedError as problem:
                    # The control plane reads `channels`, too, and writes its rejects; nobody but writers reads `plans`.
                    if topic is PLANS:
                        self._reject(topic, message, str(problem))
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            self._unread.discard((message.topic() or "", message.partition() or 0))
        elif error.code() in ERRORS:
            raise UserError(f"cannot read {message.topic()}: {error.str()}", do="check the topics: finecut topics verify")

    def _decode(self, topic: Topic, value: bytes) -> Any:
        record = self._codec.decode(value)
        if not isinstance(record, topic.records):
            raise RejectedError(f"a {type(record).__name__} in {topic.title}")
        return record

    def _fold(self, record: Any, offset: int) -> None:
        if isinstance(record, Plan):
            held = self._plans.get(record.channel)
            if held is None or record.decision >= held.decision:
                self._plans[record.channel] = record
        elif isinstance(record, Period):
            before = self._periods.get(record.channel)
            if before is None or record.period >= before[0].period:
                self._periods[record.channel] = record, offset
        elif isinstance(record, PeriodEnd):
            end = self._ends.get(record.channel)
            if end is None or record.period >= end.period:
                self._ends[record.channel] = record


def choose_media_partition(channel: str, taken: Mapping[str, int], count: int) -> int:
    """
    The partition with the fewest channels; of equals the first after the channel's hash, so that processes starting at once rarely meet.

    Args:
        taken: Partition of each live channel.

    >>> first = choose_media_partition("a", {}, 4)
    >>> choose_media_partition("a", {"b": first}, 4) == (first + 1) % 4
    True
    """
    used = Counter(taken.values())
    home = zlib.crc32(channel.encode()) % count
    return min(range(count), key=lambda partition: (used[partition], (partition - home) % count))
