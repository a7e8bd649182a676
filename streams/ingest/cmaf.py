"""One CMAF chunk from samples: a moof and an mdat whose cuts are ours (pure)."""

import struct
from collections.abc import Sequence
from itertools import repeat

from schemas.units import Ticks
from streams.ingest.samples import Sample

# ISO/IEC 14496-12 8.8.3.1: depends on no other sample; depends on others and is no sync sample.
SYNC_FLAGS = 0x02000000
OTHER_FLAGS = 0x01010000
DEFAULT_BASE_IS_MOOF = 0x020000
# data offset, and per sample duration, size, flags, composition offset.
TRUN_FLAGS = 0x000001 | 0x000100 | 0x000200 | 0x000400 | 0x000800
MDAT_HEADER_SIZE = 8
ENTRY = struct.Struct(">IIIi")


def build_chunk(
    samples: Sequence[Sample], *, track_id: int, index: int, start_ticks: Ticks, frame_ticks: Ticks, durations: Sequence[int] = ()
) -> bytes:
    """
    One moof and one mdat with these samples, each ``frame_ticks`` long.

    Args:
        track_id: Track of the init segment.
        index: Number of the chunk since the period's start; written modulo 2^32.
        start_ticks: Decode time of the first sample.
        durations: Ticks of each sample, where they differ.
    """
    entries = b"".join(
        ENTRY.pack(ticks, len(s.data), SYNC_FLAGS if s.sync else OTHER_FLAGS, s.composition_ticks)
        for s, ticks in zip(samples, durations or repeat(frame_ticks), strict=bool(durations))
    )
    mfhd = _full_box(b"mfhd", 0, 0, struct.pack(">I", index % 2**32))
    tfhd = _full_box(b"tfhd", 0, DEFAULT_BASE_IS_MOOF, struct.pack(">I", track_id))
    tfdt = _full_box(b"tfdt", 1, 0, struct.pack(">Q", start_ticks))
    trun_size = 20 + len(entries)
    moof_size = 8 + len(mfhd) + 8 + len(tfhd) + len(tfdt) + trun_size
    trun = _full_box(b"trun", 1, TRUN_FLAGS, struct.pack(">Ii", len(samples), moof_size + MDAT_HEADER_SIZE) + entries)
    moof = _box(b"moof", mfhd + _box(b"traf", tfhd + tfdt + trun))
    size = sum(len(s.data) for s in samples)
    return b"".join([moof, struct.pack(">I4s", MDAT_HEADER_SIZE + size, b"mdat"), *(s.data for s in samples)])


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full_box(kind: bytes, version: int, flags: int, body: bytes) -> bytes:
    return struct.pack(">I4sI", 12 + len(body), kind, version << 24 | flags) + body
