"""Tiny but valid media: tracks with an init segment, and chunks on the grid whose boxes say what their records say."""

import struct
from random import Random

from schemas.records import Thumbnails, Track, TrackKind
from schemas.timeline import make_grid
from schemas.units import Ticks, Timescale
from streams.ingest.cmaf import build_chunk
from streams.ingest.samples import Sample

FRAME_RATE = 25
GRID = make_grid(FRAME_RATE, part_frames=13, chunks_per_part=2)
"""GOPs of 1 s in two parts of two chunks."""
FRAME_BYTES = 4
THUMBNAILS = Thumbnails(track="thumbs", source="v0", width=160, height=90)
"""In a simulation a thumbnail is the chunk it would be made of."""


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def make_init(track_id: int) -> bytes:
    """The least init segment that says what the defaults of its one track are."""
    trex = _box(b"trex", struct.pack(">IIIIII", 0, track_id, 1, 0, 0, 0))
    return _box(b"ftyp", b"cmfc" + bytes(4)) + _box(b"moov", _box(b"mvhd", bytes(100)) + _box(b"mvex", trex))


def make_tracks() -> tuple[Track, ...]:
    """One video track and one of 48 kHz AAC."""
    video = Track(
        track="v0", kind=TrackKind.VIDEO, codec="avc1.64001e", timescale=Timescale(12_800), frame_ticks=Ticks(512), start_ticks=Ticks(0),
        bandwidth_bps=40_000, init=make_init(1), width=640, height=360,
    )  # fmt: skip
    audio = Track(
        track="a0", kind=TrackKind.AUDIO, codec="mp4a.40.2", timescale=Timescale(48_000), frame_ticks=Ticks(1_024), start_ticks=Ticks(0),
        bandwidth_bps=40_000, init=make_init(2), sample_rate_hz=48_000, audio_channels=2,
    )  # fmt: skip
    return video, audio


def make_payload(track: Track, *, index: int, start_ticks: Ticks, duration_ticks: int, starts_gop: bool, rng: Random) -> bytes:
    """One moof and one mdat of random samples; video begins with a sync sample at a GOP's start alone."""
    is_audio, data = track.kind is TrackKind.AUDIO, rng.randbytes(duration_ticks // track.frame_ticks * FRAME_BYTES)
    samples = [
        Sample(time_ticks=start_ticks, data=data[at : at + FRAME_BYTES], sync=is_audio or (starts_gop and at == 0))
        for at in range(0, len(data), FRAME_BYTES)
    ]
    track_id = 2 if is_audio else 1
    return build_chunk(samples, track_id=track_id, index=index, start_ticks=start_ticks, frame_ticks=track.frame_ticks)
