"""
What a packager needs of the log, for ours and for anybody's own: assignments in, chunks by offset, parts and reports out.

`packager/minimal.py` is a whole packager on it.

It registers with its first heartbeat and goes on beating as long as it is polled: a heartbeat means that the loop moves.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from packager import metrics
from packager.capacity import Meter, capacity
from packager.clock import BrokerClock, wall
from packager.holding import Assigned, Withdrawn
from packager.receiver import Receiver, Unreadable
from packager.source import Arrival, Source, check
from schemas import topics
from schemas.errors import LifeOverError, RejectedError
from schemas.records import (
    Assignment,
    Chunk,
    Heartbeat,
    MediaMark,
    PackagerState,
    Part,
    Parts,
    Period,
    Reject,
    Reports,
    SegmentReport,
    SliceProgress,
    check_id,
)
from schemas.registry import codec_of
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.units import GopOrdinal, Ms, Msn, Ticks, UnixMs

log = structlog.get_logger()

__all__ = ["Arrival", "Assigned", "Client", "Event", "Media", "Withdrawn"]  # all that a packager of one's own needs of the log

# How long a poll waits for the slices that catch up, so that the live edge of the others is looked at often.
PAST_WAIT_S = 0.002
# How long a packager that leaves waits for its farewell to be acknowledged.
GOODBYE_S = 5.0
# How long a client that is closed waits to be told of what it gave up: no broker is asked any more.
PURGE_S = 1.0
# What becomes of a record that the broker did not take within `delivery_timeout_ms`, as after a pause or while it is away for long.
LATE = {KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT_QUEUE}  # noqa: SLF001
# Room for the other fields of a reject.
REJECT_MARGIN_BYTES = 4_096


@dataclass(frozen=True, kw_only=True, slots=True)
class Media:
    """
    A chunk or mark that slices in hand need.

    Attributes:
        arrival: Where it stood in the log, its bytes, and the slices.
        record: The mark, or the chunk, whose payload is a view of the arrival's bytes.
    """

    arrival: Arrival
    record: Chunk | MediaMark


Event = Assigned | Withdrawn | Media


class Client:
    """One packager as the rest of the system sees it; used by one thread."""

    def __init__(self, settings: Settings, *, pool: int, packager_id: str) -> None:
        """
        Args:
            settings: All settings.
            pool: Pool to join.
            packager_id: Name, used by nobody else in the pool.
        """
        self.packager_id = check_id(packager_id, what="packager")
        self.life = uuid4().hex[:16]
        self.state = PackagerState.READY
        self.meter = Meter()
        self.clock = BrokerClock(monotonic_s=time.monotonic, wall=wall)
        self._settings = settings
        self._pool = pool
        self._codec = codec_of(settings.kafka)
        packager = settings.packager
        self._capacity = capacity(packager.cores, settings.assignment.part_ms_budget, fetch_bytes_max=packager.fetch_bytes_max)
        self._progress: dict[str, SliceProgress] = {}
        self._told: tuple[SliceProgress, ...] = ()
        self._reports_sent = 0
        self._reports_taken = 0
        self._beats = 0
        self._next_beat = 0.0
        self._counted = (0, 0)
        self._failure: KafkaError | None = None
        self._is_closed = False
        self._producer = Producer(
            settings.kafka.producer()
            | {
                "client.id": f"{packager_id}-{self.life}",
                "error_cb": check,
            }
        )
        self._receiver = Receiver(settings.kafka, self._codec, pool=pool, packager_id=packager_id, life=self.life)
        self._source = Source(settings.kafka, settings.packager, client_id=f"{packager_id}-{self.life}")
        self._warm_up()
        for resource, amount in asdict(self._capacity).items():
            metrics.PACKAGER_CAPACITY.labels(resource).set(amount)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if (kind is None or issubclass(kind, MemoryError)) and self.state is not PackagerState.GONE:
                self.state = PackagerState.GONE  # its work moves at once, not after a silence
                self.beat()
                self.flush(GOODBYE_S)
        finally:
            self.close()

    @property
    def periods(self) -> Mapping[str, Mapping[int, Period]]:
        """Periods of every channel of the pool, as far as known."""
        return self._receiver.periods

    @property
    def has_tail(self) -> bool:
        """Whether any slice follows the live edge."""
        return self._source.has_tail

    def poll(self, timeout_s: float, *, read_live: bool = True, read_past: bool = True) -> Iterator[Event]:
        """
        What happened, to be gone through before it is asked again; beats when it is time, also between two of them.

        Args:
            timeout_s: How long to wait for something, at most.
            read_live: Whether to read on at the tails; not reading is how a slow packager keeps its memory.
            read_past: Whether to read on where slices catch up.

        Raises:
            UserError: A younger packager uses our name.
            LifeOverError: We were declared dead, or a record of ours was not taken in time: nobody waits for what we say.
            KafkaException: Kafka refuses us.
        """
        self._beat_if_due()
        self._producer.poll(0)
        if self._failure:
            if self._failure.code() in LATE:
                raise LifeOverError(f"what life {self.life} of packager {self.packager_id} said was not taken: {self._failure.str()}")
            raise KafkaException(self._failure)
        waits = (read_live and self._source.has_tail) or (read_past and self._source.is_catching_up)
        events = self._receiver.read(0 if waits else timeout_s)
        yield from self._readable(events)
        # Only now, since who is told of slices may read them from elsewhere: nothing is handed out that was read for what they were.
        yield from self._decoded(self._arrivals(0 if events else timeout_s, read_live=read_live, read_past=read_past))

    def follow(self, key: str, assignment: Assignment, *, offset: int | None = None) -> None:
        """Reads the channel of an assignment, from an offset on; absent: from where its first segment can be read."""
        start = assignment.first_offset if offset is None else offset
        self._source.follow(key, channel=assignment.channel, partition=assignment.media_partition, offset=start)

    def leave(self, key: str) -> None:
        """Reads no longer for a slice, which leaves the heartbeats, too."""
        self._source.leave(key)
        self._progress.pop(key, None)
        self.meter.drop(key)

    def pause(self, key: str) -> None:
        """Reads no longer for a slice, which stays in the heartbeats."""
        self._source.leave(key)
        self.meter.drop(key)

    def progress(self, key: str, progress: SliceProgress) -> None:
        """What the heartbeats say of a slice, once all that was reported before is acknowledged."""
        self._progress[key] = progress

    def pass_over(self, arrival: Arrival) -> None:
        """Counts a record whose payload no slice needed: what groups and turns of a channel read in vain."""
        self._source.overread_bytes += len(arrival.data)

    def announce(self, parts: tuple[Part, ...]) -> None:
        """Tells the origins of parts that can be fetched."""
        self._send(topics.PARTS, self.packager_id, Parts(packager_id=self.packager_id, life=self.life, parts=parts))

    def report(self, segments: tuple[SegmentReport, ...]) -> None:
        """Tells everybody what became of segments."""
        self._reports_sent += 1
        self._send(topics.REPORTS, self.packager_id, Reports(packager_id=self.packager_id, life=self.life, segments=segments))

    def reject(self, arrival: Arrival, error: str) -> None:
        """Puts a record of ``media`` aside with its bytes and what is wrong with it."""
        topic = topics.MEDIA.name(self._settings.kafka)
        self._reject(topic, arrival.partition, arrival.offset, arrival.key, arrival.data, error)

    def beat(self) -> None:
        """Sends a heartbeat now."""
        interval = Ms(self._settings.liveness.heartbeat_ms)
        self._next_beat = time.monotonic() + interval / 1_000
        use = self.meter.read()
        for resource, amount in asdict(use).items():
            metrics.PACKAGER_USE.labels(resource).set(amount)
        if self._reports_taken == self._reports_sent:
            # Who takes a slice over goes by it: what it says is done must be reported, even if we die now.
            self._told = tuple(self._progress[key] for key in sorted(self._progress))
        beat = Heartbeat(
            packager_id=self.packager_id,
            life=self.life,
            state=self.state,
            number=self._beats,
            interval_ms=interval,
            capacity=self._capacity,
            use=use,
            slices=self._told,
        )
        self._beats += 1
        self._send(topics.HEARTBEATS, self.packager_id, beat)

    def flush(self, timeout_s: float) -> bool:
        """Whether all that was sent is acknowledged, waiting for it no longer than this."""
        return self._producer.flush(timeout_s) == 0 and self._failure is None

    def close(self) -> None:
        """Ends the clients; what was not acknowledged may be lost. Of a life that was lost nothing stays in memory."""
        self._is_closed = True
        # A record on its way holds its callback, hence us and the producer, until it is told of: and nobody polls this producer again.
        self._producer.purge()
        with suppress(KafkaException):  # a complaint of the broker: no news to who leaves
            self._producer.flush(PURGE_S)
        self._source.close()
        self._receiver.close()

    def _warm_up(self) -> None:
        """What the first chunk, part and report would else wait for: schemas compiled, topics known."""
        chunk = Chunk(
            channel="warm", period=0, track="up", life="", gop=GopOrdinal(0), msn=Msn(0), first_gop=GopOrdinal(0), gop_count=1, index=0,
            part=0, ends_part=True, ends_gop=True, independent=True, start_ticks=Ticks(0), duration_ticks=Ticks(1),
            produced_unix_ms=UnixMs(0), payload=b"",
        )  # fmt: skip
        data = self._codec.encode(chunk)
        self._codec.decode_chunk(data)
        self._codec.encode(Parts(packager_id=self.packager_id, life=self.life, parts=()))
        self._codec.encode(Reports(packager_id=self.packager_id, life=self.life, segments=()))
        for topic in (topics.PARTS, topics.REPORTS):
            self._producer.list_topics(topic.name(self._settings.kafka), timeout=self._settings.kafka.delivery_timeout_ms / 1_000)

    def _beat_if_due(self) -> None:
        # Registered only once the compacted topics are read: who is given work must know the channels.
        if self._receiver.is_caught_up and time.monotonic() >= self._next_beat:
            self.beat()

    def _arrivals(self, timeout_s: float, *, read_live: bool, read_past: bool) -> list[Arrival]:
        past = read_past and self._source.is_catching_up
        arrivals = self._source.read_live(0 if past else timeout_s) if read_live and self._source.has_tail else []
        if arrivals:
            self.clock.hear(arrivals[-1].durable_unix_ms)
        if past:
            arrivals += self._source.read_past(0 if arrivals else min(PAST_WAIT_S, timeout_s))
        self._count()
        return arrivals

    def _readable(self, events: list[Assigned | Withdrawn | Unreadable]) -> Iterator[Event]:
        for event in events:
            self._beat_if_due()  # a packager of which little is left is slow, not dead
            if isinstance(event, Unreadable):
                message = event.message
                partition, offset = message.partition() or 0, message.offset() or 0
                self._reject(message.topic() or "", partition, offset, message.key() or b"", message.value() or b"", event.error)
            else:
                yield event

    def _decoded(self, arrivals: list[Arrival]) -> Iterator[Event]:
        for arrival in arrivals:
            self._beat_if_due()
            try:
                record = self._codec.decode_chunk(arrival.data)
                if record.channel.encode() != arrival.key:
                    raise RejectedError(f"a record of channel {record.channel} under the key {arrival.key!r}")
            except RejectedError as error:
                self.reject(arrival, str(error))
            else:
                yield Media(arrival=arrival, record=record)

    def _reject(self, topic: str, partition: int, offset: int, key: bytes, data: bytes, error: str) -> None:
        log.warning("rejected", topic=topic, partition=partition, offset=offset, key=key.decode(errors="replace"), error=error)
        metrics.PACKAGER_REJECTS.inc()
        reject = Reject(
            source_topic=topic,
            source_partition=partition,
            source_offset=offset,
            source_key=key,
            payload=data[: self._settings.kafka.message_bytes_max - REJECT_MARGIN_BYTES],
            payload_size=len(data),
            error=error,
            rejected_by=f"packager {self.packager_id}",
        )
        self._send(topics.REJECTS, topic, reject)

    def _send(self, topic: Topic, key: str, record: Any) -> None:
        name = topic.name(self._settings.kafka)
        self._producer.produce(name, self._codec.encode(record), key.encode(), partition=self._pool, on_delivery=self._delivered)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if self._is_closed:
            return  # given up by `close`
        if error:
            log.error("not_delivered", topic=message.topic(), error=error.str())
            self._failure = self._failure or error
        elif message.topic() == topics.HEARTBEATS.name(self._settings.kafka):
            metrics.PACKAGER_READY.set(self.state is not PackagerState.GONE)
        elif message.topic() == topics.REPORTS.name(self._settings.kafka):
            self._reports_taken += 1

    def _count(self) -> None:
        read, over = self._source.read_bytes, self._source.overread_bytes
        self.meter.in_bytes = read
        metrics.PACKAGER_READ.inc(read - self._counted[0])
        metrics.PACKAGER_OVERREAD.inc(over - self._counted[1])
        self._counted = (read, over)
