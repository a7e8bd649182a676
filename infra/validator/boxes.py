"""Boxes of ISO BMFF: where they lie and what lies in them."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"edts", b"sinf", b"schi", b"moof", b"traf"}


class BoxError(Exception):
    """The bytes are no boxes."""


class Box(NamedTuple):
    """A box: its four letters, where it begins, where its payload lies."""

    kind: bytes
    begin: int
    start: int
    end: int


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """
    Boxes from a place to another.

    Raises:
        BoxError: One is longer than what it lies in.
    """
    while start < end:
        if end - start < 8:
            raise BoxError(f"{end - start} bytes at {start} are no box")
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1 and end - start >= 16:
            size, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            raise BoxError(f"box {kind!r} at {start} says {size} bytes, {end - start} are there")
        yield Box(kind, start, start + head, start + size)
        start += size


def walk(data: bytes, start: int, end: int) -> Iterator[Box]:
    """All boxes and those in containers, in order."""
    for box in boxes(data, start, end):
        yield box
        if box.kind in CONTAINERS:
            yield from walk(data, box.start, box.end)


def brands(data: bytes, box: Box) -> tuple[bytes, ...]:
    """Major and compatible brands of ftyp or styp."""
    return (data[box.start : box.start + 4], *(data[at : at + 4] for at in range(box.start + 8, box.end, 4)))
