"""The records around the chunks: what stands in ``media`` and ``channels`` when a period starts and when a channel ends."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from schemas.records import Level, MarkKind, MediaMark, PartFrames, Period, PeriodEnd, Track
from schemas.settings import MediaSettings
from schemas.topics import CHANNELS, MEDIA, period_end_key, period_key
from schemas.units import Ms, Msn, UnixMs, ticks_from_ms
from streams.ingest.history import Past
from streams.ingest.link import Link
from streams.ingest.pictures import thumbnails_of


@dataclass(frozen=True, kw_only=True, slots=True)
class PeriodLog:
    """
    Writes the periods of one channel.

    Attributes:
        link: Connection to Kafka.
        channel: Channel id.
        life: Run of the writer.
        pool: The channel's pool.
        media_partition: The channel's partition of ``media``.
        frame_rate: Frames per second of the grid.
        grid: Its parts and chunks.
        part_target_ms: Longest part.
        idle_level: What is packaged while nobody watches.
        media: What is fixed for the channel's life.
        gap_ms: A gap to the period before that is not worth one.
    """

    link: Link
    channel: str
    life: str
    pool: int
    media_partition: int
    frame_rate: Fraction
    grid: tuple[PartFrames, ...]
    part_target_ms: Ms
    idle_level: Level
    media: MediaSettings
    gap_ms: int

    def mark(self, past: Past | None) -> tuple[int, UnixMs]:
        """
        Say that the next period starts here; offset and broker time once that is acknowledged.

        Args:
            past: The channel's newest period, which ends here; absent at its first start.

        Raises:
            RetryableError: It was not delivered.
        """
        mark = MediaMark(
            channel=self.channel,
            life=self.life,
            kind=MarkKind.PERIOD_START,
            period=past.period.period + 1 if past else 0,
            ended_period=past.period.period if past else None,
            parts_reached=past.parts_reached if past else 0,
            next_msn=past.next_msn if past else Msn(0),
        )
        return self.link.send_now(MEDIA, self.media_partition, self.channel, mark)

    def start(
        self, past: Past | None, tracks: Sequence[Track], *, first_offset: int, began_unix_ms: int, encoder_ticks: int | None = None
    ) -> tuple[Period, int]:
        """
        The period that starts at a mark, and where it stands in ``channels``; acknowledged, so that its chunks may follow.

        Args:
            past: As it stands in the log before that mark; its end is told.
            first_offset: Of the mark.
            began_unix_ms: Broker time at which its first frame came.
            encoder_ticks: The encoder's clock at its first tick, where the other of a pair has the same.

        Raises:
            RetryableError: It was not delivered.
        """
        number = past.period.period + 1 if past else 0
        # Two periods never overlap, and players need not jump over what is hardly a gap.
        ended = past.ended_unix_ms if past else None
        anchor = UnixMs(began_unix_ms) if ended is None or began_unix_ms - ended > self.gap_ms else ended
        zero = past.period.zero_unix_ms if past else anchor
        period = Period(
            channel=self.channel,
            period=number,
            life=self.life,
            pool=self.pool,
            media_partition=self.media_partition,
            tracks=tuple(replace(track, start_ticks=ticks_from_ms(anchor - zero, track.timescale)) for track in tracks),
            frame_rate_num=self.frame_rate.numerator,
            frame_rate_den=self.frame_rate.denominator,
            grid=self.grid,
            anchor_unix_ms=anchor,
            zero_unix_ms=zero,
            first_msn=past.next_msn if past else Msn(0),
            discontinuity=past.discontinuity if past else 0,
            target_duration_ms=Ms(self.media.target_duration_ms),
            part_target_ms=self.part_target_ms,
            publish_allowance_ms=past.period.publish_allowance_ms if past else Ms(self.media.publish_allowance_ms),
            idle_level=self.idle_level,
            time_shift_ms=Ms(self.media.time_shift_ms),
            first_offset=first_offset,
            thumbnails=thumbnails_of(tracks, self.media),
            encoder_ticks=encoder_ticks,
        )
        offset, _ = self.link.send_now(CHANNELS, self.pool, period_key(self.channel, number), period)
        return period, offset

    def end_period(self, past: Past) -> UnixMs:
        """
        Tell how a period ended that another follows; when that was appended, by the broker's clock.

        Raises:
            RetryableError: It was not delivered.
        """
        return self._send_end(past, channel_ended=False)

    def end_channel(self, past: Past) -> None:
        """
        The end of the channel after its newest period, acknowledged.

        Raises:
            UserError: It was not delivered.
        """
        mark = MediaMark(
            channel=self.channel,
            life=self.life,
            kind=MarkKind.CHANNEL_END,
            period=past.period.period,
            ended_period=past.period.period,
            parts_reached=past.parts_reached,
            next_msn=past.next_msn,
        )
        self.link.send_now(MEDIA, self.media_partition, self.channel, mark)
        self._send_end(past, channel_ended=True)

    def _send_end(self, past: Past, *, channel_ended: bool) -> UnixMs:
        end = PeriodEnd(
            channel=self.channel,
            period=past.period.period,
            parts_reached=past.parts_reached,
            next_msn=past.next_msn,
            channel_ended=channel_ended,
        )
        _, at = self.link.send_now(CHANNELS, self.pool, period_end_key(self.channel, past.period.period), end)
        return at
