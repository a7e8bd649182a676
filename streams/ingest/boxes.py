"""ISO BMFF boxes as ingest reads them, and an init segment of several tracks taken apart (pure)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

# Each gets a moov of its own: more would cost more than they are.
TRACKS_MAX = 64


@dataclass(frozen=True, slots=True)
class Box:
    """
    One box.

    Attributes:
        kind: Its type.
        whole: All its bytes.
        body: Those behind its header.
    """

    kind: bytes
    whole: bytes
    body: bytes

    @classmethod
    def of(cls, data: bytes) -> "Box":
        """
        The box that these bytes are.

        Raises:
            ValueError: They are not exactly one.
        """
        found = list(boxes(data))
        if len(found) != 1:
            raise ValueError(f"{len(found)} boxes where one was expected")
        return found[0]

    def all(self, kind: bytes) -> Iterator["Box"]:
        """Its children of a type."""
        return (box for box in boxes(self.body) if box.kind == kind)


def boxes(data: bytes) -> Iterator[Box]:
    r"""
    Boxes one after the other.

    Raises:
        ValueError: The bytes do not consist of whole boxes.

    >>> [(box.kind, box.body) for box in boxes(bytes.fromhex("0000000a66726565aabb"))]
    [(b'free', b'\xaa\xbb')]
    """
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise ValueError(f"{len(data) - at} bytes behind the last box")
        size, kind = struct.unpack_from(">I4s", data, at)
        header = 8
        if size == 1:
            size, header = struct.unpack_from(">Q", data, at + 8)[0], 16
        if size < header or at + size > len(data):
            raise ValueError(f"box {kind.decode('latin1')!r} of {size} bytes at {at} of {len(data)}")
        yield Box(kind, data[at : at + size], data[at + header : at + size])
        at += size


def child(box: Box, kind: bytes) -> Box:
    """
    The one child of a type.

    Raises:
        ValueError: There is none.
    """
    found = next(box.all(kind), None)
    if found is None:
        raise ValueError(f"{box.kind.decode('latin1')} has no {kind.decode('latin1')}")
    return found


def full_box(box: Box) -> tuple[int, int, bytes]:
    """Version, flags and what follows them."""
    word = struct.unpack_from(">I", box.body)[0]
    return word >> 24, word & 0xFFFFFF, box.body[4:]


def split_tracks(ftyp: bytes, moov: Box) -> dict[int, bytes]:
    """
    ``ftyp`` and ``moov`` of each track alone, by track number; one of one track stays as it is.

    Raises:
        ValueError: A track has no number, or there are too many.
    """
    traks = {_number(trak): trak for trak in moov.all(b"trak")}
    if len(traks) > TRACKS_MAX:
        raise ValueError(f"{len(traks)} tracks in one stream: at most {TRACKS_MAX}")
    if len(traks) <= 1:
        return dict.fromkeys(traks, ftyp + moov.whole)
    return {number: ftyp + _box(b"moov", b"".join(_only(box, number) for box in boxes(moov.body))) for number in traks}


def _only(box: Box, number: int) -> bytes:
    """A child of ``moov`` as it is where the track is alone."""
    if box.kind == b"trak":
        return box.whole if _number(box) == number else b""
    if box.kind == b"mvex":
        kept = (part.whole for part in boxes(box.body) if part.kind != b"trex" or struct.unpack_from(">I", part.body, 4)[0] == number)
        return _box(b"mvex", b"".join(kept))
    return box.whole


def _number(trak: Box) -> int:
    version, _, tkhd = full_box(child(trak, b"tkhd"))
    number: int = struct.unpack_from(">I", tkhd, 16 if version else 8)[0]
    return number


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body
