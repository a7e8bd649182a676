"""Frames of any file or address that FFmpeg reads: video at a constant rate, audio in step with it, looped without a seam."""

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import av.error
import numpy as np
import structlog
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from schemas.errors import UserError
from streams.ingest.ladder import AUDIO_FRAME, AUDIO_RATE_HZ, nearest_rate
from streams.ingest.text import Cue, make_cue

log = structlog.get_logger()

Numbered = tuple[int, VideoFrame | AudioFrame]
# Told of the number of a subtitle stream and of a cue of it.
Tell = Callable[[int, Cue], None]

# A step of the source's own timestamps beyond this is taken as a new beginning, not as a gap to be filled.
STEP_MAX_S = Fraction(1)
# Sound further behind the picture than this is not waited for: silence takes its place.
SOUND_LATE_MAX_S = Fraction(2)
# Files are interleaved at least this finely.
LOOK_AHEAD_S = Fraction(1)
# An address that does not answer, or falls silent, is an error after this long.
OPEN_S = 10.0
READ_S = 30.0
# Subtitles that are text; those that are pictures are left out.
TEXT_CODECS = ("subrip", "srt", "webvtt", "mov_text", "ass", "ssa", "text")
# FFmpeg hands all text over as SSA: styles stand in braces, behind a backslash.
OVERRIDES = re.compile(r"\{\\[^}]*\}")
WHAT_TO_GIVE = "give a video file, or an address that FFmpeg reads (ffprobe shows what it finds in it)"


class Source:
    """One opened input."""

    def __init__(self, name: str, *, loop: bool = False, in_order: bool = False) -> None:
        """
        Args:
            loop: Begin again at the end, for ever.
            in_order: Look ahead in the file, so that sound and picture of one instant come together however it is interleaved.

        Raises:
            UserError: It does not exist, is no media, or has no video.
        """
        self._name = name
        self._loop = loop
        self._ahead_s = LOOK_AHEAD_S if in_order else Fraction(0)
        self._container = self._open()
        video = self._video(self._container)
        self.rate = nearest_rate(video.average_rate or video.guessed_rate)
        aspect = video.sample_aspect_ratio or 1
        self.width = max(2, round(video.codec_context.width * aspect))
        self.height = video.codec_context.height
        self.has_audio = bool(self._container.streams.audio)
        self.languages = tuple(stream.language or "und" for stream in _texts(self._container))
        """Of each stream of text."""

    def frames(self, tell: Tell | None = None) -> Iterator[Numbered]:
        """
        Video frames with their numbers from 0, and stereo audio in frames of 1024 samples with the number of their first sample.

        Args:
            tell: Called with what is shown as text, on the same clock; without it, text is not read.

        Raises:
            UserError: It cannot be read on, or nothing in it can be decoded.
        """
        pace = _Pace(self.rate)
        while True:
            before = pace.frame_count
            try:
                yield from self._once(pace, tell)
            except av.error.FFmpegError as error:
                raise UserError(f"{self._name} cannot be read on: {error.strerror}", do=WHAT_TO_GIVE) from error
            if not self._loop:
                return
            if pace.frame_count == before:
                raise UserError(f"{self._name} has no frame that can be decoded", do=WHAT_TO_GIVE)
            self._container.close()
            self._container = self._open()

    def close(self) -> None:
        """Let go of the input."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> InputContainer:
        try:
            return av.open(self._name, timeout=(OPEN_S, READ_S))
        except FileNotFoundError as error:
            raise UserError(f"{self._name} does not exist", do=WHAT_TO_GIVE) from error
        except (av.error.FFmpegError, OSError) as error:
            kind = "is a folder" if Path(self._name).is_dir() else f"is no video: {error.strerror}"
            raise UserError(f"{self._name} {kind}", do=WHAT_TO_GIVE) from error

    def _video(self, container: InputContainer) -> VideoStream:
        # A picture of a cover is a video stream for FFmpeg; without frames that follow it is none for us.
        for stream in container.streams.video:
            if stream.codec_context.width:
                return stream
        raise UserError(f"{self._name} has no video track", do=WHAT_TO_GIVE)

    def _once(self, pace: "_Pace", tell: Tell | None) -> Iterator[Numbered]:
        video = self._video(self._container)
        video.thread_type = "AUTO"
        audio: AudioStream | None = next(iter(self._container.streams.audio), None)
        stereo = _Stereo()
        pace.start_over()
        broken = 0
        texts = _texts(self._container) if tell else []
        packets = self._container.demux([s for s in (video, audio, *texts) if s is not None])
        # Text must come before the pictures of its time, wherever in the file it stands.
        for packet in _by_time(packets, LOOK_AHEAD_S if texts else self._ahead_s):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                broken += 1
                continue
            for frame in frames:
                if isinstance(frame, VideoFrame):
                    yield from pace.video(frame)
                    if audio:
                        yield from pace.silence()
                elif isinstance(frame, AudioFrame):
                    for even in stereo.of(frame):
                        yield from pace.audio(even)
                elif isinstance(frame, AssSubtitle):
                    pace.text(texts.index(packet.stream), packet, OVERRIDES.sub("", frame.dialogue.decode("utf-8", "replace")))
            for number, cue in pace.cues():
                if tell:
                    tell(number, cue)
        if self.has_audio:
            yield from pace.fill_audio()
        if broken:
            log.warning("source_packets_broken", source=self._name, count=broken)


class _Stereo:
    """Sound at the one rate and in the one layout, whatever the source has and turns to."""

    def __init__(self) -> None:
        self._shape: tuple[str, str, int] | None = None
        self._resampler = self._make()

    def of(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        shape = frame.format.name, frame.layout.name, frame.sample_rate
        if self._shape not in {None, shape}:
            # What holds nothing back, since it has nothing to change, answers the end with itself.
            yield from filter(None, self._resampler.resample(None))
            self._resampler = self._make()
        self._shape = shape
        yield from self._resampler.resample(frame)

    def _make(self) -> AudioResampler:
        return AudioResampler(format="fltp", layout="stereo", rate=AUDIO_RATE_HZ)


class _Pace:
    """Numbers of frames and samples given out so far, and where the present pass through the source lies among them."""

    def __init__(self, rate: Fraction) -> None:
        self.rate = rate
        self.frame_count = 0
        self.sample_count = 0
        self._held = np.zeros((2, 0), np.float32)
        self._zero: Fraction | None = None
        """Source time at which our time 0 would lie."""
        self._shown: list[tuple[int, Fraction, Fraction, str]] = []
        """Text that waits for the first picture: stream, start and end in the source, and itself."""

    def start_over(self) -> None:
        self._zero = None
        self._shown.clear()

    def text(self, number: int, packet: "Packet[Any]", text: str) -> None:
        """Text of a stream, to be given by `cues`."""
        if packet.pts is not None and packet.duration and packet.time_base is not None:
            start = packet.pts * packet.time_base
            self._shown.append((number, start, start + packet.duration * packet.time_base, text))

    def cues(self) -> Iterator[tuple[int, Cue]]:
        """Cues that came, once it is known where the source begins."""
        if self._zero is None:
            return
        for number, start, end, text in self._shown:
            cue = make_cue(start - self._zero, end - self._zero, text)
            if cue is not None:
                yield number, cue
        self._shown.clear()

    def video(self, frame: VideoFrame) -> Iterator[Numbered]:
        at = _seconds(frame)
        due = self.frame_count / self.rate
        if self._zero is None or (at is not None and abs(at - self._zero - due) > STEP_MAX_S):
            self._zero = (at or Fraction(0)) - due
        number = self.frame_count if at is None else round((at - self._zero) * self.rate)
        # Too many frames: leave out; too few: show one again.
        while self.frame_count <= number:
            yield self.frame_count, frame
            self.frame_count += 1

    def audio(self, frame: AudioFrame) -> Iterator[Numbered]:
        if self._zero is None:
            return  # before the first picture
        samples = frame.to_ndarray()
        at = _seconds(frame)
        first = self._heard if at is None else round((at - self._zero) * AUDIO_RATE_HZ)
        gap = first - self._heard
        if min(abs(gap), abs(first - self._due)) > STEP_MAX_S * AUDIO_RATE_HZ:
            return  # of another stretch of time than the picture
        # Less than a frame off is rounding of the source's timestamps.
        if gap >= AUDIO_FRAME:
            yield from self._add_silence(gap)
        elif gap <= -AUDIO_FRAME:
            samples = samples[:, -gap:]
        self._held = np.concatenate([self._held, samples], axis=1)
        yield from self._whole()

    def silence(self) -> Iterator[Numbered]:
        """In place of sound that is so far behind the picture that none seems to come."""
        missing = self._due - self._heard
        if missing > SOUND_LATE_MAX_S * AUDIO_RATE_HZ:
            yield from self._add_silence(missing - round(STEP_MAX_S * AUDIO_RATE_HZ))

    def fill_audio(self) -> Iterator[Numbered]:
        """Audio up to the last picture's end: silence for what is missing, less of what is too much."""
        missing = self._due - self._heard
        if missing < 0:
            self._held = self._held[:, : max(0, self._held.shape[1] + missing)]
            yield from self._whole()
        else:
            yield from self._add_silence(missing)

    @property
    def _heard(self) -> int:
        """Samples so far."""
        return self.sample_count + self._held.shape[1]

    @property
    def _due(self) -> int:
        """Samples that there are to be by the end of the pictures so far."""
        return round(self.frame_count / self.rate * AUDIO_RATE_HZ)

    def _add_silence(self, count: int) -> Iterator[Numbered]:
        self._held = np.concatenate([self._held, np.zeros((2, count), np.float32)], axis=1)
        yield from self._whole()

    def _whole(self) -> Iterator[Numbered]:
        while self._held.shape[1] >= AUDIO_FRAME:
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(self._held[:, :AUDIO_FRAME]), format="fltp", layout="stereo")
            self._held = self._held[:, AUDIO_FRAME:]
            frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE_HZ, self.sample_count, Fraction(1, AUDIO_RATE_HZ)
            yield self.sample_count, frame
            self.sample_count += AUDIO_FRAME


def _texts(container: InputContainer) -> list[SubtitleStream]:
    return [stream for stream in container.streams.subtitles if stream.codec_context.name in TEXT_CODECS]


def _seconds(frame: VideoFrame | AudioFrame) -> Fraction | None:
    if frame.pts is None or frame.time_base is None:
        return None
    return frame.pts * frame.time_base


def _by_time(packets: Iterable["Packet[Any]"], ahead_s: Fraction) -> Iterator["Packet[Any]"]:
    """Packets in the order of their decode times, as far as can be seen from ``ahead_s`` of them."""
    held: list[tuple[Fraction, int, Packet[Any]]] = []
    last: list[Packet[Any]] = []
    newest = Fraction(0)
    for count, packet in enumerate(packets):
        if not packet.size:  # tells a decoder to give what it holds
            last.append(packet)
            continue
        newest = newest if packet.dts is None or packet.time_base is None else packet.dts * packet.time_base
        heapq.heappush(held, (newest, count, packet))
        while held and newest - held[0][0] >= ahead_s:
            yield heapq.heappop(held)[2]
    while held:
        yield heapq.heappop(held)[2]
    yield from last
