"""Segments and parts as bytes say them: CMAF chunks, each with what a player would read of it."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from infra.validator.boxes import Box, BoxError, boxes, brands, walk
from infra.validator.init import Init
from infra.validator.nal import CODECS, Picture, av1_key, is_random_access

NON_SYNC = 0x10000
DEFAULT_BASE_IS_MOOF = 0x20000


@dataclass(kw_only=True, slots=True)
class Chunk:
    """
    One moof and its mdat.

    Attributes:
        sequence: Of mfhd.
        track_id: Of tfhd.
        start: tfdt, in ticks.
        is_long: Whether tfdt has 64 bits.
        is_relative: Whether default-base-is-moof is set.
        duration: Sum of the samples'.
        durations: Shortest and longest sample.
        first_offset: Composition offset of the first sample.
        flags_sync: Per sample, whether its flags say sync.
        is_key: Per sample, whether it is a random access point by its bytes; None where that is not known.
        payload_bytes: Of the samples.
        mdat_bytes: Of mdat.
        digest: Of moof and mdat.
        samples: Digest of sample bytes and timing.
        ivs: Initialisation vectors of senc.
        problems: What is inconsistent, with the rule.
    """

    sequence: int = 0
    track_id: int = 0
    start: int = 0
    is_long: bool = False
    is_relative: bool = False
    duration: int = 0
    durations: tuple[int, int] = (0, 0)
    first_offset: int = 0
    flags_sync: tuple[bool, ...] = ()
    is_key: tuple[bool | None, ...] = ()
    payload_bytes: int = 0
    mdat_bytes: int = 0
    digest: bytes = b""
    ivs: tuple[bytes, ...] = ()
    problems: list[tuple[int, str]] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Tick after its last sample."""
        return self.start + self.duration


class Event(NamedTuple):
    """An emsg: its timescale, its time (delta to the segment's start in version 0), its version."""

    version: int
    timescale: int
    time: int


@dataclass(kw_only=True, slots=True)
class Media:
    """What a segment or part holds."""

    size: int
    digest: bytes
    brands: tuple[bytes, ...] = ()
    chunks: list[Chunk] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)

    @property
    def start(self) -> int:
        """First tick; 0 when there is no chunk."""
        return self.chunks[0].start if self.chunks else 0

    @property
    def duration(self) -> int:
        """Sum of all sample durations."""
        return sum(chunk.duration for chunk in self.chunks)

    @property
    def starts_with_key(self) -> bool | None:
        """Whether the first sample is a random access point."""
        return self.chunks[0].is_key[0] if self.chunks and self.chunks[0].is_key else None

    @property
    def has_key(self) -> bool | None:
        """Whether any sample is a random access point; None if that cannot be known."""
        keys = [key for chunk in self.chunks for key in chunk.is_key]
        return None if not keys or None in keys else any(keys)


def read_media(data: bytes, init: Init | None) -> Media:
    """
    Take a segment or part apart; what contradicts itself is in ``problems``.

    Args:
        data: Its bytes.
        init: What it is to be read with.

    Raises:
        BoxError: The bytes are no boxes.
    """
    media = Media(size=len(data), digest=sha256(data).digest())
    moof: Box | None = None
    try:
        for box in boxes(data, 0, len(data)):
            if box.kind == b"styp":
                media.brands = brands(data, box)
            elif box.kind == b"emsg":
                media.events.append(_event(data, box))
            elif box.kind == b"moof":
                if moof is not None:
                    media.problems.append((34, "a moof without its mdat"))
                moof = box
            elif box.kind == b"mdat":
                if moof is None:
                    media.problems.append((34, "an mdat without a moof"))
                    continue
                media.chunks.append(_chunk(data, moof, box, init))
                moof = None
    except (struct.error, IndexError) as error:
        raise BoxError(f"cut short: {error}") from error
    if moof is not None:
        media.problems.append((34, "a moof without its mdat"))
    if not media.chunks:
        media.problems.append((34, "no moof and mdat"))
    return media


def _event(data: bytes, box: Box) -> Event:
    at = box.start
    if data[at]:
        return Event(data[at], *struct.unpack_from(">IQ", data, at + 4))
    scheme_end = data.index(b"\0", data.index(b"\0", at + 4) + 1) + 1
    return Event(0, *struct.unpack_from(">II", data, scheme_end))


def _chunk(data: bytes, moof: Box, mdat: Box, init: Init | None) -> Chunk:
    chunk = Chunk(mdat_bytes=mdat.end - mdat.start, digest=sha256(data[moof.begin : mdat.end]).digest())
    default_duration, default_size, default_flags = init.defaults if init else (0, 0, 0)
    sizes: list[int] = []
    durations: list[int] = []
    flags: list[int] = []
    begins: int | None = None
    fragments = 0
    offsets: list[int] = []
    aux: tuple[int, int] | None = None
    senc: Box | None = None
    for box in walk(data, moof.start, moof.end):
        at = box.start
        if box.kind == b"mfhd":
            chunk.sequence = struct.unpack_from(">I", data, at + 4)[0]
        elif box.kind == b"tfhd":
            fragments += 1
            bits, chunk.track_id = struct.unpack_from(">II", data, at)
            bits &= 0xFFFFFF
            chunk.is_relative = bool(bits & DEFAULT_BASE_IS_MOOF)
            at += 8 + (8 if bits & 1 else 0) + (4 if bits & 2 else 0)
            for bit in (8, 16, 32):
                if bits & bit:
                    (value,) = struct.unpack_from(">I", data, at)
                    at += 4
                    if bit == 8:
                        default_duration = value
                    elif bit == 16:
                        default_size = value
                    else:
                        default_flags = value
        elif box.kind == b"tfdt":
            chunk.is_long = data[at] == 1
            chunk.start = struct.unpack_from(">Q" if chunk.is_long else ">I", data, at + 4)[0]
        elif box.kind == b"trun":
            begins = _run(data, box, (default_duration, default_size, default_flags), durations, sizes, flags, chunk, begins)
        elif box.kind == b"saiz":
            bits = struct.unpack_from(">I", data, at)[0] & 0xFFFFFF
            at += 4 + (8 if bits & 1 else 0)
            aux = data[at], struct.unpack_from(">I", data, at + 1)[0]
        elif box.kind == b"saio":
            version, bits = data[at], struct.unpack_from(">I", data, at)[0] & 0xFFFFFF
            at += 4 + (8 if bits & 1 else 0)
            count = struct.unpack_from(">I", data, at)[0]
            offsets = list(struct.unpack_from(f">{count}{'Q' if version else 'I'}", data, at + 4))
        elif box.kind == b"senc":
            senc = box
    if fragments != 1:
        chunk.problems.append((34, f"{fragments} traf in one moof"))
    chunk.duration, chunk.durations = sum(durations), (min(durations, default=0), max(durations, default=0))
    chunk.payload_bytes = sum(sizes)
    chunk.flags_sync = tuple(not f & NON_SYNC for f in flags)
    place = mdat.start - moof.begin
    if begins is not None and begins != place:
        chunk.problems.append((34, f"trun data offset {begins}, samples begin at {place}"))
    if chunk.payload_bytes != chunk.mdat_bytes:
        chunk.problems.append((34, f"samples of {chunk.payload_bytes} bytes in an mdat of {chunk.mdat_bytes}"))
    if init and init.track_ids and chunk.track_id not in init.track_ids:
        chunk.problems.append((34, f"track {chunk.track_id}, the init segment has {init.track_ids}"))
    is_hidden = bool(init and init.scheme)
    if is_hidden and init:
        _protection(chunk, data, moof, senc, aux, offsets, len(sizes), init)
    chunk.is_key = (None,) * len(sizes) if is_hidden or init is None else tuple(_keys(data, mdat, sizes, init))
    return chunk


def _run(
    data: bytes,
    box: Box,
    defaults: tuple[int, int, int],
    durations: list[int],
    sizes: list[int],
    flags: list[int],
    chunk: Chunk,
    begins: int | None,
) -> int | None:
    at = box.start
    bits, count = struct.unpack_from(">II", data, at)
    version, bits = bits >> 24, bits & 0xFFFFFF
    at += 8
    if bits & 1:
        if begins is None:
            (begins,) = struct.unpack_from(">i", data, at)
        at += 4
    first_flags: int | None = None
    if bits & 4:
        (first_flags,) = struct.unpack_from(">I", data, at)
        at += 4
    names = [bit for bit in (0x100, 0x200, 0x400, 0x800) if bits & bit]
    form = struct.Struct(">" + "".join("i" if bit == 0x800 and version else "I" for bit in names))
    for index in range(count):
        fields = dict(zip(names, form.unpack_from(data, at), strict=True))
        at += form.size
        durations.append(fields.get(0x100, defaults[0]))
        sizes.append(fields.get(0x200, defaults[1]))
        own = fields.get(0x400, defaults[2])
        flags.append(first_flags if index == 0 and first_flags is not None else own)
        if len(sizes) == 1:
            chunk.first_offset = fields.get(0x800, 0)
    return begins


def _keys(data: bytes, mdat: Box, sizes: list[int], init: Init) -> Iterator[bool | None]:
    kind: Picture | None = CODECS.get(init.entry)
    at = mdat.start
    for size in sizes:
        if at + size > mdat.end:
            yield None
        elif init.handler == b"soun":
            yield True
        elif init.entry == b"av01":
            yield av1_key(data, at, at + size)
        elif kind is None or not init.nal_bytes:
            yield None
        else:
            yield is_random_access(data, at, at + size, init.nal_bytes, kind)
        at += size


def _protection(
    chunk: Chunk, data: bytes, moof: Box, senc: Box | None, aux: tuple[int, int] | None, offsets: list[int], samples: int, init: Init
) -> None:
    """Whether senc, saiz and saio of a chunk agree."""
    if senc is None:
        if init.iv_bytes:
            chunk.problems.append((38, "encrypted samples with IVs of their own and no senc"))
        return
    bits, count = struct.unpack_from(">II", data, senc.start)
    at = senc.start + 8
    ivs, lengths = [], []
    for _ in range(count):
        begin = at
        ivs.append(data[at : at + init.iv_bytes])
        at += init.iv_bytes
        if bits & 2:
            at += 2 + 6 * struct.unpack_from(">H", data, at)[0]
        lengths.append(at - begin)
    chunk.ivs = tuple(iv for iv in ivs if iv)
    if count != samples:
        chunk.problems.append((38, f"senc speaks of {count} samples, trun of {samples}"))
    if at != senc.end:
        chunk.problems.append((38, f"senc has {senc.end - senc.start} bytes, its entries end at {at - senc.start}"))
    if aux is None or not offsets:
        if any(lengths):
            chunk.problems.append((38, "senc without saiz or saio"))
        return
    if aux[1] != count or (aux[0] and set(lengths) != {aux[0]}):
        chunk.problems.append((38, f"saiz says {aux[1]} entries of {aux[0]} bytes, senc has {count} of {sorted(set(lengths))}"))
    place = senc.start + 8 - moof.begin
    if offsets[0] != place:
        chunk.problems.append((38, f"saio says {offsets[0]}, the entries of senc begin at {place}"))
