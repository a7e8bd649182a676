"""What the log knows of a channel: where it lives, how far it got, who wrote it, and what a crash left unindexed."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException, Message, TopicPartition

from schemas.errors import RejectedError, UserError
from schemas.records import Chunk, Gop, MarkKind, MediaMark, Period
from schemas.registry import codec_of
from schemas.settings import KafkaSettings
from schemas.timeline import cells, gop_ms, part_start
from schemas.topics import GOPS, MEDIA
from schemas.units import Msn, UnixMs, ms_from_ticks
from streams.core.segmentation import Stamp
from streams.ingest.progress import GopIndex, Reached
from streams.ingest.reading import ANSWER_S, ERRORS, KafkaAwayError, away, make_consumer, offset_at, read_to_end
from streams.ingest.registry import Registry

# How far back the index is searched for a channel's newest GOP, in steps: a restart is mostly a matter of seconds.
SEARCH_BACK_MS = (60_000, 3_600_000)
BATCH = 500
# A standby holds so many GOPs of whom it follows, to index what that one left unindexed, and to know whose they are.
GOPS_MAX = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """
    The newest period of a channel.

    Attributes:
        period: Its configuration.
        parts_reached: Its parts that every track reached.
        next_msn: Media sequence number of the next segment.
        unindexed: Index entries of its whole GOPs that nobody wrote.
        stamp: Of the GOP that ends where this does, if it ends with a whole GOP of which no more is begun: another writer may go on.
    """

    period: Period
    parts_reached: int
    next_msn: Msn
    unindexed: tuple[Gop, ...] = ()
    stamp: Stamp | None = None

    @property
    def discontinuity(self) -> int:
        """Discontinuity number of the next period: one more only if this one has content."""
        return self.period.discontinuity + (1 if self.parts_reached else 0)

    @property
    def ended_unix_ms(self) -> UnixMs:
        """Broker time at the end of its content, at which the next period begins at the earliest."""
        track = self.period.tracks[0]
        return UnixMs(
            self.period.anchor_unix_ms
            + ms_from_ticks(part_start(self.period, track, self.parts_reached) - track.start_ticks, track.timescale)
        )


@dataclass(slots=True)
class _Known:
    """One period so far. A GOP belongs to the writer of its first chunk by offset (media rule 9)."""

    period: Period
    reached: Reached
    index: GopIndex
    owners: dict[int, str] = field(default_factory=dict)
    next_index: dict[str, int] = field(default_factory=dict)
    whole: deque[Gop] = field(default_factory=lambda: deque(maxlen=GOPS_MAX))

    def add(self, chunk: Chunk, *, size: int, offset: int, at: UnixMs) -> None:
        expected = self.next_index.get(chunk.track, chunk.index)
        if self.owners.setdefault(chunk.gop, chunk.life) != chunk.life or chunk.index < expected:
            return
        # As packagers have it: after a hole a track goes on with the next segment, whose number is then taken.
        begins = chunk.gop == chunk.first_gop and chunk.index == chunk.gop * len(tuple(cells(self.period.grid)))
        if chunk.index > expected and not begins:
            return
        self.next_index[chunk.track] = chunk.index + 1
        self.reached.add(chunk)
        gop = self.index.add(chunk, size=size, offset=offset, durable_unix_ms=at)
        if gop:
            self.whole.append(gop)
        while len(self.owners) > GOPS_MAX:
            del self.owners[min(self.owners)]

    @property
    def stamp(self) -> Stamp | None:
        gops, more = divmod(self.reached.parts, len(self.period.grid))
        return self.reached.stamps.get(gops - 1) if not more and max(self.owners, default=-1) < gops else None


class Follower:
    """The newest period of a channel that was written before, from its newest indexed GOP on, as far as the log was read."""

    def __init__(self, kafka: KafkaSettings, registry: Registry, channel: str, *, now_unix_ms: UnixMs, answer_s: float = ANSWER_S) -> None:
        """
        Args:
            registry: Knows the channel.
            now_unix_ms: Where the search for the newest GOP begins.
            answer_s: How long an answer is waited for.
        """
        period = registry.newest(channel)
        assert period is not None  # noqa: S101
        self._kafka = kafka
        self._answer_s = answer_s
        self._codec = codec_of(kafka)
        self._registry = registry
        self._channel = channel
        self._place = TopicPartition(MEDIA.name(kafka), period.media_partition)
        self._indexed = _newest_gop(kafka, period, now_unix_ms)
        self._known = self._begin(period)
        self._is_kept = False
        self.mark: tuple[int, MediaMark] | None = None
        """The newest period start, the first of its number, and its offset."""
        self.next_offset = self._indexed.first_offset if self._indexed else period.first_offset
        self.heard = 0
        """Records of the channel so far."""
        self._consumer = make_consumer(kafka)
        self._consumer.assign([TopicPartition(self._place.topic, self._place.partition, self.next_offset)])

    def read(self, *, until: int | None = None) -> None:
        """
        All that there is, or up to a record whose offset is known.

        Raises:
            KafkaAwayError: Kafka does not answer.
        """
        try:
            low, high = self._consumer.get_watermark_offsets(self._place, timeout=self._answer_s)
        except KafkaException as error:
            raise away(self._kafka, error) from error
        if low >= high and until is None:
            self.next_offset = max(self.next_offset, high)
        end = high if until is None else until + 1
        while self.next_offset < end:
            message = self._consumer.poll(self._answer_s)
            if message is None:
                raise KafkaAwayError(self._kafka.bootstrap_servers, "it stopped answering")
            self._take(message)

    def poll(self) -> None:
        """What has arrived, without waiting."""
        for message in self._consumer.consume(BATCH, timeout=0):
            self._take(message)

    @property
    def past(self) -> Past:
        """How far the channel is."""
        known = self._known
        indexed = self._indexed.gop if self._indexed and self._indexed.period == known.period.period else -1
        return Past(
            period=known.period,
            parts_reached=known.reached.parts,
            next_msn=known.reached.next_msn,
            unindexed=tuple(gop for gop in known.whole if gop.gop > indexed),
            stamp=known.stamp if self.mark is None or self.mark[1].period <= known.period.period else None,
        )

    def settled(self, *, now_unix_ms: UnixMs) -> Past:
        """How far the channel is, even if retention took its tail."""
        past = self.past
        if past.parts_reached or self._is_kept:
            return past
        # No segment is shorter than a GOP, so its age in GOPs is beyond any number it used.
        period = past.period
        age = max(0, now_unix_ms - period.anchor_unix_ms)
        parts = (self._indexed.gop + 1) * len(period.grid) if self._indexed else 0
        return Past(period=period, parts_reached=parts, next_msn=Msn(period.first_msn + age // gop_ms(period) + 1))

    def owner(self, gop: int) -> str | None:
        """Whose a GOP is, if it has begun."""
        return self._known.owners.get(gop)

    @property
    def next_gop(self) -> int:
        """The first GOP that nobody has begun."""
        return max(self._known.owners, default=self._known.reached.parts // len(self._known.period.grid) - 1) + 1

    def search(self, *, now_unix_ms: UnixMs) -> None:
        """See which GOPs were indexed while it was followed."""
        self._indexed = _newest_gop(self._kafka, self._known.period, now_unix_ms) or self._indexed

    def close(self) -> None:
        """Stop following."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _begin(self, period: Period) -> _Known:
        after = self._indexed.gop if self._indexed and self._indexed.period == period.period else -1
        return _Known(period, Reached(period), GopIndex(period, after_gop=after))

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is None:
            self.next_offset = (message.offset() or 0) + 1
            if bytes(message.key() or b"").decode(errors="replace") == self._channel:
                self._fold(message.value() or b"", message.offset() or 0, UnixMs(message.timestamp()[1]))
        elif error.code() in ERRORS:
            raise UserError(f"cannot read {message.topic()}: {error.str()}", do="check the topics: finecut topics verify")

    def _fold(self, value: bytes, offset: int, at: UnixMs) -> None:
        try:
            record = self._codec.decode_chunk_header(value)
            size = len(self._codec.decode(value).payload) if isinstance(record, Chunk) else 0
        except RejectedError:
            return  # whoever packages this partition writes it to `rejects`
        self.heard += 1
        self._is_kept |= offset == self._known.period.first_offset
        begun = self.mark[1].period if self.mark else self._known.period.period - 1
        if isinstance(record, MediaMark):
            # The first of a number counts, as for all who read.
            if record.kind is MarkKind.PERIOD_START and record.period > begun:
                self.mark = offset, record
            return
        if record.period > self._known.period.period:
            self._known, self._is_kept = self._begin(self._await(record.period)), True
        if record.period == self._known.period.period >= begun:
            self._known.add(record, size=size, offset=offset, at=at)

    def _await(self, number: int) -> Period:
        """A period whose chunks are in the log stands in ``channels``, if not yet with us."""
        is_there = self._registry.wait_for(self._channel, number, timeout_s=ANSWER_S)
        found = self._registry.newest(self._channel)
        if not is_there or found is None:
            raise KafkaAwayError(self._kafka.bootstrap_servers, f"period {number} of {self._channel} does not come")
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Others:
    """
    What others wrote to a channel.

    Attributes:
        taken_at: Offset at which another writer took it, by a period start or by the first chunk of a GOP; absent if none did.
        next_offset: All before it is known.
        gop: The newest GOP that is known to be ours.
    """

    taken_at: int | None
    next_offset: int
    gop: int


def others_since(kafka: KafkaSettings, channel: str, partition: int, period: int, *, life: str, offset: int, gop: int | None) -> Others:
    """
    Whether another writer took a channel.

    Args:
        channel: The channel.
        partition: Its partition of ``media``.
        period: The open period.
        life: Who asks.
        offset: What lies before is known.
        gop: The newest GOP that is known, only later ones count; absent if the period has ended, so that no more of it counts.
    """
    codec = codec_of(kafka)
    owners: dict[int, str] = {}
    end, newest = offset, -1 if gop is None else gop
    for read in read_to_end(kafka, MEDIA, {partition: offset}):
        end = read.offset + 1
        if read.key != channel:
            continue
        try:
            record = codec.decode_chunk_header(read.value)
        except RejectedError:
            continue  # whoever packages this partition writes it to `rejects`
        if isinstance(record, MediaMark):
            if record.life != life and record.period > period:
                return Others(taken_at=read.offset, next_offset=end, gop=newest)
        elif gop is not None and record.period == period and record.gop > newest and owners.setdefault(record.gop, record.life) != life:
            return Others(taken_at=read.offset, next_offset=end, gop=newest)
    return Others(taken_at=None, next_offset=end, gop=max(owners, default=newest))


def _newest_gop(kafka: KafkaSettings, period: Period, now_unix_ms: UnixMs) -> Gop | None:
    codec = codec_of(kafka)
    for start in _starts(kafka, period, now_unix_ms):
        newest = None
        for message in read_to_end(kafka, GOPS, {period.pool: start}):
            if message.key != period.channel:
                continue
            gop = codec.decode(message.value)
            if isinstance(gop, Gop) and gop.period == period.period:
                newest = gop
        if newest:
            return newest
    return None


def _starts(kafka: KafkaSettings, period: Period, now_unix_ms: UnixMs) -> Iterator[int]:
    for back in SEARCH_BACK_MS:
        yield offset_at(kafka, GOPS, period.pool, max(0, now_unix_ms - back))
    yield 0
