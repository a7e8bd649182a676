"""A ladder encoded once and kept in a folder, as long as can be repeated for ever: whole GOPs that are whole audio frames too."""

import base64
import json
import os
import shutil
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import mkdtemp

from schemas.codec import from_plain, to_plain
from schemas.errors import UserError
from schemas.records import Track
from schemas.units import Ticks
from streams.ingest.encoder import Encoder
from streams.ingest.ladder import LADDER, Rendition, loop_gops
from streams.ingest.samples import Sample
from streams.ingest.text import Cue

INDEX = "recording.json"
# Of each sample in a track's file: decode time, composition offset, sync, size; then its bytes.
HEAD = struct.Struct(">qi?I")


@dataclass(frozen=True, kw_only=True)
class Recording:
    """
    An encoded ladder.

    Attributes:
        frame_rate: Frames per second.
        gop_frames: Frames of a GOP.
        tracks: Its tracks.
        seconds: Its length; every track is exactly this long.
        samples: Samples of each track, from time 0.
    """

    frame_rate: Fraction
    gop_frames: int
    tracks: tuple[Track, ...]
    seconds: Fraction
    samples: dict[str, tuple[Sample, ...]]


def is_recording(folder: Path) -> bool:
    """Whether a folder was written by `make_recording`."""
    return (folder / INDEX).is_file()


def make_recording(
    clip: str, folder: Path, seconds: float = 24, *, ladder: tuple[Rendition, ...] = LADDER, preset: str = "superfast"
) -> Fraction:
    """
    Encode a clip, repeated as often as it takes, into a folder, which appears once it is whole; an existing one is kept.

    Returns:
        Its length in seconds: near the wanted one, in steps after which picture and sound end together (8 s at 25 frames/s).

    Raises:
        UserError: The clip does not exist or is no video.
    """
    if is_recording(folder):
        return load_index(folder)[2]
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        length = _encode_into(making, clip, seconds, ladder, preset)
        os.replace(making, folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return length


def _encode_into(making: Path, clip: str, seconds: float, ladder: tuple[Rendition, ...], preset: str) -> Fraction:
    with Encoder(clip, loop=True, ladder=ladder, preset=preset) as encoder:
        has_audio = len(encoder.tracks) > 0 and any(t.sample_rate_hz for t in encoder.tracks)
        length = loop_gops(encoder.rate, seconds=seconds, has_audio=has_audio) * encoder.gop_frames / encoder.rate
        files = {t.track: (making / t.track).open("wb") for t in encoder.tracks}
        ends = {t.track: length * t.timescale for t in encoder.tracks}
        try:
            for item in encoder.samples():
                if item is None:
                    continue
                track, sample = item
                if isinstance(sample, Cue):
                    continue
                if sample.time_ticks < ends.get(track, 0):
                    files[track].write(HEAD.pack(sample.time_ticks, sample.composition_ticks, sample.sync, len(sample.data)) + sample.data)
                elif ends.pop(track, None) is not None and not ends:
                    break
        finally:
            for file in files.values():
                file.close()
        tracks = [to_plain(t) | {"init": base64.b64encode(t.init).decode()} for t in encoder.tracks]
        index = {"frame_rate": str(encoder.rate), "gop_frames": encoder.gop_frames, "seconds": str(length), "tracks": tracks}
        (making / INDEX).write_text(json.dumps(index, indent=1))
        return length


def load_index(folder: Path) -> tuple[Fraction, int, Fraction, tuple[Track, ...]]:
    """
    Frame rate, GOP, length and tracks of a recording.

    Raises:
        UserError: It cannot be read.
    """
    try:
        index = json.loads((folder / INDEX).read_text())
        tracks = tuple(from_plain(Track, t | {"init": base64.b64decode(t["init"])}) for t in index["tracks"])
        return Fraction(index["frame_rate"]), index["gop_frames"], Fraction(index["seconds"]), tracks
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} is no recording: {error}", do="remove the folder and make it again") from error


def load_recording(folder: Path) -> Recording:
    """
    The recording in a folder, in memory.

    Raises:
        UserError: It cannot be read.
    """
    rate, gop_frames, seconds, tracks = load_index(folder)
    samples = {t.track: _read_samples(folder / t.track) for t in tracks}
    for track in tracks:
        if len(samples[track.track]) * track.frame_ticks != seconds * track.timescale:
            raise UserError(f"{folder}: track {track.track} is not {seconds} s long", do="remove the folder and make it again")
    return Recording(frame_rate=rate, gop_frames=gop_frames, tracks=tracks, seconds=seconds, samples=samples)


def _read_samples(path: Path) -> tuple[Sample, ...]:
    data = path.read_bytes()
    samples = []
    at = 0
    while at < len(data):
        time_ticks, composition, sync, size = HEAD.unpack_from(data, at)
        at += HEAD.size
        samples.append(Sample(Ticks(time_ticks), data[at : at + size], sync, composition))
        at += size
    return tuple(samples)
