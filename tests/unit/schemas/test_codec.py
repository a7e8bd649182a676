"""Framing: single-object encoding by default, Confluent framing with a registry, both always readable."""

import pytest

from schemas.codec import RECORDS, Codec, schema_text
from schemas.errors import RejectedError
from schemas.records import MarkKind, MediaMark, Scaling

MARK = MediaMark(channel="news", life="l", kind=MarkKind.CHANNEL_END, period=2)


class FakeRegistry:
    """A registry that numbers schemas as they come."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def id_of(self, name: str, schema: str) -> int:
        assert name in {record.__name__ for record in RECORDS}
        self.texts.append(schema)
        return len(self.texts)

    def schema_of(self, schema_id: int) -> str:
        return self.texts[schema_id - 1]


def test_a_record_begins_with_the_marker_and_fingerprint_of_single_object_encoding() -> None:
    assert Codec().encode(MARK)[:2] == b"\xc3\x01"


def test_with_a_registry_a_record_carries_the_registered_id() -> None:
    registry = FakeRegistry()
    framed = Codec(registry).encode(MARK)
    assert framed[:5] == b"\x00\x00\x00\x00\x01"
    assert Codec(registry).decode(framed) == MARK


def test_records_of_both_framings_are_read_side_by_side() -> None:
    assert Codec(FakeRegistry()).decode(Codec().encode(MARK)) == MARK


def test_a_registered_schema_that_is_none_of_ours_is_refused() -> None:
    registry = FakeRegistry()
    registry.texts.append('{"type": "record", "name": "Stranger", "fields": []}')
    with pytest.raises(RejectedError, match="none of ours"):
        Codec(registry).decode(b"\x00\x00\x00\x00\x01")


def test_the_header_of_another_record_is_refused() -> None:
    with pytest.raises(RejectedError, match="where a chunk is expected"):
        Codec().decode_chunk_header(Codec().encode(_scaling()))


def test_the_header_read_of_a_mark_gives_the_mark() -> None:
    assert Codec().decode_chunk_header(Codec().encode(MARK)) == MARK


def test_every_record_has_a_schema_of_its_own() -> None:
    assert len({schema_text(record) for record in RECORDS}) == len(RECORDS)


def _scaling() -> Scaling:
    from schemas.records import Reason
    from schemas.units import UnixMs

    return Scaling(pool=0, wanted=1, at_horizon=1, alive=1, since_unix_ms=UnixMs(0), decision=1, reason=Reason.STEADY)
