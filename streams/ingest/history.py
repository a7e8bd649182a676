"""What the log knows of a channel when a writer starts: where it lives, how far it got, and what a crash left unindexed."""

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.errors import RejectedError
from schemas.records import Chunk, Gop, Period
from schemas.registry import codec_of
from schemas.settings import KafkaSettings
from schemas.timeline import gop_ms, part_start
from schemas.topics import GOPS, MEDIA
from schemas.units import Msn, UnixMs, ms_from_ticks
from streams.ingest.progress import GopIndex, Reached
from streams.ingest.reading import offset_at, read_to_end
from streams.ingest.registry import Registry

# How far back the index is searched for a channel's newest GOP, in steps: a restart is mostly a matter of seconds.
SEARCH_BACK_MS = (60_000, 3_600_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """
    The newest period of a channel.

    Attributes:
        period: Its configuration.
        parts_reached: Its parts that every track reached.
        next_msn: Media sequence number of the next segment.
        unindexed: Index entries of its whole GOPs that nobody wrote.
    """

    period: Period
    parts_reached: int
    next_msn: Msn
    unindexed: tuple[Gop, ...] = ()

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


def recall(kafka: KafkaSettings, registry: Registry, channel: str, *, now_unix_ms: UnixMs) -> Past | None:
    """What the log knows of a channel; None if it never was."""
    period = registry.newest(channel)
    if period is None:
        return None
    end = registry.end_of(period)
    if end:
        return Past(period=period, parts_reached=end.parts_reached, next_msn=end.next_msn)
    indexed = _newest_gop(kafka, period, now_unix_ms)
    start = indexed.first_offset if indexed else period.first_offset
    reached, index = Reached(period), GopIndex(period, after_gop=indexed.gop if indexed else -1)
    unindexed = []
    for chunk, size, offset, at in _chunks(kafka, period, start):
        reached.add(chunk)
        gop = index.add(chunk, size=size, offset=offset, durable_unix_ms=at)
        if gop:
            unindexed.append(gop)
    if reached.parts or (indexed is None and _is_kept(kafka, period)):
        return Past(period=period, parts_reached=reached.parts, next_msn=reached.next_msn, unindexed=tuple(unindexed))
    # Retention took the tail: no segment is shorter than a GOP, so its age in GOPs is beyond any number it used.
    age = max(0, now_unix_ms - period.anchor_unix_ms)
    parts = (indexed.gop + 1) * len(period.grid) if indexed else 0
    return Past(period=period, parts_reached=parts, next_msn=Msn(period.first_msn + age // gop_ms(period) + 1))


def _is_kept(kafka: KafkaSettings, period: Period) -> bool:
    """Whether ``media`` still has the period's first record."""
    for message in read_to_end(kafka, MEDIA, {period.media_partition: period.first_offset}):
        return message.offset == period.first_offset
    return False


def _chunks(kafka: KafkaSettings, period: Period, start: int) -> Iterable[tuple[Chunk, int, int, UnixMs]]:
    codec = codec_of(kafka)
    for message in read_to_end(kafka, MEDIA, {period.media_partition: start}):
        if message.key != period.channel:
            continue
        try:
            chunk = codec.decode_chunk_header(message.value)
            if not isinstance(chunk, Chunk) or chunk.period != period.period or chunk.life != period.life:
                continue
            size = len(codec.decode(message.value).payload)
        except RejectedError:
            continue  # whoever packages this partition writes it to `rejects`
        yield chunk, size, message.offset, message.at_unix_ms


def _newest_gop(kafka: KafkaSettings, period: Period, now_unix_ms: UnixMs) -> Gop | None:
    codec = codec_of(kafka)
    starts = [offset_at(kafka, GOPS, period.pool, max(0, now_unix_ms - back)) for back in SEARCH_BACK_MS]
    for start in [*starts, 0]:
        newest = None
        for message in read_to_end(kafka, GOPS, {period.pool: start}):
            if message.key != period.channel:
                continue
            gop = codec.decode(message.value)
            if isinstance(gop, Gop) and (gop.period, gop.life) == (period.period, period.life):
                newest = gop
        if newest:
            return newest
    return None
