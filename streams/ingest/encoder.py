"""The ladder in one process: one decoder, one thread per track, bounded queues between them, samples out as they are ready."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import inf
from types import TracebackType
from typing import Self, TypeVar

from av.audio.frame import AudioFrame

from streams.ingest.codecs import AUDIO_TRACK, AudioEncoder, VideoEncoder, text_track
from streams.ingest.ladder import LADDER, Rendition, fit, gop_frames_of
from streams.ingest.pace import Pace
from streams.ingest.samples import Sample
from streams.ingest.source import Numbered, Source
from streams.ingest.text import Cue

# Frames before each encoder: enough that one slow frame does not stop the others, 14 MB at 720p.
FRAMES_MAX = 10
SAMPLES_MAX = 200
# How often a thread that waits on a queue looks whether it should end.
LOOK_S = 0.2
JOIN_S = 5.0

Coder = VideoEncoder | AudioEncoder
T = TypeVar("T")


class Encoder:
    """
    A ladder of H.264 renditions, AAC and WebVTT from one source; a context manager.

    Args:
        source: What FFmpeg reads.
        realtime: Feed it at the speed of a camera.
        loop: Begin again at its end, for ever.
        ladder: Renditions wanted.
        preset: Of x264.
        has_text: Whether text of the source is wanted: cues come among the samples, before the media of their time.
        behind_max_s: In real time, when it is later than this, input is left out up to now.
        monotonic: Seconds.

    Raises:
        UserError: The source does not exist, is no video, or cannot be decoded.
    """

    def __init__(
        self,
        source: str,
        *,
        realtime: bool = False,
        loop: bool = False,
        ladder: tuple[Rendition, ...] = LADDER,
        preset: str = "superfast",
        has_text: bool = False,
        behind_max_s: float = inf,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = Source(source, loop=loop, in_order=realtime)
        self.rate: Fraction = self._source.rate
        self.gop_frames = gop_frames_of(self.rate)
        renditions = fit(ladder, width=self._source.width, height=self._source.height)
        self._coders: dict[str, Coder] = {r.track: VideoEncoder(r, self.rate, preset=preset) for r in renditions}
        if self._source.has_audio:
            self._coders[AUDIO_TRACK] = AudioEncoder()
        texts = [text_track(number, language, self.rate) for number, language in enumerate(self._source.languages if has_text else ())]
        self.tracks = (*(coder.track for coder in self._coders.values()), *texts)
        self._texts = tuple(text.track for text in texts)
        self._stop = threading.Event()
        self._pace = Pace(self.rate, behind_max_s=behind_max_s, monotonic=monotonic, wait=self._stop.wait) if realtime else None
        self._failure: BaseException | None = None
        self._frames: dict[str, queue.Queue[Numbered | None]] = {track: queue.Queue(FRAMES_MAX) for track in self._coders}
        self._samples: queue.Queue[tuple[str, Sample | Cue] | None] = queue.Queue(SAMPLES_MAX)
        self._threads = [threading.Thread(target=self._guard, args=(self._read,), name="decode", daemon=True)]
        self._threads += [
            threading.Thread(target=self._guard, args=(self._code, track), name=f"encode-{track}", daemon=True) for track in self._coders
        ]

    def samples(self, *, look_s: float = 0.01) -> Iterator[tuple[str, Sample | Cue] | None]:
        """
        Track id and sample or cue, as they are ready, to the end of the source; None when nothing was ready for ``look_s``.
        """
        for thread in self._threads:
            thread.start()
        running = len(self._coders)
        while running and self._failure is None:
            try:
                item = self._samples.get(timeout=look_s)
            except queue.Empty:
                yield None
                continue
            if item is None:
                running -= 1
            else:
                yield item
        if self._failure is not None:
            raise self._failure

    def hurry(self, early_s: float) -> None:
        """Be so much earlier, in all, than a camera would be; nothing where the source is one."""
        if self._pace:
            self._pace.early_s = early_s

    def stop(self) -> None:
        """Let what was decoded come out, and no more; from any thread or signal handler."""
        self._stop.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._failure = self._failure or InterruptedError("the encoder was closed")
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(JOIN_S)
        # One that still waits for a silent address must not find it closed; it ends with the process.
        if not any(thread.is_alive() for thread in self._threads):
            self._source.close()

    def _guard(self, work: Callable[..., None], *arguments: str) -> None:
        try:
            work(*arguments)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            self._failure = self._failure or error
            self._stop.set()

    def _read(self) -> None:
        try:
            frames = self._source.frames(self._tell if self._texts else None)
            for number, frame in self._pace.of(frames) if self._pace else frames:
                if self._stop.is_set():
                    return
                is_sound = isinstance(frame, AudioFrame)
                for track, waiting in self._frames.items():
                    if (track == AUDIO_TRACK) is is_sound:
                        self._put(waiting, (number, frame))
        finally:
            for waiting in self._frames.values():
                self._put(waiting, None)

    def _tell(self, number: int, cue: Cue) -> None:
        self._put(self._samples, (self._texts[number], cue))

    def _code(self, track: str) -> None:
        coder = self._coders[track]
        while True:
            try:
                item = self._frames[track].get(timeout=LOOK_S)
            except queue.Empty:
                if self._failure is not None:
                    return
                continue
            if item is None:
                break
            number, frame = item
            for sample in coder.encode(number, frame):  # type: ignore[arg-type]  # each queue holds one kind of frame
                self._put(self._samples, (track, sample))
        for sample in coder.finish():
            self._put(self._samples, (track, sample))
        self._put(self._samples, None)

    def _put(self, into: "queue.Queue[T]", item: T) -> None:
        """Wait for room, unless all is over."""
        while self._failure is None:
            try:
                into.put(item, timeout=LOOK_S)
            except queue.Full:
                continue
            return
