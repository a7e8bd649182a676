"""One of a pair of encoders of a channel: it writes while the other is silent, else it follows the log and holds what it would write."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import structlog

from schemas.errors import SupersededError
from schemas.records import Level, Period, Track
from schemas.settings import Settings
from schemas.units import Ticks, UnixMs
from streams.ingest import metrics
from streams.ingest.ending import Ending
from streams.ingest.history import Follower, Past
from streams.ingest.link import Link
from streams.ingest.producer import ChannelWriter
from streams.ingest.reading import KafkaAwayError
from streams.ingest.samples import Sample
from streams.ingest.text import Cue

log = structlog.get_logger()

# Held beyond the silence that is waited for: two GOPs to begin with one, and what two encoders differ in delay.
HELD_MORE_S = 2
# Sound lies beside the pictures by less than this; what belongs before is left out by the writer.
BESIDE_S = Fraction(1, 10)
# A question to Kafka must not hold up the encoder.
ANSWER_S = 1.0


class Standby(Ending):
    """
    Takes what a `ChannelWriter` takes; whoever writes first leads, the other goes on when the leader is silent for ``standby_ms``.

    Both encoders have one clock: frames of one instant have the same time. Where grid and init segments agree too, and the leader fell
    silent between two GOPs, its period goes on; else a new one begins at the next GOP. Neither ends the channel: `finecut end` does.
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
        link: Link | None = None,
    ) -> None:
        """
        Args:
            link: Connection to Kafka, used from one thread; as for the others, see `ChannelWriter`.

        Raises:
            UserError: The name is no id, the tracks or the grid do not fit, or Kafka does not answer.
        """
        self.channel = channel
        self._settings = settings
        self._tracks = tuple(tracks)
        self._rate = frame_rate
        self._gop_frames = gop_frames
        self._idle_level = idle_level
        self._clock = next((track.track for track in tracks if track.width), tracks[0].track)
        self._scales = {track.track: track.timescale for track in tracks}
        self._held: deque[tuple[float, str, Sample | Cue]] = deque()
        self._held_bytes = 0
        self._writer: ChannelWriter | None = None
        self._follower: Follower | None = None
        self._needed: Fraction | None = None
        self._heard = time.monotonic()
        self._early_s = 0.0
        self._is_counted = False
        self._owns_link = link is None
        self._link = link or Link(settings)
        # What does not fit is said now, not when the other dies.
        try:
            self._make().close()
        except BaseException:
            self.close()
            raise
        self._is_counted = True
        metrics.STANDING_BY.inc()

    # ------------------------------------------------------------ for callers

    @property
    def is_leading(self) -> bool:
        """Whether it writes the channel."""
        return self._writer is not None

    @property
    def early_s(self) -> float:
        """As `ChannelWriter` has it."""
        return self._early_s + (self._writer.early_s if self._writer else 0.0)

    @property
    def waiting_bytes(self) -> int:
        """Bytes not acknowledged."""
        return self._link.queued_bytes

    def write(self, track: str, sample: Sample, *, held_ms: int = 0) -> None:
        """
        One coded frame, in decode order of its track: written, or held.

        Raises:
            RetryableError: Kafka was away for longer than the queue holds.
            UserError: Frames do not fit the tracks.
        """
        if self._writer:
            try:
                self._writer.write(track, sample, held_ms=held_ms)
                return
            except SupersededError as error:
                self._stand_by(error)
        self._hold(track, sample)

    def write_cue(self, track: str, cue: Cue) -> None:
        """A cue of a text track."""
        if self._writer:
            self._writer.write_cue(track, cue)
        else:
            self._hold(track, cue)

    def poll(self, timeout_s: float = 0.0) -> None:
        """
        Serve acknowledgements, or look what the other does and go on for it; at most this long.

        Raises:
            RetryableError: Kafka was away for longer than the queue holds.
        """
        if self._writer:
            self._writer.poll(timeout_s)
            return
        self._link.poll(timeout_s)
        self._follow()

    def end(self) -> None:
        """Our source is over: what is written stays, the other goes on."""
        self.flush()

    def flush(self) -> None:
        """Returns when all that was sent is acknowledged."""
        self._link.flush()

    def close(self) -> None:
        """Let go."""
        if self._writer:
            self._writer.close()
        elif self._is_counted:
            metrics.STANDING_BY.dec()
        self._is_counted = False
        self._unfollow()
        if self._owns_link:
            self._link.close()

    # ------------------------------------------------------------ standing by

    def _make(self) -> ChannelWriter:
        return ChannelWriter(
            self._settings,
            channel=self.channel,
            tracks=self._tracks,
            frame_rate=self._rate,
            gop_frames=self._gop_frames,
            idle_level=self._idle_level,
            link=self._link,
            is_paired=True,
        )

    def _hold(self, track: str, item: Sample | Cue) -> None:
        now, limit = time.monotonic(), self._settings.ingest
        self._held.append((now, track, item))
        self._held_bytes += _size(item)
        oldest = now - limit.standby_ms / 1_000 - float(2 * self._gop_frames / self._rate) - HELD_MORE_S
        while self._held_bytes > limit.queue_bytes_max or (self._held[0][0] < oldest and not self._is_needed(*self._held[0][1:])):
            self._held_bytes -= _size(self._held.popleft()[2])

    def _is_needed(self, track: str, item: Sample | Cue) -> bool:
        """Whether what is old is of a GOP that the log does not have yet."""
        at = item.end if isinstance(item, Cue) else self._seconds(track, item)
        return self._needed is not None and at >= self._needed

    def _stand_by(self, error: SupersededError) -> None:
        log.warning("encoder_stands_by", channel=self.channel, reason=str(error))
        if self._writer:
            self._early_s += self._writer.early_s
            self._writer.close()
            self._is_counted = True
            metrics.STANDING_BY.inc()
        self._writer = None
        self._unfollow()
        self._heard, self._needed = time.monotonic(), None

    def _unfollow(self) -> None:
        if self._follower:
            self._follower.close()
            self._follower = None

    def _follow(self) -> None:
        registry = self._link.registry
        registry.follow()
        try:
            if self._is_free() and self._held:
                registry.catch_up()
            newest = registry.newest(self.channel)
            if newest is None or self._is_free():
                if self._held:
                    self._lead(None, None, self._held[0][0])
                return
            if self._follower is None:
                self._follower = self._start_following()
                self._heard = time.monotonic()
                metrics.READY.set(1)
                log.info("encoder_follows", channel=self.channel, period=newest.period, life=newest.life)
            before = self._follower.heard
            self._follower.poll()
            if self._follower.heard != before:
                self._heard = time.monotonic()
                clock, gop = self._clock_of(self._follower.past.period), self._gop_frames / self._rate
                self._needed = None if clock is None else clock + (self._follower.next_gop - 1) * gop
            elif (time.monotonic() - self._heard) * 1_000 > self._settings.ingest.standby_ms:
                self._follower.read()
                if self._follower.heard == before:
                    self._take_over(self._follower)
        except KafkaAwayError as error:
            # It is not the other's fault that nothing is heard.
            log.warning("encoder_hears_nothing", channel=self.channel, error=str(error))
            self._heard = time.monotonic()

    def _is_free(self) -> bool:
        """Whether the channel is nobody's, as far as is known."""
        newest = self._link.registry.newest(self.channel)
        end = self._link.registry.end_of(newest) if newest else None
        return newest is None or bool(end and end.channel_ended)

    def _start_following(self) -> Follower:
        now = UnixMs(time.time_ns() // 1_000_000)
        follower = Follower(self._settings.kafka, self._link.registry, self.channel, now_unix_ms=now, answer_s=ANSWER_S)
        try:
            follower.read()
        except BaseException:
            follower.close()
            raise
        return follower

    def _take_over(self, follower: Follower) -> None:
        past, gop = follower.past, follower.next_gop
        clock = self._clock_of(past.period)
        syncs = [
            (arrived, self._seconds(track, item))
            for arrived, track, item in self._held
            if track == self._clock and isinstance(item, Sample) and item.sync
        ]
        if clock is None:
            # The clocks have nothing in common: what came after the other's last.
            after = [(arrived, at) for arrived, at in syncs if arrived >= self._heard]
            if after:
                self._lead(None, after[0][1], after[0][0])
            return
        wanted, frame = clock + gop * self._gop_frames / self._rate, 1 / self._rate
        ready = [(arrived, at) for arrived, at in syncs if at >= wanted - frame / 2]
        if ready:
            arrived, at = ready[0]
            self._lead(past if past.stamp and at < wanted + frame / 2 else None, at, arrived, clock=clock, gop=gop)

    def _lead(self, past: Past | None, first: Fraction | None, arrived: float, *, clock: Fraction | None = None, gop: int = 0) -> None:
        """Write what is held from an instant of our clock on: in the period of the other, or in a new one."""
        silent_ms = round((time.monotonic() - self._heard) * 1_000)
        follower, writer = self._follower, self._make()
        try:
            if past and follower and clock is not None:
                follower.search(now_unix_ms=UnixMs(time.time_ns() // 1_000_000))
                writer.go_on(follower.past, clock, offset=follower.next_offset)
            elif first is not None:
                metrics.TAKEOVERS.labels(how="new_period").inc()
            for came, track, item in self._held:
                if isinstance(item, Cue):
                    writer.write_cue(track, item)
                elif first is None or self._seconds(track, item) >= first - (0 if track == self._clock else BESIDE_S):
                    writer.write(track, item, held_ms=round((time.monotonic() - came) * 1_000))
            if past and follower:
                self._link.flush()
                follower.read()
                if follower.owner(gop) != writer.life:
                    raise SupersededError(f"GOP {gop} of {self.channel} is another writer's: period", held=gop, seen=gop)
        except SupersededError as error:
            writer.close()
            self._stand_by(error)
            return
        except BaseException:
            writer.close()
            raise
        log.info("encoder_leads", channel=self.channel, life=writer.life, how="same_period" if past else "new_period", silent_ms=silent_ms,
                 held_ms=round((time.monotonic() - arrived) * 1_000))  # fmt: skip
        metrics.STANDING_BY.dec()
        self._is_counted = False
        self._held.clear()
        self._held_bytes = 0
        self._unfollow()
        self._writer = writer

    def _clock_of(self, period: Period) -> Fraction | None:
        """The encoder's clock at a period's first tick, if this encoder could go on with it."""
        if period.encoder_ticks is None or Fraction(period.frame_rate_num, period.frame_rate_den) != self._rate:
            return None
        if sum(sum(part.chunk_frames) for part in period.grid) != self._gop_frames:
            return None
        if sorted(map(_likeness, period.tracks)) != sorted(map(_likeness, self._tracks)):
            return None
        return Fraction(period.encoder_ticks, period.tracks[0].timescale)

    def _seconds(self, track: str, sample: Sample) -> Fraction:
        return Fraction(sample.time_ticks, self._scales[track])


def _likeness(track: Track) -> tuple[str, bytes, int]:
    return track.track, track.init, track.frame_ticks


def _size(item: Sample | Cue) -> int:
    return len(item.data if isinstance(item, Sample) else item.box)


def shifted(item: Sample | Cue, by: Fraction, timescale: int) -> Sample | Cue:
    """A frame or cue on a clock that shows so many seconds more."""
    if isinstance(item, Cue):
        return replace(item, start=item.start + by, end=item.end + by)
    return replace(item, time_ticks=Ticks(item.time_ticks + round(by * timescale)))
