"""What an init segment says of its track: timescale, track number, codec string (pure)."""

import struct
from collections.abc import Iterator

from schemas.errors import RejectedError
from schemas.units import Timescale

SAMPLE_ENTRY_HEADER = {b"vide": 78, b"soun": 28}
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


class InitSegment:
    """An init segment with one track, read."""

    def __init__(self, data: bytes) -> None:
        """
        Raises:
            RejectedError: The bytes are no ``ftyp`` and ``moov`` with exactly one track.
        """
        try:
            self._read(data)
        except (struct.error, IndexError, KeyError, ValueError) as error:
            raise RejectedError(f"not an init segment (ftyp and moov with one track): {error}") from error

    def _read(self, data: bytes) -> None:
        top = [kind for kind, _ in _boxes(data)]
        if b"ftyp" not in top or b"moov" not in top:
            raise ValueError(f"found {[kind.decode('latin1') for kind in top]}")
        found = dict(_walk(data))
        if sum(kind == b"trak" for kind, _ in _walk(data)) != 1:
            raise ValueError("it must hold one track")
        tkhd, mdhd, hdlr = found[b"tkhd"], found[b"mdhd"], found[b"hdlr"]
        self.track_id: int = struct.unpack_from(">I", tkhd, 20 if tkhd[0] else 12)[0]
        self.timescale = Timescale(struct.unpack_from(">I", mdhd, 20 if mdhd[0] else 12)[0])
        entry, body = next(_boxes(found[b"stsd"][8:]))
        children = dict(_boxes(body[SAMPLE_ENTRY_HEADER[hdlr[8:12]] :]))
        self.codec = _codec(entry.decode("latin1"), children)

    @property
    def is_avc(self) -> bool:
        """Whether samples are H.264."""
        return self.codec.startswith("avc")

    @property
    def is_hevc(self) -> bool:
        """Whether samples are HEVC."""
        return self.codec.startswith(("hvc", "hev"))


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8 or at + size > len(data):
            raise ValueError(f"box {kind.decode('latin1')} of {size} bytes at {at} of {len(data)}")
        yield kind, data[at + 8 : at + size]
        at += size


def _walk(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for kind, body in _boxes(data):
        yield kind, body
        if kind in CONTAINERS:
            yield from _walk(body)


def _codec(entry: str, children: dict[bytes, bytes]) -> str:
    """RFC 6381 codec string of a sample entry."""
    if entry in ("avc1", "avc3"):
        return f"{entry}.{children[b'avcC'][1:4].hex()}"
    if entry in ("hvc1", "hev1"):
        return f"{entry}.{_hevc(children[b'hvcC'])}"
    if entry == "mp4a":
        return f"mp4a.{_mpeg4_audio(children[b'esds'])}"
    plain = {"Opus": "opus", "fLaC": "flac", "ac-3": "ac-3", "ec-3": "ec-3"}
    if entry in plain:
        return plain[entry]
    raise RejectedError(f"codec {entry!r} of the init segment is not known: use H.264, HEVC, AAC, Opus, FLAC, AC-3 or E-AC-3")


def _hevc(config: bytes) -> str:
    # ISO/IEC 14496-15 annex E.3: profile space and number, compatibility bit-reversed in hex, tier and level, constraint bytes.
    space, tier, profile = config[1] >> 6, config[1] >> 5 & 1, config[1] & 0x1F
    compatibility = int(f"{struct.unpack_from('>I', config, 2)[0]:032b}"[::-1], 2)
    constraints = "".join(f".{byte:X}" for byte in config[6:12].rstrip(b"\x00"))
    return f"{['', 'A', 'B', 'C'][space]}{profile}.{compatibility:X}.{'H' if tier else 'L'}{config[12]}{constraints}"


def _mpeg4_audio(esds: bytes) -> str:
    """Object type, and for MPEG-4 audio the audio object type, from the descriptors of an ``esds`` box."""
    at = 4
    while at < len(esds):
        tag, at = esds[at], at + 1
        size = 0
        while True:
            byte, at = esds[at], at + 1
            size = size << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        if tag == 3:  # ES_Descriptor: id and flags, then its children (we write none of its optional fields)
            at += 3
        elif tag == 4:  # DecoderConfigDescriptor
            object_type, at = esds[at], at + 13
            if object_type != 0x40:
                return f"{object_type:x}"
        elif tag == 5:  # DecoderSpecificInfo: five bits of audio object type, escaped by 31
            kind = esds[at] >> 3
            return f"40.{kind if kind < 31 else 32 + ((esds[at] & 7) << 3 | esds[at + 1] >> 5)}"
        else:
            at += size
    raise ValueError("esds without a decoder configuration")
