"""Follows the topics a presentation is made of, in a thread of its own, and hands what it reads to the event loop."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from packager.complaints import COMPLAINTS
from packager.origin import metrics
from schemas.errors import RejectedError, UnreachableError, UserError
from schemas.registry import codec_of
from schemas.settings import KafkaSettings
from schemas.topics import CHANNELS, PARTS, REPORTS, Topic
from schemas.units import Ms, UnixMs

log = structlog.get_logger()

BATCH_MAX = 2_000
POLL_S = 0.5
# A broker that has just started, or went away since we looked whether it is there.
UNSETTLED = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._DESTROY_BROKER,  # noqa: SLF001
}
SETTLE_S = 0.1
START_TIMEOUT_S = 30.0
PROBE_TIMEOUT_S = 1.0
# Who did not look for so long may have slept: others may have shown a segment that it does not know. Longer than a look and a probe.
ASLEEP_S = 3.0
# Staleness is noticed within a fraction of what is allowed.
PROBES_PER_STALENESS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """
    One record that was read.

    Attributes:
        record: The record; None where a key of ``channels`` was deleted.
        key: Its key.
        at_unix_ms: Broker time.
        is_live: Whether it was appended after reading began.
    """

    record: object | None
    key: str
    at_unix_ms: UnixMs
    is_live: bool


class Follower(threading.Thread):
    """
    Reads ``channels`` from the beginning, ``parts`` and ``reports`` from as far back as anything may still be shown.

    It follows by offset, without a group: any number of origins read the same.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        since_unix_ms: UnixMs,
        staleness_ms_max: Ms,
        deliver: Callable[[list[Fact], Callable[[], None]], None],
        reject: Callable[[Topic, Message, str], None],
        broker_now: Callable[[], UnixMs],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            kafka: The cluster.
            since_unix_ms: Broker time from which on ``parts`` and ``reports`` are read.
            staleness_ms_max: Silence of the broker after which what is known counts as stale.
            deliver: Takes a batch in the order of its topics, called in this thread, and what to call in any thread once it is shown.
            reject: Takes a record that none but origins read and that is none of its topic, with what is wrong; called in this thread.
            broker_now: Time of the broker.
            monotonic_s: Seconds of a clock that only rises.
        """
        super().__init__(name="follower", daemon=True)
        self._kafka = kafka
        self._since_unix_ms = since_unix_ms
        self._staleness_s = staleness_ms_max / 1_000
        self._deliver = deliver
        self._reject = reject
        self._broker_now = broker_now
        self._monotonic_s = monotonic_s
        self._topics = {topic.name(kafka): topic for topic in (CHANNELS, PARTS, REPORTS)}
        self._codec = codec_of(kafka)
        self._stopping = threading.Event()
        self._ends: dict[tuple[str, int], int] = {}
        self._shown_lock = threading.Lock()
        self._shown: dict[tuple[str, int], int] = {}
        """Offset of what each partition is shown up to: what was read may lie with who takes it."""
        self._behind: dict[tuple[str, int], int] = {}
        """Where what is shown has to end, of each partition that is not shown so far."""
        self._looked_at = 0.0
        self._reached: dict[tuple[str, int], int] = {}
        """Offset of what each partition is read up to."""
        self._fresh_at: dict[tuple[str, int], float] = {}
        """As of when each partition is known: one broker may be away, or its connection dead, while the others speak."""
        self.failure: BaseException | None = None

    @property
    def is_ready(self) -> bool:
        """
        Whether everything was read to its end, of no partition is known less than up to a time that is allowed, and nothing kept this
        process from looking; after that it is not ready before it shows what came meanwhile.
        """
        now = self._monotonic_s()
        is_fresh = now - min(self._fresh_at.values(), default=-math.inf) <= self._staleness_s
        return not self._behind and is_fresh and now - self._looked_at <= ASLEEP_S and self.failure is None

    def stop(self) -> None:
        """Ends the thread and waits for it."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Reads until stopped; what goes wrong is kept in ``failure``."""
        try:
            consumer = Consumer(
                self._kafka.client()
                | {
                    "group.id": "finecut-origin",  # required by the client; nothing is ever committed
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    # What retention took meanwhile is passed over, not also all that came since.
                    "auto.offset.reset": "earliest",
                    "fetch.wait.max.ms": self._kafka.fetch_wait_ms,
                    "fetch.queue.backoff.ms": 2,
                    "topic.metadata.refresh.interval.ms": 10_000,
                    "error_cb": COMPLAINTS.take,
                }
            )
            try:
                self._begin(consumer)
                self._follow(consumer)
            finally:
                consumer.close()
        except Exception as error:  # noqa: BLE001 - whatever ends this thread ends the process, which raises it
            log.error("follower_failed", error=str(error))
            self.failure = error

    # ------------------------------------------------------------ where to begin

    def _begin(self, consumer: Consumer) -> None:
        """Assigned, also by a broker that has just started and does not lead its partitions yet."""
        deadline = self._monotonic_s() + START_TIMEOUT_S
        while not self._stopping.is_set():
            try:
                self._assign(consumer)
            except KafkaException as error:
                problem = error.args[0]
                if problem.code() not in UNSETTLED:
                    raise
                if self._monotonic_s() > deadline:
                    raise UnreachableError(self._kafka.bootstrap_servers, problem.str()) from error
                self._stopping.wait(SETTLE_S)
            else:
                return

    def _assign(self, consumer: Consumer) -> None:
        known = consumer.list_topics(timeout=START_TIMEOUT_S).topics
        for name in self._topics:
            if name in known and known[name].error and known[name].error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise KafkaException(known[name].error)  # its leader is being elected
        missing = [name for name in self._topics if name not in known or known[name].error]
        if missing:
            raise UserError(
                f"no topic {', '.join(missing)} on {self._kafka.bootstrap_servers} that this user may read",
                do="run `finecut topics create`, or give the user the ACLs of its role",
            )
        places: list[TopicPartition] = []
        for name, topic in self._topics.items():
            partitions = sorted(known[name].partitions)
            if topic is CHANNELS:
                places += [TopicPartition(name, p, OFFSET_BEGINNING) for p in partitions]
            else:
                wanted = [TopicPartition(name, p, self._since_unix_ms) for p in partitions]
                places += consumer.offsets_for_times(wanted, timeout=START_TIMEOUT_S)
        for place in places:
            low, high = consumer.get_watermark_offsets(TopicPartition(place.topic, place.partition), timeout=START_TIMEOUT_S)
            if place.offset == OFFSET_BEGINNING:
                place.offset = low
            elif place.offset == OFFSET_END or place.offset < 0:  # nothing is that new
                place.offset = high
            self._ends[place.topic, place.partition] = high
            if place.offset < high:
                self._behind[place.topic, place.partition] = high
        consumer.assign(places)
        self._looked_at = now = self._monotonic_s()
        self._reached = {(place.topic, place.partition): place.offset for place in places}
        self._shown = dict(self._reached)
        self._fresh_at = dict.fromkeys(self._reached, now)

    # ------------------------------------------------------------ follow

    def _follow(self, consumer: Consumer) -> None:
        probe_every_s = self._staleness_s / PROBES_PER_STALENESS
        probed_at = self._monotonic_s()
        while not self._stopping.is_set():
            now = self._monotonic_s()  # before it looks: it may fall asleep at any moment
            if now - self._looked_at <= ASLEEP_S or self._look_again(consumer):
                self._looked_at = now
            messages = self._take(consumer)
            if messages:
                self._hand_on(messages)
            if self._monotonic_s() - probed_at >= probe_every_s:
                self._probe(consumer)
                probed_at = self._monotonic_s()

    def _look_again(self, consumer: Consumer) -> bool:
        """Whether the broker said how far to read after a sleep."""
        ends = self._ask_ends(consumer)
        if ends.keys() != self._shown.keys():
            return False
        with self._shown_lock:
            self._behind |= {place: end for place, end in ends.items() if self._shown[place] < end}
        log.warning("slept", seconds=round(self._monotonic_s() - self._looked_at, 1), partitions_behind=len(self._behind))
        return True

    def _hand_on(self, messages: list[Message]) -> None:
        facts = [fact for message in messages if (fact := self._read(message)) is not None]
        self._deliver(facts, partial(self._settle, dict(self._reached)))

    def _settle(self, shown: dict[tuple[str, int], int]) -> None:
        """All before these offsets is shown: which partitions are so now as far as they were to be."""
        with self._shown_lock:
            self._shown, was_behind = shown, bool(self._behind)
            self._behind = {place: end for place, end in self._behind.items() if shown[place] < end}
        if was_behind and not self._behind:
            log.info("caught_up", partitions=len(self._ends))

    @staticmethod
    def _take(consumer: Consumer) -> list[Message]:
        """The next message as soon as it comes, and those that came with it."""
        first = consumer.poll(POLL_S)
        return [] if first is None else [first, *consumer.consume(BATCH_MAX, 0)]

    def _read(self, message: Message) -> Fact | None:
        topic, partition, offset = str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)
        here, now, error = (topic, partition), self._monotonic_s(), message.error()
        if error is not None:
            if self._is_end(error):
                self._reached[here], self._fresh_at[here] = offset, now
            return None
        metrics.RECORDS.labels(topic).inc()
        # After a pause it reads what came meanwhile: until it has, a player would be shown the past after what others have shown it.
        self._reached[here], self._fresh_at[here] = offset + 1, now - max(0, self._broker_now() - message.timestamp()[1]) / 1_000
        key, value = (message.key() or b"").decode("utf-8", "replace"), message.value()
        try:
            record = None if value is None else self._decode(self._topics[topic], value)
        except RejectedError as problem:
            metrics.REJECTED.labels(topic).inc()
            log.warning("record_rejected", topic=topic, partition=partition, offset=offset, error=str(problem))
            # The control plane reads `channels` and `reports`, too, and writes their rejects; nobody but origins reads `parts`.
            if self._topics[topic] is PARTS:
                self._reject(PARTS, message, str(problem))
            return None
        is_live = offset >= self._ends.get((topic, partition), 0)
        return Fact(record=record, key=key, at_unix_ms=UnixMs(message.timestamp()[1]), is_live=is_live)

    def _decode(self, topic: Topic, value: bytes) -> object:
        record: object = self._codec.decode(value)
        if not isinstance(record, topic.records):
            raise RejectedError(f"a {type(record).__name__} in {topic.title}")
        return record

    @staticmethod
    def _is_end(error: KafkaError) -> bool:
        """Whether this only says that a partition is read to its end."""
        if error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise KafkaException(error)
        is_end = bool(error.code() == KafkaError._PARTITION_EOF)  # noqa: SLF001
        if not is_end:
            log.warning("follower_error", error=error.str())
        return is_end

    def _probe(self, consumer: Consumer) -> None:
        """Asks the brokers how long the partitions are: silence means nothing new where all there is was read, and only there."""
        now = self._monotonic_s()
        for place, end in self._ask_ends(consumer).items():
            if end <= self._reached[place]:
                self._fresh_at[place] = now

    def _ask_ends(self, consumer: Consumer) -> dict[tuple[str, int], int]:
        """Offset of the next record of each partition whose broker says it."""
        wanted = [TopicPartition(topic, partition, OFFSET_END) for topic, partition in self._reached]
        try:
            ends = consumer.offsets_for_times(wanted, timeout=PROBE_TIMEOUT_S)
        except KafkaException as error:
            log.warning("broker_does_not_answer", error=str(error))
            return {}
        return {(end.topic, end.partition): end.offset for end in ends if end.error is None and end.offset >= 0}
