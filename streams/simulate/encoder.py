"""An encoder and its producer: chunks on the grid in real time, stamped, indexed, continued after a crash."""

from dataclasses import dataclass, replace
from functools import partial

from schemas.records import Chunk, Level, MarkKind, MediaMark, Period, PeriodEnd, Plan, Track
from schemas.timeline import Cell, boundary, cells, frames_per_gop, part_start, part_target
from schemas.topics import CHANNELS, GOPS, MEDIA, PLANS, period_end_key, period_key
from schemas.units import GopOrdinal, Ms, Msn, Ticks, UnixMs, ms_from_ticks, ticks_from_ms
from streams.core.segmentation import Lengths, Stamp, stamp
from streams.ingest.progress import GopIndex, Reached
from streams.simulate.engine import Process
from streams.simulate.log import Entry, Reader
from streams.simulate.media import FRAME_RATE, GRID, THUMBNAILS, make_payload, make_tracks
from streams.simulate.world import POOL, World

CELLS = tuple(cells(GRID))
# From a chunk's last frame to its append, and at most between the tracks of one instant.
ENCODE_MS = 20
TRACK_MS = 25
ACK_MS = 4
START_MS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """
    The period before.

    Attributes:
        period: Its configuration.
        parts_reached: Parts that every track reached.
        next_msn: Media sequence number of the next segment.
    """

    period: Period
    parts_reached: int
    next_msn: Msn

    @property
    def ended_unix_ms(self) -> UnixMs:
        """Broker time at the end of its content."""
        track = self.period.tracks[0]
        span = part_start(self.period, track, self.parts_reached) - track.start_ticks
        return UnixMs(self.period.anchor_unix_ms + ms_from_ticks(span, track.timescale))


class Encoder(Process):
    """
    One run of the encoder of one channel.

    Attributes:
        channel: Channel id.
        is_ended: Whether it ended its channel.
    """

    def __init__(self, world: World, channel: str, *, partition: int, idle_level: Level) -> None:
        """
        Args:
            world: Where it runs.
            channel: Channel id.
            partition: Partition of ``media`` for a new channel.
            idle_level: What the channel gets while nobody watches.
        """
        super().__init__(world.engine)
        self.channel = channel
        self.is_ended = False
        self._world = world
        self._life = world.random_life()
        self._skew_ms = world.random_skew_ms()
        self._partition = partition
        self._idle_level = idle_level
        self._plan: Plan | None = None
        self._past: Past | None = None
        self._sent_at = 0
        self._period: Period | None = None
        self._lengths = Lengths.of(
            gop_frames=FRAME_RATE, frame_rate_num=FRAME_RATE, frame_rate_den=1, target_duration_ms=world.policy.media.target_duration_ms
        )
        Reader(world.log, self, PLANS, self._hear, rng=world.rng, delivery=world.delivery)
        self.after(world.rng.randint(1, START_MS), self._start)

    def jump(self, ms: int) -> None:
        """The source loses some time: what follows is a new period."""
        if self._period and not self.is_paused and not self.is_ended:
            self._close()
            self.after(ms, self._open)

    def end(self) -> None:
        """Ends the channel for ever."""
        if self.is_ended or not (self._period or self._past):
            return
        self.is_ended = True
        if self._period:
            self._close()
        past = self._past
        assert past is not None  # noqa: S101
        mark = MediaMark(
            channel=self.channel, life=self._life, kind=MarkKind.CHANNEL_END, period=past.period.period,
            ended_period=past.period.period, parts_reached=past.parts_reached, next_msn=past.next_msn,
        )  # fmt: skip
        self._append_mark(mark)
        self.after(ACK_MS, lambda: self._send_end(past, channel_ended=True))

    def _hear(self, entry: Entry) -> None:
        if entry.key == self.channel and (not (self._plan and entry.record) or entry.record.decision >= self._plan.decision):
            self._plan = entry.record

    # ------------------------------------------------------------ start and periods

    def _start(self) -> None:
        log = self._world.log
        own = [entry.record for entry in log.entries(CHANNELS, POOL) if entry.record.channel == self.channel]
        newest: Period | None = max((r for r in own if isinstance(r, Period)), key=lambda r: r.period, default=None)
        if newest:
            end = next((r for r in own if isinstance(r, PeriodEnd) and r.period == newest.period), None)
            if end and end.channel_ended:
                self.is_ended = True
                return
            self._partition = newest.media_partition
            self._past = Past(period=newest, parts_reached=end.parts_reached, next_msn=end.next_msn) if end else self._recall(newest)
        self._open()

    def _recall(self, period: Period) -> Past:
        """Reads the tail of the partition and indexes what a crash left unindexed."""
        log = self._world.log
        written = (period.channel, period.period, period.life)
        gops = (entry.record for entry in reversed(log.entries(GOPS, POOL)))
        last = next((gop for gop in gops if (gop.channel, gop.period, gop.life) == written), None)
        reached, index = Reached(period), GopIndex(period, after_gop=last.gop if last else -1)
        for entry in log.entries(MEDIA, self._partition)[last.first_offset if last else period.first_offset :]:
            chunk = entry.record
            if isinstance(chunk, Chunk) and (chunk.channel, chunk.period, chunk.life) == written:
                reached.add(chunk)
                gop = index.add(chunk, size=len(chunk.payload), offset=entry.offset, durable_unix_ms=entry.at)
                if gop:
                    log.append(GOPS, POOL, self.channel, gop, sender=self.channel)
        return Past(period=period, parts_reached=reached.parts, next_msn=reached.next_msn)

    def _open(self) -> None:
        past = self._past
        mark = MediaMark(
            channel=self.channel, life=self._life, kind=MarkKind.PERIOD_START, period=past.period.period + 1 if past else 0,
            ended_period=past.period.period if past else None, parts_reached=past.parts_reached if past else 0,
            next_msn=past.next_msn if past else Msn(0),
        )  # fmt: skip
        entry = self._append_mark(mark)
        if past:
            self.after(ACK_MS, lambda: self._send_end(past, channel_ended=False))
        self.after(2 * ACK_MS, lambda: self._configure(entry))

    def _configure(self, mark: Entry) -> None:
        past, media, tracks = self._past, self._world.policy.media, make_tracks()
        anchor = UnixMs(max(mark.at, past.ended_unix_ms if past else 0))
        zero = past.period.zero_unix_ms if past else anchor
        period = Period(
            channel=self.channel,
            period=mark.record.period if mark.record else 0,
            life=self._life,
            pool=POOL,
            media_partition=self._partition,
            tracks=tuple(replace(t, start_ticks=ticks_from_ms(anchor - zero, t.timescale)) for t in tracks),
            frame_rate_num=FRAME_RATE,
            frame_rate_den=1,
            grid=GRID,
            anchor_unix_ms=anchor,
            zero_unix_ms=zero,
            first_msn=past.next_msn if past else Msn(0),
            discontinuity=past.period.discontinuity + bool(past.parts_reached) if past else 0,
            target_duration_ms=Ms(media.target_duration_ms),
            part_target_ms=part_target(GRID, frame_rate_num=FRAME_RATE, frame_rate_den=1, tracks=tracks),
            publish_allowance_ms=Ms(media.publish_allowance_ms),
            idle_level=self._idle_level,
            time_shift_ms=Ms(media.time_shift_ms),
            first_offset=mark.offset,
            thumbnails=THUMBNAILS if self._world.has_thumbnails else None,
        )
        self._world.log.append(CHANNELS, POOL, period_key(self.channel, period.period), period, sender=self.channel)
        self._period, self._reached, self._index = period, Reached(period), GopIndex(period)
        self._stamps: dict[int, Stamp] = {}
        self._await_cell(period, 0)

    def _close(self) -> None:
        assert self._period is not None  # noqa: S101
        self._past = Past(period=self._period, parts_reached=self._reached.parts, next_msn=self._reached.next_msn)
        self._period = None

    def _send_end(self, past: Past, *, channel_ended: bool) -> None:
        end = PeriodEnd(
            channel=self.channel, period=past.period.period, parts_reached=past.parts_reached, next_msn=past.next_msn,
            channel_ended=channel_ended,
        )  # fmt: skip
        self._world.log.append(CHANNELS, POOL, period_end_key(self.channel, past.period.period), end, sender=self.channel)

    def _append_mark(self, mark: MediaMark) -> Entry:
        return self._world.log.append(MEDIA, self._partition, self.channel, mark, sender=self.channel)

    # ------------------------------------------------------------ chunks

    def _await_cell(self, period: Period, index: int) -> None:
        gop, number = divmod(index, len(CELLS))
        end_ms = (gop * frames_per_gop(period) + CELLS[number].end_frames) * 1_000 // FRAME_RATE
        self.after(period.anchor_unix_ms + end_ms + ENCODE_MS - self.engine.now, lambda: self._send_cell(period, index))

    def _send_cell(self, period: Period, index: int) -> None:
        if self._period is not period:
            return
        gop, number = divmod(index, len(CELLS))
        if number == 0:
            wanted = self._plan.gops_per_segment if self._plan else None
            self._stamps[gop] = stamp(self._stamps.get(gop - 1), gop=gop, first_msn=period.first_msn, wanted=wanted, lengths=self._lengths)
        for track in period.tracks:
            # One producer: whatever is late, the order stays.
            self._sent_at = max(self._sent_at, self.engine.now)
            self.after(self._sent_at - self.engine.now, partial(self._send_chunk, period, track, index, gop, CELLS[number]))
            self._sent_at += self._world.rng.randint(0, TRACK_MS)
        self._await_cell(period, index + 1)

    def _send_chunk(self, period: Period, track: Track, index: int, gop: int, cell: Cell) -> None:
        if self._period is not period:
            return
        base = gop * frames_per_gop(period)
        begin = CELLS[index % len(CELLS) - 1].end_frames if index % len(CELLS) else 0
        start, end = boundary(period, track, base + begin), boundary(period, track, base + cell.end_frames)
        at, rng = self._stamps[gop], self._world.rng
        payload = make_payload(track, index=index, start_ticks=start, duration_ticks=end - start, starts_gop=begin == 0, rng=rng)
        chunk = Chunk(
            channel=self.channel, period=period.period, track=track.track, life=self._life, gop=GopOrdinal(gop), msn=at.msn,
            first_gop=at.first_gop, gop_count=at.gop_count, index=index, part=cell.part, ends_part=cell.ends_part, ends_gop=cell.ends_gop,
            independent=track.kind == "audio" or begin == 0, start_ticks=start, duration_ticks=Ticks(end - start),
            produced_unix_ms=UnixMs(self.engine.now + self._skew_ms), payload=payload,
        )  # fmt: skip
        entry = self._world.log.append(MEDIA, self._partition, self.channel, chunk, sender=self.channel)
        if rng.random() < self._world.double:
            self._world.log.append(MEDIA, self._partition, self.channel, chunk, sender=self.channel)
        self._reached.add(chunk)
        indexed = self._index.add(chunk, size=len(payload), offset=entry.offset, durable_unix_ms=entry.at)
        if indexed:
            self.after(rng.randint(1, ACK_MS), lambda: self._send_gop(indexed))

    def _send_gop(self, indexed: object) -> None:
        self._world.log.append(GOPS, POOL, self.channel, indexed, sender=self.channel)
