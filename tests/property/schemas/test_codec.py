"""The codec over any record and any bytes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import records
from schemas.codec import RECORDS, Codec
from schemas.errors import RejectedError
from tests.strategies import of_record

CODEC = Codec()


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_a_record_comes_back_equal(kind: type[Any]) -> None:
    @given(of_record(kind))
    @settings(max_examples=40, deadline=None)
    def check(record: Any) -> None:
        assert CODEC.decode(CODEC.encode(record)) == record

    check()


@given(of_record(records.Chunk))
@settings(deadline=None)
def test_the_header_of_a_chunk_is_the_chunk_without_its_payload(chunk: records.Chunk) -> None:
    header = CODEC.decode_chunk_header(CODEC.encode(chunk))
    assert isinstance(header, records.Chunk)
    assert header.payload == b""
    assert all(getattr(header, name) == getattr(chunk, name) for name in chunk.__slots__ if name != "payload")


@given(of_record(records.Chunk))
@settings(deadline=None)
def test_a_chunk_is_the_same_whether_its_payload_is_copied_or_seen(chunk: records.Chunk) -> None:
    data = CODEC.encode(chunk)
    assert CODEC.decode_chunk(data) == CODEC.decode(data) == chunk


@given(of_record(records.Chunk), st.binary(min_size=1, max_size=3))
@settings(deadline=None)
def test_a_chunk_with_more_or_fewer_bytes_than_its_payload_has_is_rejected(chunk: records.Chunk, more: bytes) -> None:
    data = CODEC.encode(chunk)
    for other in (data + more, data[:-1]):
        with pytest.raises(RejectedError):
            CODEC.decode_chunk(other)


@given(of_record(records.Chunk), st.data())
@settings(deadline=None, max_examples=300)
def test_mutated_bytes_are_a_record_or_a_reject_never_a_crash(chunk: records.Chunk, data: st.DataObject) -> None:
    framed = bytearray(CODEC.encode(chunk))
    for _ in range(data.draw(st.integers(1, 4))):
        framed[data.draw(st.integers(0, len(framed) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(framed[: data.draw(st.integers(0, len(framed)))])
    for read in (CODEC.decode, CODEC.decode_chunk_header, CODEC.decode_chunk):
        try:
            record = read(cut)
        except RejectedError:
            continue
        assert isinstance(record, RECORDS)
