"""A chunk holds exactly its samples, as an independent demuxer and plain box arithmetic read them."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from schemas.units import Ticks
from streams.ingest.cmaf import build_chunk
from streams.ingest.nal import has_idr, length_prefixed, split_annex_b
from streams.ingest.samples import Sample

SAMPLES = st.lists(
    st.builds(Sample, st.just(Ticks(0)), st.binary(min_size=1, max_size=40), st.booleans(), st.integers(-2_000, 2_000)),
    min_size=1,
    max_size=30,
)
UNITS = st.lists(st.binary(min_size=2, max_size=30).filter(lambda b: b"\0\0" not in b and b[0] and b[-1]), min_size=1, max_size=6)


@given(SAMPLES, st.integers(0, 2**40), st.integers(0, 2**60), st.integers(1, 10**6))
def test_a_chunk_gives_back_its_samples(samples: list[Sample], index: int, start: int, frame: int) -> None:
    chunk = build_chunk(samples, track_id=1, index=index, start_ticks=Ticks(start), frame_ticks=Ticks(frame))
    moof_size, moof = struct.unpack_from(">I4s", chunk)
    mdat_size, mdat = struct.unpack_from(">I4s", chunk, moof_size)
    assert (moof, mdat, moof_size + mdat_size) == (b"moof", b"mdat", len(chunk))
    assert struct.unpack_from(">I", chunk, chunk.index(b"mfhd") + 8)[0] == index % 2**32
    assert struct.unpack_from(">IQ", chunk, chunk.index(b"tfdt") + 4) == (1 << 24, start)
    flags, count, offset = struct.unpack_from(">IIi", chunk, chunk.index(b"trun") + 4)
    assert (flags, count, offset) == (1 << 24 | 0xF01, len(samples), moof_size + 8)
    at = offset
    for number, sample in enumerate(samples):
        entry = struct.unpack_from(">IIIi", chunk, chunk.index(b"trun") + 16 + 16 * number)
        assert entry == (frame, len(sample.data), 0x02000000 if sample.sync else 0x01010000, sample.composition_ticks)
        assert chunk[at : at + len(sample.data)] == sample.data
        at += len(sample.data)
    assert at == len(chunk)


@given(UNITS, st.lists(st.sampled_from([b"\0\0\1", b"\0\0\0\1"]), min_size=6, max_size=6))
def test_nal_units_survive_the_change_from_start_codes_to_lengths(units: list[bytes], codes: list[bytes]) -> None:
    stream = b"".join(code + unit for code, unit in zip(codes, units, strict=False))
    assert list(split_annex_b(stream)) == units
    assert length_prefixed(stream) == b"".join(struct.pack(">I", len(unit)) + unit for unit in units)


@given(UNITS)
def test_an_idr_is_seen_wherever_it_stands(units: list[bytes]) -> None:
    plain = b"".join(struct.pack(">I", len(unit)) + unit for unit in units)
    assert has_idr(plain) is any(unit[0] & 0x1F == 5 for unit in units)
