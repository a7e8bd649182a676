"""Follows the control topics of a pool: which slices are ours, how the channels are configured, whether our name is used twice."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from packager.holding import Assigned, Died, Inbox, Withdrawn
from packager.source import check
from schemas import topics
from schemas.codec import Codec
from schemas.errors import DisplacedError, LifeOverError, RejectedError, UnreachableError, UserError
from schemas.records import Heartbeat, Period
from schemas.settings import KafkaSettings

log = structlog.get_logger()

BATCH_MAX = 256
# Between two questions for the leader of a partition.
LEADER_WAIT_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """
    A control record that is none.

    Attributes:
        message: As Kafka gave it.
        error: What is wrong.
    """

    message: Message
    error: str


class Receiver:
    """The control topics of a pool as one packager sees them."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, *, pool: int, packager_id: str, life: str) -> None:
        """
        Args:
            kafka: The cluster.
            codec: Reads the records.
            pool: Partition of the control topics.
            packager_id: Our name.
            life: Our run.
        """
        self.periods: dict[str, dict[int, Period]] = {}
        self._bootstrap = kafka.bootstrap_servers
        self._codec = codec
        self._packager_id = packager_id
        self._life = life
        self._own_offset: int | None = None
        self._inbox = Inbox(packager_id, life)
        self._channels = topics.CHANNELS.name(kafka)
        self._assignments = topics.ASSIGNMENTS.name(kafka)
        self._heartbeats = topics.HEARTBEATS.name(kafka)
        name = f"{packager_id}-{life}-control"
        self._consumer = Consumer(
            kafka.client()
            | {
                "client.id": name,
                "group.id": name,  # librdkafka wants one; it is never joined
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": kafka.fetch_wait_ms,
                "queued.max.messages.kbytes": kafka.message_bytes_max // 1_024,
                "error_cb": check,
            }
        )
        # Heartbeats from the end as it is now: those of lives that begin after ours, and ours among them.
        end = self._end_of(TopicPartition(self._heartbeats, pool), timeout_s=kafka.delivery_timeout_ms / 1_000)
        self._consumer.assign(
            [
                TopicPartition(self._channels, pool, OFFSET_BEGINNING),
                TopicPartition(self._assignments, pool, OFFSET_BEGINNING),
                TopicPartition(self._heartbeats, pool, end),
            ]
        )
        self._unread = {self._channels, self._assignments}

    @property
    def is_caught_up(self) -> bool:
        """Whether the compacted topics were read to their ends."""
        return not self._unread

    def read(self, timeout_s: float) -> list[Assigned | Withdrawn | Unreadable]:
        """
        What changed.

        Args:
            timeout_s: How long to wait for the first record.

        Raises:
            DisplacedError: A younger packager uses our name.
            LifeOverError: We were declared dead.
        """
        return [event for message in self._messages(timeout_s) if (event := self._fold(message))]

    def close(self) -> None:
        """Ends the client."""
        self._consumer.close()

    def _end_of(self, partition: TopicPartition, *, timeout_s: float) -> int:
        """
        Offset of the next record, also of a topic that was made only now and has no leader yet.

        Raises:
            UnreachableError: No Kafka answers.
            UserError: It does not know the topic.
        """
        deadline = time.monotonic() + timeout_s
        problem, is_there = "it said nothing", False
        while time.monotonic() < deadline:
            try:
                offsets = self._consumer.get_watermark_offsets(partition, timeout=max(LEADER_WAIT_S, deadline - time.monotonic()))
                if offsets:
                    return offsets[1]
            except KafkaException as error:
                problem, is_there = error.args[0].str(), error.args[0].code() > 0  # else the client's own, not Kafka's
                self._consumer.poll(LEADER_WAIT_S)
        if not is_there:
            raise UnreachableError(self._bootstrap, problem)
        raise UserError(f"Kafka does not say where {partition.topic} ends: {problem}", do="see `finecut doctor`")

    def _messages(self, timeout_s: float) -> Iterator[Message]:
        first = self._consumer.poll(timeout_s)
        if first is None:
            return
        for message in (first, *self._consumer.consume(BATCH_MAX, 0)):
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                self._unread.discard(message.topic() or "")
            else:
                check(error)

    def _fold(self, message: Message) -> Assigned | Withdrawn | Unreadable | None:
        key, value = (message.key() or b"").decode(errors="replace"), message.value()
        is_beat = message.topic() == self._heartbeats
        if is_beat and key != self._packager_id:
            return None
        try:
            record = None if value is None else self._codec.decode(value)
            ended_by = topics.decision_of(dict(message.headers() or ()).items()) if value is None else None
            event = self._inbox.fold(key, record, decision=ended_by) if message.topic() == self._assignments else None
        except RejectedError as error:
            return Unreadable(message=message, error=str(error))
        if isinstance(event, Died):
            raise LifeOverError(f"life {self._life} of packager {self._packager_id} was declared dead by decision {ended_by}")
        if is_beat:
            self._watch_name(record, message.offset() or 0)
        elif message.topic() == self._channels:
            self._configure(key, record)
        return event

    def _configure(self, key: str, record: object) -> None:
        if isinstance(record, Period):
            self.periods.setdefault(record.channel, {})[record.period] = record
        elif record is None:
            channel, _, period = key.partition("/")
            if period.isdecimal() and channel in self.periods:
                self.periods[channel].pop(int(period), None)
                if not self.periods[channel]:
                    del self.periods[channel]

    def _watch_name(self, beat: object, offset: int) -> None:
        """A life is younger than ours if its first heartbeat follows our first in the log."""
        if not isinstance(beat, Heartbeat) or beat.packager_id != self._packager_id or beat.number != 0:
            return
        if beat.life == self._life:
            self._own_offset = offset
        elif self._own_offset is not None:
            raise DisplacedError(
                f"packager {self._packager_id} was started a second time (life {beat.life}): this one, life {self._life}, ends",
                do="give every packager of a pool a name of its own",
            )
