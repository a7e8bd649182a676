"""
The client library of producers: `ChannelWriter` takes coded frames and keeps a channel in the log.

It cuts frames into chunks on the channel's grid, stamps each with its segment by the plan in force, opens a new period when the
timestamps jump, indexes whole GOPs, and after a crash continues the numbers where the log ends.
"""

import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import structlog

from schemas.errors import RejectedError, UserError
from schemas.records import Level, Track, check_id
from schemas.settings import Settings
from schemas.timeline import make_grid, part_target
from schemas.topics import GOPS, MEDIA, pool_of
from schemas.units import UnixMs
from streams.core.segmentation import Lengths, stamp
from streams.ingest import metrics
from streams.ingest.captions import Captions
from streams.ingest.ending import Ending
from streams.ingest.grid import Cut
from streams.ingest.history import Past
from streams.ingest.init import InitSegment
from streams.ingest.line import Line, seconds_into
from streams.ingest.link import Link
from streams.ingest.opened import Opened
from streams.ingest.ownership import Ownership
from streams.ingest.periods import PeriodLog
from streams.ingest.samples import Sample
from streams.ingest.text import Cue
from streams.ingest.watch import Clock, Silence

log = structlog.get_logger()

# Samples of other tracks kept until the first key frame says where a period starts.
EARLY_SAMPLES_MAX = 1_000
UNWATCHED = "nobody watches, so that nothing is packaged: with --idle-level segments (or parts) all of it is"


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
        self._open: Opened | None = None
        # Tracks of the next period: all but those that fell silent.
        self._active = {track.track for track in tracks}
        self._early: list[tuple[Line, Sample]] = []
        self._cause = "start"
        self._past: Past | None = None
        self._is_ended = False
        self._silence = Silence(channel, after_ms=settings.ingest.silence_ms)
        self._clock = Clock(channel)
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
        pause_s = self._silence.hear()
        self._owned.is_alone &= pause_s * 2_000 < self._settings.ingest.standby_ms
        if track not in self._active and not self._has_returned(line, sample):
            metrics.DROPPED.inc()
            return
        if self._open and line.has_jumped(sample, self._settings.ingest.jump_ms):
            self._close_period("jump")
        if self._open and self._clock.drift.is_over and line.cutter and line.cutter.starts_gop and self._may_begin(line, sample):
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
        self._silence.look()

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
        period = past.period
        self._owned.is_ours, self._owned.place = True, self._link.registry.place_of(period)
        self._open = opened = Opened.go_on(past, start)
        self._owned.index_left(past)
        self._owned.known_offset, self._owned.known_gop = offset, opened.first_gop - 1
        for text in self._texts.values():
            text.begin(period, start, first_gop=opened.first_gop)
        self._clock.drift.begin()
        metrics.TAKEOVERS.labels(how="same_period").inc()
        log.info("period_continued", channel=self.channel, period=period.period, gop=opened.first_gop, next_msn=past.next_msn)

    def end(self) -> None:
        """
        End the channel; returns when all of it is acknowledged.

        Raises:
            RetryableError: Something was not delivered.
            SupersededError: Another writer took the channel over, who may go on.
        """
        if self._open:
            self._close_period("end")
        self._link.flush()
        if self._past:
            self._owned.check_owner(self._past.period.period, is_whole=True)
        past = None if self._is_ended else self._past or self._owned.inherit(self.found_life)
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
        self._silence.close()
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
        if self._may_begin(line, sample):
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

    def _may_begin(self, line: Line, sample: Sample) -> bool:
        """Whether a period can begin with a sample: one of a picture, where there are any, that decoding can start at."""
        has_video = any(other.is_video for other in self._lines.values() if other.track.track in self._active)
        return (line.is_video or not has_video) and line.is_sync(sample)

    def _open_period(self, start: Fraction, held_ms: int) -> None:
        arrived = _steady_ms()
        past = self._past
        if self._owned.is_ours and past:
            first_offset, appended = self._owned.mark_next(past)
        else:
            past, first_offset, appended = self._owned.take_over()
        # How far the broker's clock is ahead of ours, or less: an answer may come long after its record was appended.
        ahead = appended - _steady_ms()
        if past:
            ahead = max(ahead, self._periods.end_period(past) - _steady_ms())
        began = UnixMs(arrived + ahead - held_ms)
        tracks = [track for track in self._tracks if track.track in self._active]
        ticks = round(start * tracks[0].timescale) if self._is_paired else None
        period, self._owned.place = self._periods.start(past, tracks, first_offset=first_offset, began_unix_ms=began, encoder_ticks=ticks)
        self._is_ended, self._owned.known_gop = False, -1
        self.early_s += max(0, began - period.anchor_unix_ms) / 1_000
        self._open = Opened.begin(period, start)
        for text in self._texts.values():
            text.begin(period, start)
        self._clock.drift.begin()
        self._clock.drift.acked(steady_ms=arrived, broker_unix_ms=appended)
        metrics.PERIODS.labels(cause=self._cause).inc()
        log.info("period_opened", channel=self.channel, period=period.period, cause=self._cause, first_msn=period.first_msn,
                 pool=period.pool, media_partition=period.media_partition, gap_ms=began - past.ended_unix_ms if past else 0,
                 early_ms=max(0, began - period.anchor_unix_ms))  # fmt: skip

    def _close_period(self, cause: str) -> None:
        """What was sent stays; samples of unfinished chunks are given up."""
        opened = self._open
        assert opened is not None  # noqa: S101
        self._past = opened.past
        self._open, self._early, self._cause = None, [], cause
        for line in self._lines.values():
            line.cutter = None
        log.info("period_closed", channel=self.channel, period=opened.period.period, cause=cause, parts_reached=self._past.parts_reached)

    def _drop_silent(self, opened: Opened, cut: Cut) -> bool:
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

    def _send_cut(self, opened: Opened, line: Line | Captions, cut: Cut) -> None:
        began, period = time.monotonic(), opened.period
        if cut.gop not in opened.stamps:
            if self._drop_silent(opened, cut):
                return
            self._stamp(opened, cut.gop)
        now, steady = _now(), _steady_ms()
        chunk = opened.chunk(line, cut, life=self.life, produced_unix_ms=now)
        head, size, kind = replace(chunk, payload=b""), len(chunk.payload), "text" if line.track.is_text else line.track.kind.value
        opened.reached.add(head)

        def acked(offset: int, at_unix_ms: UnixMs) -> None:
            metrics.READY.set(1)
            metrics.CHUNKS.labels(kind=kind).inc()
            metrics.BYTES.labels(kind=kind).inc(size)
            metrics.ACK.observe(time.monotonic() - began)
            self._clock.drift.acked(steady_ms=steady, broker_unix_ms=at_unix_ms)
            self._owned.learn(offset, head.gop)
            gop = opened.index.add(head, size=size, offset=offset, durable_unix_ms=at_unix_ms)
            if gop:
                opened.stamps.pop(gop.gop - 1, None)
                self._link.send(GOPS, period.pool, self.channel, gop)

        self._link.send(MEDIA, period.media_partition, self.channel, chunk, acked)
        metrics.CUT.observe(time.monotonic() - began)
        self._clock.add(steady_ms=steady, media_unix_ms=opened.ends_unix_ms(cut))
        if cut.track == next(track.track for track in period.tracks if not track.is_text):
            for text in self._texts.values():
                self._send_cut(opened, text, text.cut(cut))

    def _stamp(self, opened: Opened, gop: int) -> None:
        """Say which segment a GOP belongs to, by the plan in force, while the channel is ours."""
        period = opened.period
        at = stamp(
            opened.stamps.get(gop - 1),
            gop=gop,
            first_msn=period.first_msn,
            wanted=self._link.registry.gops_per_segment(self.channel),
            lengths=self._lengths,
        )
        self._owned.check_owner(period.period)
        if self._is_paired and not self._owned.is_alone:
            self._owned.check_alone(period.period)
        opened.stamps[gop] = at


def _steady_ms() -> int:
    """A clock that nobody sets."""
    return round(time.monotonic() * 1_000)


def _now() -> UnixMs:
    return UnixMs(time.time_ns() // 1_000_000)
