"""Whose a channel is: the mark that takes it over, and what of its partition is known to be ours."""

import time

import structlog

from schemas.errors import RetryableError, SupersededError
from schemas.settings import KafkaSettings
from schemas.topics import GOPS, MEDIA
from schemas.units import UnixMs
from streams.ingest.history import Follower, Others, Past, others_since
from streams.ingest.link import Link
from streams.ingest.periods import PeriodLog
from streams.ingest.reading import offset_at

log = structlog.get_logger()

# A period's mark stands in `media` before its record stands in `channels`: who comes between sees the mark alone, and waits so long for the
# record. None comes if the writer died in between: its number is free.
UNSEEN_MS = 5_000


class Ownership:
    """
    One writer's hold on a channel; whoever marks the next period first has it.

    Attributes:
        is_ours: Whether the newest period is ours.
        is_alone: Whether all of the channel's partition before ``known_offset`` is known, and nobody else had reason to write since.
        known_offset: All of the partition before it is known, or ours; up to a GOP.
        known_gop: The newest GOP known of the open period.
        place: Offset in ``channels`` of the open period, whoever began it.
    """

    def __init__(self, settings: KafkaSettings, link: Link, periods: PeriodLog, *, channel: str, life: str, is_paired: bool) -> None:
        """
        Args:
            settings: Where the log is.
            link: What is written through.
            periods: Marks periods.
            channel: The channel.
            life: Our run.
            is_paired: Whether another encoder may go on with what this one begins, so that strangers' chunks are looked for.
        """
        self._kafka = settings
        self._link = link
        self._periods = periods
        self._channel = channel
        self._life = life
        self._is_paired = is_paired
        self.is_ours = False
        self.is_alone = True
        self.known_offset, self.known_gop = 0, -1
        self.place = -1

    def take_over(self) -> tuple[Past | None, int, UnixMs]:
        """
        Our first period start, after whoever wrote before: how far the channel was before it, its offset and broker time.

        Another writer may write on until it learns of us; what counts is what stands before our mark.

        Raises:
            SupersededError: Another writer took over at the same time, and was the first.
            RetryableError: The same at the channel's first period, where it cannot be told from one that died.
        """
        registry = self._link.registry
        registry.catch_up()
        newest = registry.newest(self._channel)
        end = registry.end_of(newest) if newest else None
        if newest is None or end:
            past = Past(period=newest, parts_reached=end.parts_reached, next_msn=end.next_msn) if newest and end else None
            offset, appended = self._periods.mark(past)
            if offset:
                self._skip_to(appended - UNSEEN_MS)
                self._check_first(newest.period if newest else -1, offset=offset)
        else:
            with Follower(self._kafka, registry, self._channel, now_unix_ms=_now()) as before:
                before.read()
                begun = before.mark[1].period if before.mark else newest.period
                if begun > newest.period and registry.wait_for(self._channel, begun, timeout_s=UNSEEN_MS / 1_000):
                    if self._is_paired:
                        raise SupersededError(f"another writer took over channel {self._channel}: period", held=newest.period, seen=begun)
                    return self.take_over()
                seen = before.next_offset
                offset, appended = self._periods.mark(before.past)
                before.read(until=offset)
                if before.mark and seen <= before.mark[0] < offset:
                    number = before.mark[1].period
                    raise SupersededError(f"another writer took over channel {self._channel}: period", held=number - 1, seen=number)
                past = before.settled(now_unix_ms=appended)
            self.index_left(past)
            log.info("channel_recovered", channel=self._channel, period=past.period.period, parts_reached=past.parts_reached,
                     next_msn=past.next_msn, gops_indexed=len(past.unindexed))  # fmt: skip
        self.is_ours = True
        self.known_offset = offset + 1
        return past, offset, appended

    def mark_next(self, past: Past) -> tuple[int, UnixMs]:
        """A period start after a period of our own: its offset and broker time."""
        offset, appended = self._periods.mark(past)
        if offset != self.known_offset or (self._is_paired and not self.is_alone):
            if not self._is_paired:
                # Who took the channel has a period in `channels`, or marked it just now: all that others wrote meanwhile need not be read.
                self.check_owner(past.period.period, is_whole=True)
                self._skip_to(appended - UNSEEN_MS)
            self.check_alone(past.period.period)
        self.known_offset = max(self.known_offset, offset + 1)
        return offset, appended

    def check_owner(self, period: int, *, is_whole: bool = False) -> None:
        """
        Nothing, while no later record in ``channels`` gives the channel to another writer.

        Args:
            period: The newest period known.
            is_whole: Look at all that stands there now, not only at what has arrived.

        Raises:
            SupersededError: One does.
            KafkaAwayError: Kafka does not answer.
        """
        if is_whole:
            self._link.registry.catch_up()
        self._link.registry.check_owner(self._channel, life=self._life, period=period, offset=self.place)

    def check_alone(self, period: int) -> None:
        """
        Nothing, while nobody else took the channel.

        Args:
            period: The period known so far.

        Raises:
            SupersededError: Somebody did.
        """
        known = self.known_offset
        found = self._others(period, gop=self.known_gop)
        if found.taken_at is not None:
            raise SupersededError(f"another writer took over channel {self._channel}: offset", held=known, seen=found.taken_at)
        self.known_offset, self.known_gop, self.is_alone = found.next_offset, found.gop, True

    def _check_first(self, period: int, *, offset: int) -> None:
        """
        Nothing, unless our first mark follows another of the same number.

        Args:
            period: The newest period, which has ended; -1 if there is none.
            offset: Where our mark stands.

        Raises:
            SupersededError: It does, and it is the other of a pair.
            RetryableError: It does, and who wrote it may have died, or be ourselves before an outage.
        """
        known = self.known_offset
        found = self._others(period, gop=None)
        if found.taken_at is not None and found.taken_at < offset:
            if self._is_paired:
                raise SupersededError(f"another writer took over channel {self._channel}: offset", held=known, seen=found.taken_at)
            raise RetryableError(f"another writer begins channel {self._channel} at this moment", retry_after_ms=UNSEEN_MS)
        self.known_offset = found.next_offset

    def _others(self, period: int, *, gop: int | None) -> Others:
        known, partition = self.known_offset, self._periods.media_partition
        return others_since(self._kafka, self._channel, partition, period, life=self._life, offset=known, gop=gop)

    def learn(self, offset: int, gop: int) -> None:
        """A chunk of ours stands there: of a pair, what lies between ours is looked at."""
        self.is_alone &= offset <= self.known_offset or not self._is_paired
        if self.is_alone and offset >= self.known_offset:
            self.known_offset, self.known_gop = offset + 1, gop

    def inherit(self, found_life: str | None) -> Past | None:
        """
        How far the channel is that we wrote nothing to.

        Args:
            found_life: Whose it was when we came.

        Raises:
            SupersededError: It is another's since.
        """
        registry = self._link.registry
        registry.catch_up()
        newest = registry.newest(self._channel)
        if newest is None:
            return None
        if newest.life != found_life:
            raise SupersededError(f"another writer took over channel {self._channel}: period", held=newest.period - 1, seen=newest.period)
        with Follower(self._kafka, registry, self._channel, now_unix_ms=_now()) as before:
            before.read()
            past = before.settled(now_unix_ms=_now())
        self.index_left(past)
        return past

    def _skip_to(self, unix_ms: int) -> None:
        """What stands in the partition before that time cannot concern us."""
        self.known_offset = max(self.known_offset, offset_at(self._kafka, MEDIA, self._periods.media_partition, unix_ms))

    def index_left(self, past: Past) -> None:
        """Index the GOPs that who wrote before did not."""
        for gop in past.unindexed:
            self._link.send(GOPS, past.period.pool, self._channel, gop)


def _now() -> UnixMs:
    return UnixMs(time.time_ns() // 1_000_000)
