"""
WebVTT cues in MP4 (ISO/IEC 14496-30): the boxes of a cue, samples that cover every instant, and the init segment of a text track (pure).

A cue that lasts longer than a chunk stands in the samples of several; its source id says that they are one.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from schemas.errors import RejectedError
from streams.ingest.boxes import boxes
from streams.ingest.samples import Sample

EMPTY = struct.pack(">I4s", 8, b"vtte")
TRACK_NUMBER = 1
# What a caption needs; more of one is cut off, so that its track keeps to its bandwidth.
TEXT_BYTES_MAX = 600
# No pushed cue needs more: each stands in every chunk that it is shown in.
BOX_BYTES_MAX = 1_024
# Headers and a long caption in four chunks a second stay below this.
PEAK_BPS = 64_000
MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cue:
    """
    A text that is shown for a while.

    Attributes:
        start: Seconds on the encoder's clock.
        end: Seconds on the encoder's clock.
        box: Its ``vttc``.
    """

    start: Fraction
    end: Fraction
    box: bytes


def make_cue(start: Fraction, end: Fraction, text: str) -> Cue | None:
    r"""
    The cue of a plain text; None if there is nothing to show.

    >>> make_cue(Fraction(1), Fraction(2), "1 < 2").box[-16:]
    b'\x00\x00\x00\x10payl1 &lt; 2'
    >>> make_cue(Fraction(1), Fraction(2), " ") is None
    True
    """
    # WebVTT: an empty line would end the cue, and these characters begin tags and entities.
    lines = (" ".join(line.replace("\0", "").split()) for line in text.splitlines())
    shown = "\n".join(line for line in lines if line)
    while len(_escaped(shown)) > TEXT_BYTES_MAX:
        shown = shown[: len(shown) * TEXT_BYTES_MAX // len(_escaped(shown))].rstrip()
    if not shown or start >= end:
        return None
    source = zlib.crc32(f"{start} {shown}".encode()) & 0x7FFFFFFF
    return Cue(start=start, end=end, box=_box(b"vttc", _box(b"vsid", struct.pack(">I", source)) + _box(b"payl", _escaped(shown))))


def _escaped(text: str) -> bytes:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").encode()


def read_cues(samples: Sequence[Sample], durations: Sequence[int], timescale: int) -> Iterator[Cue]:
    """
    The cues of pushed samples; empty ones and comments are left out.

    Raises:
        RejectedError: A sample does not consist of boxes, or a cue is too long.
    """
    for sample, duration in zip(samples, durations, strict=True):
        start = Fraction(sample.time_ticks + sample.composition_ticks, timescale)
        try:
            found = [box.whole for box in boxes(sample.data) if box.kind == b"vttc"]
        except (ValueError, struct.error) as error:
            raise RejectedError(f"a sample of text is no WebVTT: {error}") from error
        if any(len(box) > BOX_BYTES_MAX for box in found):
            raise RejectedError(f"a WebVTT cue has at most {BOX_BYTES_MAX} bytes")
        yield from (Cue(start=start, end=start + Fraction(duration, timescale), box=box) for box in found if duration)


def cut_samples(cues: Sequence[tuple[int, int, bytes]], start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """
    Duration and bytes of the samples from one tick to another: a new one wherever a cue begins or ends.

    Args:
        cues: First tick, end and box of each.

    >>> list(cut_samples([(5, 20, b"a"), (8, 9, b"b")], 0, 10)) == [(5, EMPTY), (3, b"a"), (1, b"ab"), (1, b"a")]
    True
    """
    instants = sorted({start, end, *(at for first, last, _ in cues for at in (first, last) if start < at < end)})
    for here, there in pairwise(instants):
        yield there - here, b"".join(box for first, last, box in cues if first <= here and there <= last) or EMPTY


def init_segment(timescale: int, language: str) -> bytes:
    """
    The init segment of a WebVTT track.

    Args:
        language: As ISO 639-2; anything else is written as ``und``.
    """
    code = language if len(language) == 3 and language.isascii() and language.islower() and language.isalpha() else "und"
    packed = sum((ord(letter) - 0x60) << shift for letter, shift in zip(code, (10, 5, 0), strict=True))
    mvhd = _full(b"mvhd", struct.pack(">IIIIIH10x", 0, 0, timescale, 0, 0x10000, 0x100) + MATRIX + bytes(24) + struct.pack(">I", 2))
    tkhd = _full(b"tkhd", struct.pack(">IIIII8xHHHH", 0, 0, TRACK_NUMBER, 0, 0, 0, 0, 0, 0) + MATRIX + bytes(8), flags=7)
    mdhd = _full(b"mdhd", struct.pack(">IIIIHH", 0, 0, timescale, 0, packed, 0))
    hdlr = _full(b"hdlr", struct.pack(">I4s12x", 0, b"text") + b"\0")
    dinf = _box(b"dinf", _full(b"dref", struct.pack(">I", 1) + _full(b"url ", b"", flags=1)))
    entry = _box(b"wvtt", struct.pack(">6xH", 1) + _box(b"vttC", b"WEBVTT"))
    tables = [_full(kind, bytes(size)) for kind, size in ((b"stts", 4), (b"stsc", 4), (b"stsz", 8), (b"stco", 4))]
    stbl = _box(b"stbl", b"".join([_full(b"stsd", struct.pack(">I", 1) + entry), *tables]))
    minf = _box(b"minf", _full(b"nmhd", b"") + dinf + stbl)
    trak = _box(b"trak", tkhd + _box(b"mdia", mdhd + hdlr + minf))
    mvex = _box(b"mvex", _full(b"trex", struct.pack(">5I", TRACK_NUMBER, 1, 0, 0, 0)))
    return _box(b"ftyp", struct.pack(">4sI4s4s4s", b"iso6", 0, b"iso6", b"cmfc", b"cwvt")) + _box(b"moov", mvhd + trak + mvex)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, body: bytes, *, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags) + body)
