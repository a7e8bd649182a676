"""Random access points by the bytes of samples, not by their flags."""

from collections.abc import Callable
from typing import NamedTuple

OBU_SEQUENCE_HEADER = 1


class Picture(NamedTuple):
    """How a codec tells its pictures: the NAL type of a first byte, which types are pictures, which of them random access points."""

    kind: Callable[[int], int]
    pictures: frozenset[int]
    random_access: frozenset[int]


AVC = Picture(lambda byte: byte & 0x1F, frozenset(range(1, 6)), frozenset({5}))
HEVC = Picture(lambda byte: byte >> 1 & 0x3F, frozenset(range(32)), frozenset(range(16, 22)))
CODECS = {b"avc1": AVC, b"avc3": AVC, b"hvc1": HEVC, b"hev1": HEVC}


def is_random_access(data: bytes, start: int, end: int, length_bytes: int, codec: Picture) -> bool | None:
    """
    Whether the first picture of a sample is a random access point.

    Returns:
        None if the sample holds no picture that can be read.

    >>> is_random_access(bytes([0, 0, 0, 1, 0x65, 0, 0, 0, 1, 0x41]), 0, 5, 4, AVC)
    True
    >>> is_random_access(bytes([0, 0, 0, 1, 0x65, 0, 0, 0, 1, 0x41]), 5, 10, 4, AVC)
    False
    """
    while start + length_bytes < end:
        size = int.from_bytes(data[start : start + length_bytes])
        start += length_bytes
        if not size or start + size > end:
            return None
        kind = codec.kind(data[start])
        if kind in codec.pictures:
            return kind in codec.random_access
        start += size
    return None


def av1_key(data: bytes, start: int, end: int) -> bool | None:
    """
    Whether an AV1 sample starts a sequence: a sequence header stands before every random access point (AV1-ISOBMFF 2.5).

    >>> av1_key(bytes([0x12, 0, 0x0A, 1, 0]), 0, 5), av1_key(bytes([0x12, 0, 0x32, 1, 0]), 0, 5)
    (True, False)
    """
    while start < end:
        head = data[start]
        start += 2 if head & 4 else 1
        if head >> 3 & 15 == OBU_SEQUENCE_HEADER:
            return True
        if not head & 2:
            return False
        size = shift = 0
        while start < end:
            byte = data[start]
            start += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        start += size
    return False
