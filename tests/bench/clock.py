"""
An encoder whose picture is a clock, in real time, sent to several packagers at once until SIGTERM.

    python -m tests.bench.clock [--channel NAME=PART_MS ...] [URL ...]

Every frame is drawn, encoded once by the ladder's own encoder, sent as FLV to each address and written into each channel of the log that
the settings of the environment name, in parts of its own length. Blocks of black and white in it say in binary when it was drawn. There
is no sound, so that no muxer waits for any.
"""

import argparse
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from io import BytesIO
from itertools import count
from typing import cast

import av
import numpy as np
import structlog
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame

from schemas.records import Level, Track
from schemas.settings import load
from streams.ingest.codecs import VideoEncoder
from streams.ingest.ladder import LADDER, gop_frames_of
from streams.ingest.producer import ChannelWriter
from streams.ingest.samples import Sample

log = structlog.get_logger()

RATE = Fraction(25)
RENDITION = LADDER[0]
# Rows of blocks across the middle of the picture: 40 bits of Unix milliseconds, then 8 that check them.
COLUMNS, ROWS, BLOCK = 16, 3, 40
TOP = 120
TIME_BITS, CHECK_BITS = 40, 8
CHECK_XOR = 0x5A
BLACK, WHITE, GREY = 16, 235, 128
# Whoever is to take it may still be starting.
CONNECT_S = 20.0
CONNECT_EVERY_S = 0.2
PICTURES = 25


def bits_of(unix_ms: int) -> list[int]:
    """
    What the blocks show, row by row.

    >>> bits = bits_of(1_800_000_000_000)
    >>> len(bits), sum(bit << 47 - place for place, bit in enumerate(bits)) >> 8 == 1_800_000_000_000 % 2**40
    (48, True)
    """
    shown = unix_ms % 2**TIME_BITS
    check = (sum(shown.to_bytes(TIME_BITS // 8, "big")) & 0xFF) ^ CHECK_XOR
    word = shown << CHECK_BITS | check
    return [word >> place & 1 for place in reversed(range(TIME_BITS + CHECK_BITS))]


def pictures() -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """Luma and chroma of a few moving pictures with as much detail as a rendition of this size usually has."""
    noise = np.random.default_rng(0)
    y, x = np.mgrid[0 : RENDITION.height, 0 : RENDITION.width]
    grain = noise.integers(0, 12, (RENDITION.height, RENDITION.width))
    grey = np.full((RENDITION.height // 2, RENDITION.width), GREY)
    lumas = [(x // 3 + y // 2 + 8 * number) % 180 + 30 + np.roll(grain, 7 * number, axis=1) for number in range(PICTURES)]
    return [np.concatenate([luma, grey]).astype(np.uint8) for luma in lumas]


def draw(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], unix_ms: int) -> VideoFrame:
    """A picture that shows a time."""
    shown = picture.copy()
    blocks = np.where(np.array(bits_of(unix_ms)).reshape(ROWS, COLUMNS), WHITE, BLACK)
    shown[TOP : TOP + ROWS * BLOCK] = np.kron(blocks, np.ones((BLOCK, BLOCK)))
    return VideoFrame.from_ndarray(shown, format="yuv420p")


class Outlet:
    """Someone who takes the encoded frames as FLV; one that no longer does is left alone."""

    def __init__(self, url: str, track: Track) -> None:
        self._url = url
        self._timescale = track.timescale
        self._header = cast(InputContainer, av.open(BytesIO(track.init), format="mp4"))
        self._container: OutputContainer | None = _connect(url)
        if self._container is not None:
            self._stream = self._container.add_stream_from_template(self._header.streams.video[0])

    def send(self, sample: Sample) -> None:
        """One frame."""
        if self._container is None:
            return
        packet = Packet(sample.data)
        packet.dts, packet.pts = sample.time_ticks, sample.time_ticks + sample.composition_ticks
        packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, self._timescale), sample.sync, self._stream
        try:
            self._container.mux(packet)
        except (FFmpegError, OSError) as error:
            log.warning("outlet_lost", url=self._url, error=str(error))
            self._container = None


def _connect(url: str) -> OutputContainer | None:
    deadline = time.monotonic() + CONNECT_S
    while True:
        try:
            options = {"flush_packets": "1", "flvflags": "no_duration_filesize"}
            return av.open(url, "w", format="flv", options=options, container_options={"tcp_nodelay": "1"}, timeout=CONNECT_S)
        except (FFmpegError, OSError) as error:
            if time.monotonic() > deadline:
                log.warning("outlet_absent", url=url, error=str(error))
                return None
            time.sleep(CONNECT_EVERY_S)


def frames(writers: Sequence[ChannelWriter], stop: threading.Event) -> Iterator[tuple[int, VideoFrame]]:
    """Number and picture of each frame, when a camera would have it."""
    shown, began = pictures(), time.monotonic()
    for number in count():
        # Serving acknowledgements returns early when there are some.
        while (early_s := began + float(number / RATE) - time.monotonic()) > 0:
            for writer in writers:
                writer.poll(early_s / len(writers))
        if stop.is_set():
            return
        yield number, draw(shown[number % PICTURES], time.time_ns() // 1_000_000)


def open_channel(name: str, part_ms: int, track: Track) -> ChannelWriter:
    """A channel with parts of a length."""
    settings = load()
    media = settings.media.model_copy(update={"part_ms": part_ms})
    return ChannelWriter(
        settings.model_copy(update={"media": media}),
        channel=name, tracks=(track,), frame_rate=RATE, gop_frames=gop_frames_of(RATE), idle_level=Level.PARTS,
    )  # fmt: skip


def main(channels: Sequence[str], urls: Sequence[str]) -> None:
    """Encode until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    encoder = VideoEncoder(RENDITION, RATE, preset="superfast")
    outlets = [Outlet(url, encoder.track) for url in urls]
    with ExitStack() as stack:
        named = (channel.partition("=") for channel in channels)
        writers = [stack.enter_context(open_channel(name, int(part_ms), encoder.track)) for name, _, part_ms in named]
        for number, frame in frames(writers, stop):
            for sample in encoder.encode(number, frame):
                for taker in outlets:
                    taker.send(sample)
                for writer in writers:
                    writer.write(encoder.track.track, sample)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channel", action="append", required=True)
    parser.add_argument("urls", nargs="*")
    arguments = parser.parse_args()
    main(arguments.channel, arguments.urls)
