"""Init segments as bytes say them."""

import struct
from dataclasses import dataclass, field
from hashlib import sha256

from infra.validator.boxes import Box, BoxError, boxes, brands, walk

# Bytes of a sample entry before its boxes, by handler.
ENTRY_BYTES = {b"vide": 78, b"soun": 28}


@dataclass(kw_only=True, slots=True)
class Init:
    """
    What an init segment says.

    Attributes:
        digest: Of its bytes.
        brands: Major and compatible.
        track_ids: One per trak.
        timescale: Of the first track.
        handler: vide, soun or other.
        entry: Four letters of the sample entry, the original format of an encrypted one.
        codec: As in CODECS, as far as it is told here.
        width: Pixels.
        height: Pixels.
        nal_bytes: Length of NAL unit lengths; 0 for what has none.
        defaults: Duration, size, flags of trex.
        scheme: cenc, cbcs or none.
        iv_bytes: Of a sample's IV; 0 for a constant one.
        edit: Media time at which the edit list begins, in ticks; 0 without one.
    """

    digest: bytes
    brands: tuple[bytes, ...] = ()
    track_ids: list[int] = field(default_factory=list)
    timescale: int = 0
    handler: bytes = b""
    entry: bytes = b""
    codec: str = ""
    width: int = 0
    height: int = 0
    nal_bytes: int = 0
    defaults: tuple[int, int, int] = (0, 0, 0)
    scheme: bytes = b""
    iv_bytes: int = 0
    edit: int = 0


def read_init(data: bytes) -> Init:
    """
    Take an init segment apart.

    Raises:
        BoxError: It is none.
    """
    init = Init(digest=sha256(data).digest())
    try:
        for box in walk(data, 0, len(data)):
            _init_box(init, data, box)
    except (struct.error, IndexError) as error:
        raise BoxError(f"cut short: {error}") from error
    if not init.track_ids:
        raise BoxError("no moov with a trak")
    return init


def _init_box(init: Init, data: bytes, box: Box) -> None:
    at = box.start
    match box.kind:
        case b"ftyp":
            init.brands = brands(data, box)
        case b"tkhd":
            init.track_ids.append(struct.unpack_from(">I", data, at + (20 if data[at] else 12))[0])
        case b"mdhd" if not init.timescale:
            init.timescale = struct.unpack_from(">I", data, at + (20 if data[at] else 12))[0]
        case b"hdlr" if not init.handler:
            init.handler = data[at + 8 : at + 12]
        case b"trex":
            init.defaults = struct.unpack_from(">III", data, at + 12)
        case b"elst":
            form, entry_bytes = (">Qq", 20) if data[at] else (">Ii", 12)
            for index in range(struct.unpack_from(">I", data, at + 4)[0]):
                # An empty edit (-1) delays; the first other one says where presentation begins.
                media_time = struct.unpack_from(form, data, at + 8 + index * entry_bytes)[1]
                if media_time >= 0:
                    init.edit = media_time
                    break
        case b"stsd" if not init.entry:
            entry = next(boxes(data, at + 8, box.end), None)
            if entry is not None:
                _sample_entry(init, data, entry)


def _sample_entry(init: Init, data: bytes, entry: Box) -> None:
    init.entry = entry.kind
    if init.handler == b"vide":
        init.width, init.height = struct.unpack_from(">HH", data, entry.start + 24)
    inner = entry.start + ENTRY_BYTES.get(init.handler, entry.end - entry.start)
    for box in walk(data, inner, entry.end):
        at = box.start
        if box.kind == b"avcC":
            init.nal_bytes = (data[at + 4] & 3) + 1
            init.codec = data[at + 1 : at + 4].hex()
        elif box.kind == b"hvcC":
            init.nal_bytes = (data[at + 21] & 3) + 1
        elif box.kind == b"frma":
            init.entry = data[at : at + 4]
        elif box.kind == b"schm":
            init.scheme = data[at + 4 : at + 8]
        elif box.kind == b"tenc":
            init.iv_bytes = data[at + 7]
    init.codec = f"{init.entry.decode('latin-1')}.{init.codec}" if init.codec else init.entry.decode("latin-1")
