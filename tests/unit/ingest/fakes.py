"""A log in memory where the writer has Kafka, and small clips made on the spot."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.audio.layout import AudioLayout

from schemas.errors import SupersededError
from schemas.records import Chunk, Gop, MediaMark, Period, PeriodEnd, Track
from schemas.settings import Settings
from schemas.topics import MEDIA, Topic
from schemas.units import Ticks, UnixMs
from streams.ingest.codecs import AudioEncoder, VideoEncoder
from streams.ingest.ladder import Rendition
from streams.ingest.link import Acked, Link
from streams.ingest.registry import Registry
from streams.ingest.samples import Sample

START_UNIX_MS = 1_700_000_000_000
RATE = Fraction(25)
IDR, OTHER = bytes([0, 0, 0, 2, 0x65, 1]), bytes([0, 0, 0, 2, 0x41, 1])


class FakeRegistry(Registry):
    """Knows no channel; its plan and its owner are what the test says."""

    def __init__(self) -> None:
        self.plan: int | None = None
        self.taken_over = False
        self.is_watched = False

    @property
    def pool_count(self) -> int:
        return 8

    def newest(self, channel: str) -> Period | None:
        return None

    def take_media_partition(self, channel: str) -> int:
        return 3

    def follow(self, timeout_s: float = 0.0) -> None:
        return

    def catch_up(self) -> None:
        return

    def gops_per_segment(self, channel: str) -> int | None:
        return self.plan

    def is_on(self, channel: str) -> bool:
        return self.is_watched

    def check_owner(self, channel: str, *, life: str, period: int, offset: int) -> None:
        if self.taken_over:
            raise SupersededError("another writer", held=period, seen=period + 1)

    def close(self) -> None:
        return


class FakeLink(Link):
    """Keeps what was sent, and acknowledges it at once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registry: FakeRegistry = FakeRegistry()
        self.queued_bytes = 0
        self.sent: list[tuple[str, Any]] = []
        self._offsets: dict[str, int] = {}
        self.now = START_UNIX_MS

    def send(self, topic: Topic, partition: int, key: str, record: Any, acked: Acked = lambda *_: None) -> None:
        offset = self._offsets.get(topic.title, 0)
        self._offsets[topic.title] = offset + 1
        self.now += 1
        self.sent.append((topic.title, record))
        acked(offset, UnixMs(self.now))

    def send_now(self, topic: Topic, partition: int, key: str, record: Any) -> tuple[int, UnixMs]:
        self.send(topic, partition, key, record)
        return self._offsets[topic.title] - 1, UnixMs(self.now)

    def poll(self, timeout_s: float = 0.0) -> None:
        return

    def flush(self) -> None:
        return

    def close(self) -> None:
        return

    def chunks(self, track: str = "v0") -> list[Chunk]:
        return [r for _, r in self.sent if isinstance(r, Chunk) and r.track == track]

    def marks(self) -> list[MediaMark]:
        return [r for topic, r in self.sent if isinstance(r, MediaMark) and topic == MEDIA.title]

    def periods(self) -> list[Period]:
        return [r for _, r in self.sent if isinstance(r, Period)]

    def ends(self) -> list[PeriodEnd]:
        return [r for _, r in self.sent if isinstance(r, PeriodEnd)]

    def gops(self) -> list[Gop]:
        return [r for _, r in self.sent if isinstance(r, Gop)]


def make_clip(
    path: Path,
    *,
    seconds: float = 1.0,
    rate: Fraction = Fraction(25),
    size: tuple[int, int] = (64, 36),
    audio: bool = True,
    video: bool = True,
    at_s: int = 0,
    heard: Sequence[tuple[float, float]] = (),
    layout: str = "mono",
    sound_hz: int = 44_100,
) -> Path:
    """A clip of moving grey with a tone of 440 Hz: throughout, or from one second to another of those given."""
    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        if video:
            pictures = container.add_stream("mpeg4", rate=rate)
            pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv420p"
            streams.append(pictures)
        if audio:
            sound = container.add_stream("aac", rate=sound_hz)
            sound.codec_context.layout = layout
            streams.append(sound)
        if video:
            for number in range(round(seconds * rate)):
                plane = np.full((size[1], size[0], 3), (number * 9) % 255, np.uint8)
                frame = av.VideoFrame.from_ndarray(plane, format="rgb24")
                frame.pts, frame.time_base = number + round(at_s * rate), 1 / rate
                container.mux(pictures.encode(frame))
            container.mux(pictures.encode(None))
        if audio:
            wave = (0.2 * np.sin(np.arange(round(seconds * sound_hz)) * 2 * np.pi * 440 / sound_hz)).astype(np.float32)
            wave = np.stack([wave] * AudioLayout(layout).nb_channels)
            for start in range(0, wave.shape[1], 1_024):
                if heard and not any(first <= start / sound_hz < last for first, last in heard):
                    continue
                piece = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[:, start : start + 1_024]), format="fltp", layout=layout)
                piece.sample_rate, piece.pts, piece.time_base = sound_hz, start + at_s * sound_hz, Fraction(1, sound_hz)
                container.mux(sound.encode(piece))
            container.mux(sound.encode(None))
    return path


def make_tracks() -> tuple[Track, ...]:
    """One small rendition and its sound."""
    rendition = Rendition(track="v0", width=64, height=36, bitrate_bps=50_000)
    return VideoEncoder(rendition, RATE, preset="ultrafast").track, AudioEncoder().track


def pictures(first: int, last: int, *, at_s: Fraction = Fraction(0), gop: int = 25) -> Iterator[tuple[Fraction, str, Sample]]:
    for number in range(first, last):
        is_idr = number % gop == 0
        time = at_s + number / RATE
        yield time, "v0", Sample(Ticks(int(time * 25_000)), IDR if is_idr else OTHER, is_idr)


def sound(first_s: int, last_s: int, *, at_s: Fraction = Fraction(0)) -> Iterator[tuple[Fraction, str, Sample]]:
    for number in range(-(-first_s * 48_000 // 1_024), -(-last_s * 48_000 // 1_024)):
        time = at_s + Fraction(number * 1_024, 48_000)
        yield time, "a0", Sample(Ticks(int(time * 48_000)), b"sound", sync=True)


class Taker(Protocol):
    """What takes samples."""

    def write(self, track: str, sample: Sample) -> None: ...


def feed(writer: Taker, *lines: Iterator[tuple[Fraction, str, Sample]]) -> None:
    for _, track, sample in sorted((item for line in lines for item in line), key=lambda item: item[0]):
        writer.write(track, sample)
