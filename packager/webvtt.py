"""
WebVTT text of the cues in chunks of a text track: what HLS players read where DASH players read the chunks (pure).

The text follows from the object alone, so every origin makes the same of the same segment or part. A cue that goes on beyond it is cut
off, and goes on in the next.
"""

import struct
from collections.abc import Iterator
from functools import lru_cache

from schemas.errors import RejectedError

# Cue times are those of the media: MPEG-2 time 0 is media time 0 (RFC 8216bis 3.1.4).
HEADER = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n"
# ISO/IEC 14496-12 8.8.8.1: the trun says for each sample how long and how large it is, and perhaps flags and an offset.
DURATION, SIZE, MORE, OFFSET, FIRST_FLAGS = 0x100, 0x200, 0xC00, 0x1, 0x4
MORE_WORDS = {0: 0, 0x400: 1, 0x800: 1, 0xC00: 2}
Timed = tuple[int, int, bytes]


def render(data: bytes, init: bytes) -> bytes:
    """
    The WebVTT text of a segment or part.

    Args:
        data: Its chunks, as ingest writes them.
        init: Init segment of its track.

    Raises:
        RejectedError: The track is none of text, or the bytes are not what they should be.
    """
    timescale = read_timescale(init)
    try:
        blocks = [_block(cue, timescale) for cue in sorted(merged(samples(data)))]
    except (struct.error, ValueError, IndexError) as error:
        raise RejectedError(f"not the chunks of a text track: {error}") from error
    return "\n".join([HEADER, *blocks]).encode()


@lru_cache(maxsize=256)
def read_timescale(init: bytes) -> int:
    """
    Ticks per second of a text track.

    Raises:
        RejectedError: It is none of text.
    """
    try:
        mdia = _path(init, b"moov", b"trak", b"mdia")
        mdhd = _path(mdia, b"mdhd")
        if _path(mdia, b"minf", b"stbl", b"stsd")[12:16] != b"wvtt":
            raise RejectedError("a track that is no WebVTT has no text")
        timescale = int(struct.unpack_from(">I", mdhd, 20 if mdhd[0] else 12)[0])
        if timescale < 1:
            raise ValueError("its timescale is 0")
        return timescale
    except (struct.error, ValueError, IndexError) as error:
        raise RejectedError(f"not an init segment: {error}") from error


def samples(data: bytes) -> Iterator[Timed]:
    """First tick, end and bytes of each sample of these chunks."""
    moof = b""
    for kind, body in _boxes(data):
        if kind == b"moof":
            moof = body
        elif kind == b"mdat":
            traf = _path(moof, b"traf")
            tfdt, trun = _path(traf, b"tfdt"), _path(traf, b"trun")
            time = struct.unpack_from(">Q" if tfdt[0] else ">I", tfdt, 4)[0]
            flags, count = struct.unpack_from(">II", trun)
            if not (flags & DURATION and flags & SIZE):
                raise ValueError("a trun without durations and sizes")
            place = 8 + 4 * bool(flags & OFFSET) + 4 * bool(flags & FIRST_FLAGS)
            width, at = 8 + 4 * MORE_WORDS[flags & MORE], 0
            for entry in range(place, place + count * width, width):
                duration, size = struct.unpack_from(">II", trun, entry)
                yield time, time + duration, body[at : at + size]
                time, at = time + duration, at + size


def merged(found: Iterator[Timed]) -> Iterator[Timed]:
    """
    First tick, end and contents of each cue of samples; one that stands in several samples is one.
    """
    going: dict[bytes, list[int]] = {}
    for start, end, data in found:
        for kind, box in _boxes(data):
            if kind != b"vttc":
                continue
            held = going.get(box)
            if held is not None and held[1] == start:
                held[1] = end
                continue
            if held is not None:
                yield held[0], held[1], box
            going[box] = [start, end]
        for box in [box for box, held in going.items() if held[1] <= start]:
            first, last = going.pop(box)
            yield first, last, box
    yield from ((first, last, box) for box, (first, last) in going.items())


def _block(cue: Timed, timescale: int) -> str:
    start, end, box = cue
    parts = {kind: body.decode("utf-8", "replace") for kind, body in _boxes(box) if kind in (b"iden", b"sttg", b"payl")}
    settings = f" {parts[b'sttg']}" if parts.get(b"sttg") else ""
    name = f"{parts[b'iden']}\n" if parts.get(b"iden") else ""
    # Neither may stand in a cue: an empty line ends it, an arrow begins its times.
    text = "\n".join(line for line in parts.get(b"payl", "").replace("-->", "--&gt;").splitlines() if line)
    return f"{name}{_clock(start, timescale)} --> {_clock(end, timescale)}{settings}\n{text}\n"


def _clock(ticks: int, timescale: int) -> str:
    """
    A tick as WebVTT writes it, to the nearest millisecond.

    >>> _clock(93_784_500, 25_000)
    '01:02:31.380'
    """
    ms = (ticks * 2_000 + timescale) // (2 * timescale)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1_000 % 60:02}.{ms % 1_000:03}"


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8 or at + size > len(data):
            raise ValueError(f"a box of {size} bytes at {at} of {len(data)}")
        yield kind, data[at + 8 : at + size]
        at += size


def _path(data: bytes, *kinds: bytes) -> bytes:
    """Contents of the first box of each type, one within the other."""
    for kind in kinds:
        found = next((body for own, body in _boxes(data) if own == kind), None)
        if found is None:
            raise ValueError(f"no {kind.decode()}")
        data = found
    return data
