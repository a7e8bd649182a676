"""NAL units of H.264 and HEVC: from start codes to length prefixes, and whether a picture is an IDR (pure)."""

import struct
from collections.abc import Iterator

START_CODE = b"\x00\x00\x01"
LENGTH = struct.Struct(">I")
AVC_IDR = 5
HEVC_IDR = (19, 20)


def split_annex_b(data: bytes) -> Iterator[bytes]:
    r"""
    The NAL units between start codes of three or four bytes.

    >>> list(split_annex_b(bytes([0, 0, 0, 1, 9, 16, 0, 0, 1, 101, 7])))
    [b'\t\x10', b'e\x07']
    """
    start = data.find(START_CODE)
    while start >= 0:
        after = data.find(START_CODE, start + 3)
        # A unit never ends in a zero byte: those before a start code belong to the code (H.264 annex B).
        unit = data[start + 3 : after if after >= 0 else len(data)].rstrip(b"\x00")
        if unit:
            yield unit
        start = after


def length_prefixed(data: bytes) -> bytes:
    """
    Annex B bytes as MP4 wants them: each NAL unit behind its length in four bytes.

    >>> length_prefixed(bytes([0, 0, 1, 101, 7])).hex()
    '000000026507'
    """
    return b"".join(LENGTH.pack(len(unit)) + unit for unit in split_annex_b(data))


def has_idr(data: bytes, *, hevc: bool = False) -> bool:
    """
    Whether length-prefixed bytes hold an IDR picture.

    >>> has_idr(bytes([0, 0, 0, 2, 0x65, 7])), has_idr(bytes([0, 0, 0, 2, 0x41, 7]))
    (True, False)
    """
    at = 0
    while at + 5 <= len(data):
        kind = (data[at + 4] >> 1) & 0x3F if hevc else data[at + 4] & 0x1F
        if kind in HEVC_IDR if hevc else kind == AVC_IDR:
            return True
        at += 4 + LENGTH.unpack_from(data, at)[0]
    return False
