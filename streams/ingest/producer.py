"""
The client library of producers: `ChannelWriter` takes coded frames and keeps a channel in the log.

It cuts frames into chunks on the channel's grid, stamps each with its segment by the plan in force, opens a new period when the
timestamps jump, indexes whole GOPs, and after a crash continues the numbers where the log ends.
"""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import structlog

from schemas.errors import RejectedError, UserError
from schemas.records import Chunk, Level, Period, Track, check_id
from schemas.settings import Settings
from schemas.timeline import make_grid, part_target
from schemas.topics import GOPS, MEDIA, pool_of
from schemas.units import UnixMs
from streams.core.segmentation import Lengths, Stamp, stamp
from streams.ingest import metrics
from streams.ingest.captions import Captions
from streams.ingest.cmaf import build_chunk
from streams.ingest.drift import Drift
from streams.ingest.ending import Ending
from streams.ingest.grid import Cut
from streams.ingest.history import Past
from streams.ingest.init import InitSegment
from streams.ingest.line import Line, seconds_into
from streams.ingest.link import Link
from streams.ingest.ownership import Ownership
from streams.ingest.periods import PeriodLog
from streams.ingest.progress import GopIndex, Reached
from streams.ingest.samples import Sample
from streams.ingest.text import Cue

log = structlog.get_logger()

# Samples of other tracks kept until the first key frame says where a period starts.
EARLY_SAMPLES_MAX = 1_000
UNWATCHED = "nobody watches, so that nothing is packaged: with --idle-level segments (or parts) all of it is"


@dataclass(slots=True)
class _Open:
    """The open period."""

    period: Period
    start: Fraction
    """Its first instant on the encoder's clock, in seconds."""
    channels_offset: int
    reached: Reached
    index: GopIndex
    stamps: dict[int, Stamp] = field(default_factory=dict)
    first_gop: int = 0
    """The first that is ours: those before it are of the other of a pair."""


class ChannelWriter(Ending):
    """
    Writes one channel; a context manager that ends the channel when it is left without an error.

    After an error, or when the process dies, the channel stays open: the next writer of the same name continues it with a new period.

    Attributes:
        channel: The channel.
        life: Our run.
        found_life: Whose the channel was when we came.
        early_s: How much earlier than their frames came periods were begun, in all, so that there is no gap before them: who has the
            frames already may hurry.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        channel: str,
        tracks: Sequence[Track],
        frame_rate: Fraction,
        gop_frames: int,
        idle_level: Level | None = None,
        pool: int | None = None,
        link: Link | None = None,
        is_paired: bool = False,
    ) -> None:
        """
        Args:
            channel: Its name, 1 to 63 of a-z, 0-9 and '-'.
            tracks: From `describe_track`; all video tracks have their key frames at the same instants.
            frame_rate: Video frames per second.
            gop_frames: Frames from one key frame to the next; fixed.
            idle_level: What is packaged while nobody watches; by default that of the settings.
            pool: Pool of a new channel; by default a stable hash of its name.
            link: Connection shared with other channels of the process, used from one thread.
            is_paired: Whether another encoder of the same source has the same clock and may go on with what this one begins.

        Raises:
            UserError: The name is no id, the tracks or the grid do not fit, or Kafka does not answer.
        """
        try:
            self.channel = check_id(channel, what="channel")
            self._lengths = Lengths.of(
                gop_frames=gop_frames,
                frame_rate_num=frame_rate.numerator,
                frame_rate_den=frame_rate.denominator,
                target_duration_ms=settings.media.target_duration_ms,
            )
            self._lines = {t.track: Line(t, InitSegment(t.init)) for t in tracks if not t.is_text}
            late_s_max = Fraction(settings.media.target_duration_ms, 1_000)
            texts = (Captions(t, InitSegment(t.init), late_s_max=late_s_max) for t in tracks if t.is_text)
            self._texts = {text.track.track: text for text in texts}
            if not self._lines:
                raise RejectedError(f"channel {channel} has neither picture nor sound")
        except RejectedError as error:
            raise UserError(str(error)) from error
        self._settings = settings
        self._tracks = tuple(tracks)
        self._frame_rate = frame_rate
        self._gop_frames = gop_frames
        self._idle_level = idle_level or settings.idle_level
        part_frames = max(1, round(settings.media.part_ms * frame_rate / 1_000))
        self._grid = make_grid(gop_frames, part_frames=part_frames, chunks_per_part=settings.media.chunks_per_part)
        self._check_grid()
        self.life = uuid.uuid4().hex
        self.early_s = 0.0
        self._is_paired = is_paired
        self._owns_link = link is None
        self._link = link or Link(settings)
        self._open: _Open | None = None
        # Tracks of the next period: all but those that fell silent.
        self._active = {track.track for track in tracks}
        self._early: list[tuple[Line, Sample]] = []
        self._cause = "start"
        self._past: Past | None = None
        self._is_ended = False
        self._heard = time.monotonic()
        self._is_silent = False
        self._drift = Drift()
        self._is_alarming = False
        try:
            self._periods = self._prepare(pool)
            self._owned = Ownership(settings.kafka, self._link, self._periods, channel=channel, life=self.life, is_paired=is_paired)
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------ for callers

    @property
    def waiting_bytes(self) -> int:
        """Bytes not acknowledged."""
        return self._link.queued_bytes

    def write(self, track: str, sample: Sample, *, held_ms: int = 0) -> None:
        """
        One coded frame, in decode order of its track.

        Args:
            held_ms: How long ago it came, which is when a period that begins with it does.

        Raises:
            RetryableError: The queue to Kafka stayed full for ``queue_wait_ms``.
            SupersededError: Another writer took the channel over.
            UserError: Frames do not fit the tracks, or a record was not delivered.
        """
        line = self._lines.get(track)
        if line is None:
            raise UserError(f"channel {self.channel} has no track {track!r}", do=f"use one of {', '.join(self._lines)}")
        pause_s = self._hear()
        self._owned.is_alone &= pause_s * 2_000 < self._settings.ingest.standby_ms
        if track not in self._active and not self._has_returned(line, sample):
            metrics.DROPPED.inc()
            return
        if self._open and line.has_jumped(sample, self._settings.ingest.jump_ms):
            self._close_period("jump")
        if self._open and self._drift.is_over and line.is_video and line.cutter and line.cutter.starts_gop and line.is_sync(sample):
            self._close_period("drift")
        if self._open is None:
            self._begin(line, sample, held_ms)
        else:
            self._take(line, sample)

    def write_cue(self, track: str, cue: Cue) -> None:
        """
        A cue of a text track, at best before its time comes: media does not wait for it.

        Raises:
            UserError: There is no such track.
        """
        text = self._texts.get(track)
        if text is None:
            raise UserError(f"channel {self.channel} has no text track {track!r}", do=f"use one of {', '.join(self._texts)}")
        if not text.add(cue):
            metrics.DROPPED.inc()

    def poll(self, timeout_s: float = 0.0) -> None:
        """
        Serve acknowledgements for at most this long; to be called while there is nothing to write.

        Raises:
            UserError: A record was not delivered.
        """
        self._link.poll(timeout_s)
        silent_ms = (time.monotonic() - self._heard) * 1_000
        if silent_ms > self._settings.ingest.silence_ms and not self._is_silent:
            self._is_silent = True
            metrics.STALLED.inc()
            log.warning("encoder_stalled", channel=self.channel, silent_ms=round(silent_ms))

    def cut_seconds(self, track: str) -> Fraction | None:
        """Encoder time, in seconds, at which the open chunk of a track ends; None while no period is open."""
        return self._lines[track].cut_seconds

    def go_on(self, past: Past, start: Fraction, *, offset: int) -> None:
        """
        Write on in the newest period of the other of a pair, from the GOP that follows.

        Args:
            past: How far it is; it ends with a whole GOP.
            start: Its first instant on the encoder's clock.
            offset: All of its partition before this is known.
        """
        period, stamp = past.period, past.stamp
        assert stamp is not None  # noqa: S101
        gop = past.parts_reached // len(period.grid)
        self._owned.is_ours = True
        self._open = _Open(
            period,
            start,
            self._link.registry.place_of(period),
            Reached(period, parts=past.parts_reached, stamps={gop - 1: stamp}),
            GopIndex(period, after_gop=gop - 1),
            {gop - 1: stamp},
            gop,
        )
        self._owned.index_left(past)
        self._owned.known_offset, self._owned.known_gop = offset, gop - 1
        for text in self._texts.values():
            text.begin(period, start, first_gop=gop)
        self._drift.begin()
        metrics.TAKEOVERS.labels(how="same_period").inc()
        log.info("period_continued", channel=self.channel, period=period.period, gop=gop, msn=stamp.msn)

    def end(self) -> None:
        """
        End the channel; returns when all of it is acknowledged.

        Raises:
            RetryableError: Something was not delivered.
        """
        if self._open:
            self._close_period("end")
        self._link.flush()
        past = None if self._is_ended else self._past or self._owned.inherit()
        if past:
            self._periods.end_channel(past)
            self._is_ended = True
            is_unwatched = self._idle_level is Level.OFF and not self._link.registry.is_on(self.channel)
            note = {"note": UNWATCHED} if is_unwatched else {}
            log.info("channel_ended", channel=self.channel, period=past.period.period, next_msn=past.next_msn, **note)

    def flush(self) -> None:
        """
        Returns when all that was sent is acknowledged.

        Raises:
            UserError: Something was not delivered.
        """
        self._link.flush()

    def close(self) -> None:
        """Let go without ending the channel; the next writer continues it."""
        if self._is_silent:
            self._is_silent = False
            metrics.STALLED.dec()
        if self._owns_link:
            self._link.close()

    # ------------------------------------------------------------ start and recovery

    def _check_grid(self) -> None:
        shortest = min(frames for part in self._grid for frames in part.chunk_frames) / self._frame_rate
        for track in self._tracks:
            if Fraction(track.frame_ticks, track.timescale) > shortest:
                raise UserError(
                    f"a frame of track {track.track} is longer than the shortest chunk of {round(shortest * 1_000)} ms",
                    do="set FINECUT_MEDIA__CHUNKS_PER_PART lower or FINECUT_MEDIA__PART_MS higher",
                )

    def _prepare(self, pool: int | None) -> PeriodLog:
        media, registry = self._settings.media, self._link.registry
        newest = registry.newest(self.channel)
        self.found_life = newest.life if newest else None
        target = part_target(
            self._grid, frame_rate_num=self._frame_rate.numerator, frame_rate_den=self._frame_rate.denominator, tracks=self._tracks
        )
        if newest:
            fixed = {"target_duration_ms": media.target_duration_ms, "part_target_ms": target}
            for name, value in fixed.items():
                if getattr(newest, name) != value:
                    raise UserError(
                        f"channel {self.channel} has {name}={getattr(newest, name)} for its life; now it is {value}",
                        do="use the old media settings and GOP, or another channel name",
                    )
            end = registry.end_of(newest)
            self._is_ended = end is not None and end.channel_ended
        if pool is not None and not 0 <= pool < registry.pool_count:
            raise UserError(f"there is no pool {pool}: the topics have {registry.pool_count}", do="choose one from 0 on, or leave it out")
        new_pool = pool_of(self.channel, registry.pool_count) if pool is None else pool
        return PeriodLog(
            link=self._link,
            channel=self.channel,
            life=self.life,
            pool=newest.pool if newest else new_pool,
            media_partition=newest.media_partition if newest else registry.take_media_partition(self.channel),
            frame_rate=self._frame_rate,
            grid=self._grid,
            part_target_ms=target,
            idle_level=self._idle_level,
            media=media,
            gap_ms=self._settings.ingest.gap_ms,
        )

    # ------------------------------------------------------------ periods

    def _begin(self, line: Line, sample: Sample, held_ms: int) -> None:
        """While no period is open: keep what comes until a key frame says where one starts."""
        has_video = any(other.is_video for other in self._lines.values() if other.track.track in self._active)
        if (line.is_video or not has_video) and line.is_sync(sample):
            self._open_period(line.seconds(sample), held_ms)
            early, self._early = self._early, []
            for other, held in [*early, (line, sample)]:
                if self._open:
                    self._take(other, held)
        elif not line.is_video:
            self._early.append((line, sample))
            if len(self._early) > EARLY_SAMPLES_MAX:
                del self._early[0]
                metrics.DROPPED.inc()
        else:
            metrics.DROPPED.inc()

    def _open_period(self, start: Fraction, held_ms: int) -> None:
        arrived = _steady_ms()
        past = self._past
        if self._owned.is_ours and past:
            first_offset, appended = self._owned.mark_next(past)
        else:
            past, first_offset, appended = self._owned.take_over()
        began = appended - held_ms - (_steady_ms() - arrived)
        tracks = [track for track in self._tracks if track.track in self._active]
        ticks = round(start * tracks[0].timescale) if self._is_paired else None
        period, offset = self._periods.start(past, tracks, first_offset=first_offset, began_unix_ms=began, encoder_ticks=ticks)
        self._is_ended, self._owned.known_gop = False, -1
        self.early_s += max(0, began - period.anchor_unix_ms) / 1_000
        self._open = _Open(period, start, offset, Reached(period), GopIndex(period))
        for text in self._texts.values():
            text.begin(period, start)
        self._drift.begin()
        self._drift.acked(steady_ms=arrived, broker_unix_ms=appended)
        metrics.PERIODS.labels(cause=self._cause).inc()
        log.info("period_opened", channel=self.channel, period=period.period, cause=self._cause, first_msn=period.first_msn,
                 pool=period.pool, media_partition=period.media_partition, gap_ms=began - past.ended_unix_ms if past else 0,
                 early_ms=max(0, began - period.anchor_unix_ms))  # fmt: skip

    def _close_period(self, cause: str) -> None:
        """What was sent stays; samples of unfinished chunks are given up."""
        opened = self._open
        assert opened is not None  # noqa: S101
        self._past = Past(period=opened.period, parts_reached=opened.reached.parts, next_msn=opened.reached.next_msn)
        self._open, self._early, self._cause = None, [], cause
        for line in self._lines.values():
            line.cutter = None
        log.info("period_closed", channel=self.channel, period=opened.period.period, cause=cause, parts_reached=self._past.parts_reached)

    def _drop_silent(self, opened: _Open, cut: Cut) -> bool:
        """Go on without tracks that are a whole target behind, in a new period; whether there were any."""
        limit = Fraction(self._settings.media.target_duration_ms, 1_000)
        now = seconds_into(opened.period, cut.track, cut.start_ticks)
        lines = [line for line in self._lines.values() if line.track.track in self._active]
        began = Fraction(opened.first_gop * self._gop_frames) / self._frame_rate
        silent = {line.track.track for line in lines if now - max(began, line.seconds_into(opened.period)) > limit}
        if silent:
            log.warning("tracks_silent", channel=self.channel, tracks=sorted(silent))
            self._active -= silent
            self._close_period("track_silent")
        return bool(silent)

    def _has_returned(self, line: Line, sample: Sample) -> bool:
        """Whether a silent track is abreast of the others again; the next period has it."""
        if self._open is None:
            return False
        newest = max(other.clock_seconds for other in self._lines.values() if other.cutter)
        if line.seconds(sample) * 1_000 < newest * 1_000 - self._settings.ingest.jump_ms:
            return False
        self._active.add(line.track.track)
        self._close_period("track_returned")
        return True

    # ------------------------------------------------------------ samples

    def _take(self, line: Line, sample: Sample) -> None:
        """A sample of the open period, or one from before its start."""
        opened = self._open
        assert opened is not None  # noqa: S101
        if line.cutter is None:
            if not line.begin(opened.period, opened.start, sample, self._settings.ingest.jump_ms, first_gop=opened.first_gop):
                metrics.DROPPED.inc()
                return
            assert line.cutter is not None  # noqa: S101
        if line.cutter.starts_gop and not line.is_sync(sample):
            if not opened.first_gop and opened.reached.parts < len(self._grid):
                raise UserError(
                    f"channel {self.channel}: frame {self._gop_frames} of track {line.track.track} after a key frame is none",
                    do=f"encode with a fixed GOP of {self._gop_frames} frames, closed, in all video tracks",
                )
            self._close_period("gop")
            metrics.DROPPED.inc()
            return
        cut = line.cutter.add(sample)
        if cut:
            self._send_cut(opened, line, cut)

    def _send_cut(self, opened: _Open, line: Line | Captions, cut: Cut) -> None:
        began = time.monotonic()
        period = opened.period
        at = opened.stamps.get(cut.gop)
        if at is None:
            if self._drop_silent(opened, cut):
                return
            at = stamp(
                opened.stamps.get(cut.gop - 1),
                gop=cut.gop,
                first_msn=period.first_msn,
                wanted=self._link.registry.gops_per_segment(self.channel),
                lengths=self._lengths,
            )
            self._link.registry.check_owner(self.channel, life=self.life, period=period.period, offset=opened.channels_offset)
            if self._is_paired and not self._owned.is_alone:
                self._owned.check_alone(period.period)
            opened.stamps[cut.gop] = at
        now, steady = _now(), _steady_ms()
        chunk = Chunk(
            channel=self.channel,
            period=period.period,
            track=cut.track,
            life=self.life,
            gop=cut.gop,
            msn=at.msn,
            first_gop=at.first_gop,
            gop_count=at.gop_count,
            index=cut.index,
            part=cut.part,
            ends_part=cut.ends_part,
            ends_gop=cut.ends_gop,
            independent=cut.samples[0].sync,
            start_ticks=cut.start_ticks,
            duration_ticks=cut.duration_ticks,
            produced_unix_ms=now,
            payload=build_chunk(
                cut.samples,
                track_id=line.init.track_id,
                index=cut.index,
                start_ticks=cut.start_ticks,
                frame_ticks=line.track.frame_ticks,
                durations=cut.durations,
            ),
        )
        head, size, kind = replace(chunk, payload=b""), len(chunk.payload), "text" if line.track.is_text else line.track.kind.value
        opened.reached.add(head)

        def acked(offset: int, at_unix_ms: UnixMs) -> None:
            metrics.READY.set(1)
            metrics.CHUNKS.labels(kind=kind).inc()
            metrics.BYTES.labels(kind=kind).inc(size)
            metrics.ACK.observe(time.monotonic() - began)
            self._drift.acked(steady_ms=steady, broker_unix_ms=at_unix_ms)
            self._owned.learn(offset, head.gop)
            gop = opened.index.add(head, size=size, offset=offset, durable_unix_ms=at_unix_ms)
            if gop:
                opened.stamps.pop(gop.gop - 1, None)
                self._link.send(GOPS, period.pool, self.channel, gop)

        self._link.send(MEDIA, period.media_partition, self.channel, chunk, acked)
        metrics.CUT.observe(time.monotonic() - began)
        media_s = seconds_into(period, cut.track, cut.start_ticks + cut.duration_ticks)
        self._watch_clock(steady, round(period.anchor_unix_ms + media_s * 1_000))
        if cut.track == next(track.track for track in period.tracks if not track.is_text):
            for text in self._texts.values():
                self._send_cut(opened, text, text.cut(cut))

    def _watch_clock(self, steady_ms: int, media_unix_ms: int) -> None:
        drift = self._drift
        drift.add(steady_ms=steady_ms, media_unix_ms=media_unix_ms)
        metrics.SKEW.labels(channel=self.channel).set(drift.skew_ms / 1_000)
        if drift.is_alarming != self._is_alarming:
            self._is_alarming = drift.is_alarming
            metrics.CLOCK_ALARM.labels(channel=self.channel).set(drift.is_alarming)
            log.warning("clock_off" if drift.is_alarming else "clock_right", channel=self.channel, drift_ms=drift.drift_ms)

    def _hear(self) -> float:
        """Something came; seconds since the last."""
        now = time.monotonic()
        pause_s, self._heard = now - self._heard, now
        if self._is_silent:
            self._is_silent = False
            metrics.STALLED.dec()
            log.info("encoder_resumed", channel=self.channel)
        return pause_s


def _steady_ms() -> int:
    """A clock that nobody sets."""
    return round(time.monotonic() * 1_000)


def _now() -> UnixMs:
    return UnixMs(time.time_ns() // 1_000_000)
