"""
Chunks by offset: one live tail per media partition, shared by all slices on it, and a second reader that catches up.

A slice that begins behind the tail is read by the catch-up reader and joins the tail when it has reached it, so that
nobody's live edge waits for another's past. Memory is bounded by the queues of the two Kafka clients: who does not read on,
pauses them, each by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from packager.complaints import COMPLAINTS
from schemas import topics
from schemas.settings import KafkaSettings, PackagerSettings
from schemas.units import UnixMs

# Records handed over at once: a turn of the loop stays short enough for heartbeats and other slices.
BATCH_MAX = 64
# Records of the past handed over at once while a live edge is followed: that is looked at again after some milliseconds.
PAST_BATCH_MAX = 8
# After a full queue librdkafka would wait a second before it fetches on.
FETCH_BACKOFF_MS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """
    One record of ``media`` and the slices it is for.

    Attributes:
        slices: Keys of the slices that have not had it.
        partition: Partition.
        offset: Offset.
        durable_unix_ms: Broker time of the record.
        key: Its key.
        data: Its bytes.
        is_live: Whether it came by the live tail, not by the reader that catches up.
    """

    slices: tuple[str, ...]
    partition: int
    offset: int
    durable_unix_ms: UnixMs
    key: bytes
    data: bytes
    is_live: bool = True


@dataclass(slots=True)
class _Reader:
    """A slice that reads a partition."""

    slice_key: str
    channel: bytes
    next_offset: int
    is_live: bool = False


def check(error: KafkaError) -> None:
    """
    Nothing, for errors that librdkafka cures by itself; of each kind one is logged now and then.

    Raises:
        KafkaException: The client cannot go on.
    """
    if error.fatal() or error.code() in {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._AUTHENTICATION}:  # noqa: SLF001
        raise KafkaException(error)
    COMPLAINTS.take(error)


class Tail:
    """A Kafka client that reads chosen partitions of one topic, each from a chosen offset; no group, no commits."""

    def __init__(self, kafka: KafkaSettings, packager: PackagerSettings, *, topic: str, client_id: str) -> None:
        self.topic = topic
        self.next_offset: dict[int, int] = {}
        self._consumer = Consumer(
            kafka.client()
            | {
                "client.id": client_id,
                "group.id": client_id,  # librdkafka wants one; it is never joined
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": kafka.fetch_wait_ms,
                "fetch.message.max.bytes": min(packager.fetch_bytes_max, kafka.message_bytes_max),
                "fetch.max.bytes": max(packager.fetch_bytes_max, kafka.message_bytes_max),
                "queued.max.messages.kbytes": max(1, packager.fetch_bytes_max // 1_024),
                "fetch.queue.backoff.ms": FETCH_BACKOFF_MS,
                "fetch.error.backoff.ms": FETCH_BACKOFF_MS * 10,
                "error_cb": check,
            }
        )
        # Connected and acquainted with the topic now, the first slice is read some hundred milliseconds sooner.
        self._consumer.list_topics(topic, timeout=kafka.delivery_timeout_ms / 1_000)

    def add(self, partition: int, offset: int) -> None:
        """Reads a partition from an offset on; one that is read already starts over there."""
        if partition in self.next_offset:
            self.remove(partition)
        self.next_offset[partition] = offset
        self._consumer.incremental_assign([TopicPartition(self.topic, partition, offset)])

    def remove(self, partition: int) -> None:
        """Reads a partition no longer."""
        del self.next_offset[partition]
        self._consumer.incremental_unassign([TopicPartition(self.topic, partition)])

    def read(self, timeout_s: float, *, count_max: int = BATCH_MAX) -> Iterator[tuple[int, int, Message | None]]:
        """
        What has arrived: partition, offset, and the record; none where the partition ends for now.

        Args:
            timeout_s: How long to wait for the first.
            count_max: Records at most.
        """
        if not self.next_offset:
            return
        first = self._consumer.poll(timeout_s)
        if first is None:
            return
        for message in (first, *self._consumer.consume(count_max - 1, 0)):
            error, partition, offset = message.error(), message.partition() or 0, message.offset() or 0
            if error and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                check(error)
            elif partition in self.next_offset and offset >= self.next_offset[partition]:
                if not error:
                    self.next_offset[partition] = offset + 1
                yield partition, offset, None if error else message

    def close(self) -> None:
        """Ends the client."""
        self._consumer.close()


class Source:
    """The records of ``media`` that the slices in hand need."""

    def __init__(self, kafka: KafkaSettings, packager: PackagerSettings, *, client_id: str) -> None:
        """
        Args:
            kafka: The cluster.
            packager: Bounds of what is fetched ahead.
            client_id: How the two clients name themselves to the broker.
        """
        topic = topics.MEDIA.name(kafka)
        self.read_bytes = 0
        self.overread_bytes = 0
        self._live = Tail(kafka, packager, topic=topic, client_id=f"{client_id}-live")
        self._past = Tail(kafka, packager, topic=topic, client_id=f"{client_id}-past")
        self._readers: dict[int, dict[str, _Reader]] = {}

    @property
    def has_tail(self) -> bool:
        """Whether any partition is followed live."""
        return bool(self._live.next_offset)

    @property
    def is_catching_up(self) -> bool:
        """Whether any slice is behind the tail."""
        return bool(self._past.next_offset)

    def follow(self, slice_key: str, *, channel: str, partition: int, offset: int) -> None:
        """A slice reads its channel in a partition from an offset on; one that reads already starts over there."""
        self.leave(slice_key)
        readers = self._readers.setdefault(partition, {})
        reader = readers[slice_key] = _Reader(slice_key, channel.encode(), offset)
        if partition in self._live.next_offset and self._live.next_offset[partition] <= offset:
            reader.is_live = True
        elif partition not in self._past.next_offset or offset < self._past.next_offset[partition]:
            self._past.add(partition, offset)

    def leave(self, slice_key: str) -> None:
        """A slice reads no longer."""
        for partition, readers in list(self._readers.items()):
            if readers.pop(slice_key, None):
                self._drop_unread(partition)

    def read_live(self, timeout_s: float) -> list[Arrival]:
        """What arrived at the tails, in the order of the log."""
        return [
            arrival
            for partition, offset, message in self._live.read(timeout_s)
            if message and (arrival := self._arrival(partition, offset, message, live=True))
        ]

    def read_past(self, timeout_s: float) -> list[Arrival]:
        """What slices behind the tail need next; those that reach it join it."""
        arrivals = []
        for partition, offset, message in self._past.read(timeout_s, count_max=PAST_BATCH_MAX if self.has_tail else BATCH_MAX):
            arrival = self._arrival(partition, offset, message, live=False) if message else None
            if arrival:
                arrivals.append(arrival)
            self._join(partition, offset + 1 if message else offset, at_end=message is None)
        return arrivals

    def close(self) -> None:
        """Ends both clients."""
        self._live.close()
        self._past.close()

    def _arrival(self, partition: int, offset: int, message: Message, *, live: bool) -> Arrival | None:
        key, data = message.key() or b"", message.value() or b""
        self.read_bytes += len(data)
        slices = []
        for reader in self._readers.get(partition, {}).values():
            if reader.is_live is live and reader.next_offset <= offset:
                reader.next_offset = offset + 1
                if reader.channel == key:
                    slices.append(reader.slice_key)
        if not slices:
            self.overread_bytes += len(data)
            return None
        at = UnixMs(message.timestamp()[1])
        return Arrival(slices=tuple(slices), partition=partition, offset=offset, durable_unix_ms=at, key=key, data=data, is_live=live)

    def _join(self, partition: int, offset: int, *, at_end: bool) -> None:
        """Those behind join the tail where it has no more to give them than what it will read; without a tail, at the end of the log."""
        tail = self._live.next_offset.get(partition)
        if tail is None and at_end:
            self._live.add(partition, offset)
        elif tail is None or offset < tail:
            return
        for reader in self._readers.get(partition, {}).values():
            reader.is_live = True
        self._drop_unread(partition)

    def _drop_unread(self, partition: int) -> None:
        readers = self._readers.get(partition, {}).values()
        if partition in self._past.next_offset and all(reader.is_live for reader in readers):
            self._past.remove(partition)
        if partition in self._live.next_offset and not any(reader.is_live for reader in readers):
            self._live.remove(partition)
        if not readers:
            self._readers.pop(partition, None)
