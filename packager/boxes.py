"""ISO BMFF boxes of one CMAF chunk: read and held against the record that carries it; the payload is never copied."""

import struct
from dataclasses import dataclass
from functools import lru_cache

from schemas.errors import RejectedError
from schemas.records import Chunk, Track

NON_SYNC = 0x10000
# ISO/IEC 23000-19 7.3.2.3: what may stand before the moof of a chunk.
BEFORE_MOOF = (b"styp", b"prft", b"emsg")
_HEAD = struct.Struct(">I4s")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_U32_PAIR = struct.Struct(">II")


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkBoxes:
    """
    What the boxes of a chunk say.

    Attributes:
        sequence: Sequence number of the mfhd.
        track_id: Track ID of the tfhd.
        start_ticks: Base media decode time of the tfdt.
        duration_ticks: Sum of the sample durations.
        sample_count: Samples of all truns.
        is_sync: Whether the first sample is a sync sample.
        first_sample: First byte of the first sample and the byte after its last.
    """

    sequence: int
    track_id: int
    start_ticks: int
    duration_ticks: int
    sample_count: int
    is_sync: bool
    first_sample: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """
    Sample defaults of an init segment (trex).

    Attributes:
        track_id: Its only track.
        duration_ticks: Default sample duration.
        size: Default sample size.
        flags: Default sample flags.
    """

    track_id: int
    duration_ticks: int
    size: int
    flags: int


def check_chunk(chunk: Chunk, track: Track) -> None:
    """
    Nothing, if the bytes of a chunk are what its record says (media rules 5, 12, 34 to 36).

    Raises:
        RejectedError: They are truncated, foreign, or contradict the record; says which.
    """
    defaults = read_init(track.init)
    boxes = read_chunk(chunk.payload, defaults)
    if boxes.track_id != defaults.track_id:
        raise RejectedError(f"foreign chunk: track ID {boxes.track_id}, the init segment of {track.track} has {defaults.track_id}")
    if boxes.sequence != chunk.index % 2**32:
        raise RejectedError(f"mfhd sequence number {boxes.sequence} is not the chunk's index {chunk.index}")
    if boxes.start_ticks != chunk.start_ticks:
        raise RejectedError(f"tfdt {boxes.start_ticks} contradicts the record's start {chunk.start_ticks}")
    if boxes.duration_ticks != chunk.duration_ticks:
        raise RejectedError(f"samples last {boxes.duration_ticks} ticks, the record says {chunk.duration_ticks}")
    if boxes.is_sync != chunk.independent:
        raise RejectedError(f"the first sample is {'' if boxes.is_sync else 'no '}sync sample, the record says otherwise")


def read_chunk(data: bytes, defaults: Defaults) -> ChunkBoxes:
    """
    What the boxes of a chunk say.

    Args:
        data: One moof and one mdat, nothing after them.
        defaults: What applies where the moof is silent.

    Raises:
        RejectedError: The boxes are truncated, missing, doubled or contradict each other.
    """
    try:
        return _read_chunk(data, defaults)
    except struct.error as error:
        raise RejectedError(f"truncated chunk: {error}") from error


@lru_cache(maxsize=1_024)
def read_init(data: bytes) -> Defaults:
    """
    Sample defaults of an init segment.

    Raises:
        RejectedError: It has no moov with exactly one trex.
    """
    try:
        found = [
            struct.unpack_from(">IIIII", data, trex + 4)
            for moov in _inside(data, 0, len(data), b"moov")
            for mvex in _inside(data, *moov, b"mvex")
            for trex, _ in _inside(data, *mvex, b"trex")
        ]
    except struct.error as error:
        raise RejectedError(f"truncated init segment: {error}") from error
    if len(found) != 1:
        raise RejectedError(f"the init segment describes {len(found)} fragmented tracks, not one")
    track_id, _, duration, size, flags = found[0]
    return Defaults(track_id=track_id, duration_ticks=duration, size=size, flags=flags)


def _read_chunk(data: bytes, defaults: Defaults) -> ChunkBoxes:
    end = len(data)
    at = 0
    kind, size = _box(data, at, end)
    while kind in BEFORE_MOOF:
        at += size
        kind, size = _box(data, at, end)
    if kind != b"moof":
        raise RejectedError(f"foreign chunk: {_text(kind)} where a moof is expected")
    moof, mdat = at, at + size
    kind, mdat_size = _box(data, mdat, end)
    if kind != b"mdat":
        raise RejectedError(f"foreign chunk: {_text(kind)} where an mdat is expected")
    if mdat + mdat_size != end:
        raise RejectedError(f"{end - mdat - mdat_size} bytes follow the mdat: a chunk is one moof and one mdat")
    head = 16 if _U32.unpack_from(data, mdat)[0] == 1 else 8

    sequence = traf = traf_end = -1
    at = moof + 8
    while at < mdat:
        kind, size = _box(data, at, mdat)
        if kind == b"mfhd":
            sequence = _U32.unpack_from(data, at + 12)[0]
        elif kind == b"traf":
            if traf >= 0:
                raise RejectedError("the moof has two trafs: a chunk is of one track")
            traf, traf_end = at + 8, at + size
        at += size
    if sequence < 0 or traf < 0:
        raise RejectedError("the moof has no mfhd or no traf")
    return _read_traf(data, traf, traf_end, defaults, sequence=sequence, moof=moof, mdat=mdat, media=mdat + head)


def _read_traf(data: bytes, at: int, end: int, defaults: Defaults, *, sequence: int, moof: int, mdat: int, media: int) -> ChunkBoxes:
    track_id = start = -1
    duration_default, size_default, flags_default = defaults.duration_ticks, defaults.size, defaults.flags
    first_flags: int | None = None
    first_size = count = duration = 0
    position = media
    while at < end:
        kind, box_size = _box(data, at, end)
        if kind == b"tfhd":
            flags, track_id = _U32_PAIR.unpack_from(data, at + 8)
            if flags & 0x1 or not flags & 0x20000:
                raise RejectedError("the tfhd must set default-base-is-moof and no base data offset")
            field = at + 16 + (4 if flags & 0x2 else 0)
            if flags & 0x8:
                duration_default, field = _U32.unpack_from(data, field)[0], field + 4
            if flags & 0x10:
                size_default, field = _U32.unpack_from(data, field)[0], field + 4
            if flags & 0x20:
                flags_default = _U32.unpack_from(data, field)[0]
        elif kind == b"tfdt":
            start = _U64.unpack_from(data, at + 12)[0] if data[at + 8] else _U32.unpack_from(data, at + 12)[0]
        elif kind == b"trun":
            if track_id < 0:
                raise RejectedError("a trun stands before the tfhd")
            flags, samples = _U32_PAIR.unpack_from(data, at + 8)
            field = at + 16
            if flags & 0x1:
                if moof + _U32.unpack_from(data, field)[0] != position:
                    raise RejectedError("the trun does not point to the samples in the mdat")
                field += 4
            elif position != media:
                raise RejectedError("a second trun has no data offset")
            sample_flags: int = flags_default
            if flags & 0x4:
                sample_flags, field = _U32.unpack_from(data, field)[0], field + 4
            width = ((flags >> 8) & 1) + ((flags >> 9) & 1) + ((flags >> 10) & 1) + ((flags >> 11) & 1)
            if field + 4 * width * samples != at + box_size:
                raise RejectedError(f"a trun of {samples} samples has {at + box_size - field} bytes of them")
            values = struct.unpack_from(f">{width * samples}I", data, field)
            column = 0
            if flags & 0x100:
                duration, column = duration + sum(values[::width]), 1
            else:
                duration += duration_default * samples
            size = size_default
            if flags & 0x200:
                size = values[column] if samples else 0
                position, column = position + sum(values[column::width]), column + 1
            else:
                position += size_default * samples
            if flags & 0x400 and not flags & 0x4 and samples:
                sample_flags = values[column]
            if first_flags is None and samples:
                first_flags, first_size = sample_flags, size
            count += samples
        at += box_size
    if track_id < 0 or start < 0 or first_flags is None:
        raise RejectedError("the traf has no tfhd, no tfdt or no samples")
    if position != len(data):
        raise RejectedError(f"the samples take {position - media} bytes, the mdat has {len(data) - media}")
    return ChunkBoxes(
        sequence=sequence,
        track_id=track_id,
        start_ticks=start,
        duration_ticks=duration,
        sample_count=count,
        is_sync=not first_flags & NON_SYNC,
        first_sample=(media, media + first_size),
    )


def _box(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Type and size of the box that begins here and must end within its parent."""
    size, kind = _HEAD.unpack_from(data, at)
    if size == 1:
        size = _U64.unpack_from(data, at + 8)[0]
    if size < 8 or at + size > end:
        raise RejectedError(f"truncated chunk: box {_text(kind)} of {size} bytes, {end - at} are left")
    return kind, size


def _inside(data: bytes, at: int, end: int, wanted: bytes) -> list[tuple[int, int]]:
    """First and last byte of the contents of each child box of a type."""
    found = []
    while at < end:
        kind, size = _box(data, at, end)
        if kind == wanted:
            found.append((at + 8, at + size))
        at += size
    return found


def _text(kind: bytes) -> str:
    return repr(kind.decode("latin-1"))
