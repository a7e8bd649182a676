"""Frames of a file at the speed of a camera, and what an encoder that cannot keep up leaves out."""

import heapq
from collections.abc import Callable, Iterator
from fractions import Fraction

import structlog
from av.audio.frame import AudioFrame

from streams.ingest import metrics
from streams.ingest.ladder import AUDIO_FRAME, AUDIO_RATE_HZ, gop_frames_of
from streams.ingest.source import Numbered

log = structlog.get_logger()

# Decoded ahead, about 0.3 s of picture and sound: more than decoders hold back.
HELD_MAX = 24
# An encoder this late says so.
BEHIND_WARN_S = 1.0


class Pace:
    """Gives each frame when a camera would have it: a picture when it begins, sound when its last sample was heard."""

    def __init__(self, rate: Fraction, *, behind_max_s: float, monotonic: Callable[[], float], wait: Callable[[float], bool]) -> None:
        """
        Args:
            rate: Pictures per second.
            behind_max_s: Behind by more than this, input is left out up to now.
            monotonic: Seconds.
            wait: Lets so many seconds pass; whether all is over.
        """
        self._rate = rate
        self._monotonic = monotonic
        self._wait = wait
        self.early_s = 0.0
        """The channel began so much earlier than its frames came: what a file has can be given sooner."""
        self._skip = Skip(rate, behind_max_s=behind_max_s)

    def of(self, frames: Iterator[Numbered]) -> Iterator[Numbered]:
        """The frames, each in its time; those left out are decoded and no more."""
        began: float | None = None
        is_behind = False
        for due_s, item in _by_due(frames, self._rate):
            began = self._monotonic() if began is None else began
            late = self._monotonic() - began - due_s + self.early_s
            metrics.BEHIND.set(max(0.0, late))
            is_out = self._skip.leaves_out(item, late_s=late)
            if self._wait(0.0 if is_out else max(0.0, -late)):
                return
            if is_out:
                continue
            if (late > BEHIND_WARN_S) != is_behind:
                is_behind = not is_behind
                log.warning("encoder_behind" if is_behind else "encoder_in_time", late_ms=round(late * 1_000))
            yield item


class Skip:
    """
    Chooses what a late encoder leaves out: whole GOPs, so that the next picture encoded is a key frame in every rendition.

    The step in the timestamps opens a new period, which is anchored to the time it is then.
    """

    def __init__(self, rate: Fraction, *, behind_max_s: float) -> None:
        """
        Args:
            rate: Pictures per second.
            behind_max_s: How far behind the encoder may be.
        """
        self._rate = rate
        self._gop_frames = gop_frames_of(rate)
        self._behind_max_s = behind_max_s
        self._from: Fraction | None = None
        self._until = Fraction(0)

    def leaves_out(self, item: Numbered, *, late_s: float) -> bool:
        """Whether a frame is left out; to be asked of every frame, in the order in which they are due."""
        number, frame = item
        if isinstance(frame, AudioFrame):
            begins = Fraction(number, AUDIO_RATE_HZ)
            return begins < self._until if self._from is None else begins >= self._from
        if number % self._gop_frames == 0:
            self._look(number / self._rate, late_s)
        return self._from is not None

    def _look(self, at: Fraction, late_s: float) -> None:
        if self._from is None and late_s > self._behind_max_s:
            self._from = at
        # An address never gives what is to come: what lies within a GOP of now is now.
        elif self._from is not None and late_s <= self._gop_frames / self._rate:
            skipped, self._from, self._until = at - self._from, None, at
            metrics.SKIPPED.inc(float(skipped))
            log.warning("input_skipped", skipped_s=float(skipped), do="use a faster preset, fewer renditions or more cores")


def _by_due(frames: Iterator[Numbered], rate: Fraction) -> Iterator[tuple[float, Numbered]]:
    """Frames in the order in which they are due: decoders give pictures later than the sound of the same instant."""
    held: list[tuple[float, int, Numbered]] = []
    for count, (number, frame) in enumerate(frames):
        due = (number + AUDIO_FRAME) / AUDIO_RATE_HZ if isinstance(frame, AudioFrame) else number / rate
        heapq.heappush(held, (float(due), count, (number, frame)))
        if len(held) > HELD_MAX:
            due_s, _, item = heapq.heappop(held)
            yield due_s, item
    while held:
        due_s, _, item = heapq.heappop(held)
        yield due_s, item
