"""What a writer follows while it writes: the plans of its channels, and whether another writer has taken a channel over."""

from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, KafkaError, Message, TopicPartition

from schemas.codec import Codec
from schemas.errors import RejectedError, SupersededError, UserError
from schemas.records import Period, Plan
from schemas.settings import KafkaSettings
from schemas.topics import CHANNELS, PLANS, Topic
from streams.ingest.reading import ANSWER_S, make_consumer

# More than a pool says in a second.
BATCH = 500


@dataclass(slots=True)
class _Owner:
    life: str
    period: int
    offset: int


class Follower:
    """Newest plan and newest period of each channel in the pools followed; bounded by the channels in them."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._codec = Codec()
        self._consumer = make_consumer(kafka, **{"fetch.wait.max.ms": 500})
        self._pools: set[int] = set()
        self._unread: set[tuple[str, int]] = set()
        self._plans: dict[str, Plan] = {}
        self._owners: dict[str, _Owner] = {}

    def follow(self, pool: int) -> None:
        """Follow a pool as well; returns when its plans so far are read."""
        if pool in self._pools:
            return
        self._pools.add(pool)
        topics: tuple[Topic, ...] = (PLANS, CHANNELS)
        parts = [TopicPartition(topic.name(self._kafka), pool, OFFSET_BEGINNING) for topic in topics]
        self._unread |= {(part.topic, part.partition) for part in parts}
        self._consumer.incremental_assign(parts)
        while self._unread:
            message = self._consumer.poll(ANSWER_S)
            if message is None:
                raise UserError(f"Kafka at {self._kafka.bootstrap_servers} does not answer", do="see that the broker runs")
            self._take(message)

    def gops_per_segment(self, channel: str) -> int | None:
        """Segment length of the plan in force; None while there is none. Reads what has arrived, without waiting."""
        for message in self._consumer.consume(BATCH, timeout=0) if self._pools else []:
            self._take(message)
        plan = self._plans.get(channel)
        return plan.gops_per_segment if plan else None

    def check_owner(self, channel: str, *, life: str, period: int, offset: int) -> None:
        """
        Nothing, while no later record in ``channels`` gives the channel to another writer.

        Args:
            offset: Where this writer's newest period stands in ``channels``.

        Raises:
            SupersededError: One does.
        """
        owner = self._owners.get(channel)
        if owner and owner.life != life and owner.offset > offset:
            raise SupersededError(f"another writer took over channel {channel}: period", held=period, seen=owner.period)

    def close(self) -> None:
        """Stop following."""
        self._consumer.close()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is None:
            if value := message.value():
                self._fold(value, int(message.offset() or 0))
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            self._unread.discard((message.topic(), message.partition()))
        elif not error.retriable():
            raise UserError(f"cannot read {message.topic()}: {error.str()}", do="check the topics: finecut topics verify")

    def _fold(self, value: bytes, offset: int) -> None:
        try:
            record = self._codec.decode(value)
        except RejectedError:
            return  # the control plane writes what it cannot read to `rejects`; without a plan we go on as before
        if isinstance(record, Plan):
            held = self._plans.get(record.channel)
            if held is None or record.decision >= held.decision:
                self._plans[record.channel] = record
        elif isinstance(record, Period):
            self._owners[record.channel] = _Owner(record.life, record.period, offset)
