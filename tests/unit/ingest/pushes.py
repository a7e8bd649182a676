"""What encoders push: fragmented MP4 as FFmpeg writes it, into a file object or to an address."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any

import av
import numpy as np


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A video track of grey."""

    codec: str = "libx264"
    rate: Fraction = Fraction(25)
    gop: int = 25
    size: tuple[int, int] = (64, 36)
    b_frames: int = 0
    first: int = 0
    """Frame at which it begins, in time too."""
    timescale: int | None = None


@dataclass(frozen=True, kw_only=True)
class Sound:
    """An audio track of a tone."""

    language: str = "deu"
    layout: str = "stereo"


def push(
    target: IO[bytes] | str,
    tracks: Sequence[Picture | Sound],
    *,
    seconds: int = 3,
    flags: str = "cmaf+frag_keyframe+frag_discont",
    **options: str,
) -> None:
    """
    Encode and mux; to an address by HTTP POST, chunked.

    Args:
        flags: ``movflags`` of FFmpeg; with ``frag_discont`` the first fragment has its real time.
        options: More of the muxer's.
    """
    scale = next((str(track.timescale) for track in tracks if isinstance(track, Picture) and track.timescale), None)
    muxing = {"movflags": flags} | ({"video_track_timescale": scale} if scale else {}) | options
    with av.open(target, "w", format="mp4", options=muxing) as container:
        made = [_picture(container, track) if isinstance(track, Picture) else _sound(container, track) for track in tracks]
        frames = [
            item
            for track, stream in zip(tracks, made, strict=True)
            for item in (_pictures(track, stream, seconds) if isinstance(track, Picture) else _tone(track, stream, seconds))
        ]
        for _, stream, frame in sorted(frames, key=lambda item: item[0]):
            container.mux(stream.encode(frame))
        for stream in made:
            container.mux(stream.encode(None))


def _picture(container: Any, track: Picture) -> Any:
    stream = container.add_stream(track.codec, rate=track.rate)
    stream.width, stream.height, stream.pix_fmt = *track.size, "yuv420p"
    context = stream.codec_context
    context.gop_size, context.max_b_frames, context.bit_rate = track.gop, track.b_frames, 100_000
    own = {"preset": "ultrafast", "keyint_min": str(track.gop), "sc_threshold": "0", "flags": "+cgop"}
    if track.codec == "libx265":
        own |= {"x265-params": f"keyint={track.gop}:min-keyint={track.gop}:open-gop=0:scenecut=0:log-level=none", "forced-idr": "1"}
    if track.codec == "libsvtav1":
        context.bit_rate = 0
        own = {"preset": "11", "svtav1-params": f"keyint={track.gop}:irefresh-type=2:rc=0"}
    context.options = own
    return stream


def _sound(container: Any, track: Sound) -> Any:
    stream = container.add_stream("aac", rate=48_000)
    stream.codec_context.layout = track.layout
    stream.metadata["language"] = track.language
    return stream


def _pictures(track: Picture, stream: Any, seconds: int) -> Any:
    for number in range(track.first, track.first + round(seconds * track.rate)):
        plane = np.full((track.size[1], track.size[0], 3), (number * 9) % 255, np.uint8)
        frame = av.VideoFrame.from_ndarray(plane, format="rgb24")
        frame.pts, frame.time_base = number, 1 / track.rate
        yield number / track.rate, stream, frame


def _tone(track: Sound, stream: Any, seconds: int) -> Any:
    channels = 1 if track.layout == "mono" else 2
    wave = (0.2 * np.sin(np.arange(seconds * 48_000) * 2 * np.pi * 440 / 48_000)).astype(np.float32)
    for start in range(0, len(wave) - 1_023, 1_024):
        piece = av.AudioFrame.from_ndarray(np.tile(wave[None, start : start + 1_024], (channels, 1)), format="fltp", layout=track.layout)
        piece.sample_rate, piece.pts, piece.time_base = 48_000, start, Fraction(1, 48_000)
        yield Fraction(start, 48_000), stream, piece
