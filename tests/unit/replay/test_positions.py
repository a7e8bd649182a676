"""Places in the log as people write them."""

import pytest

from schemas.errors import UserError
from schemas.units import UnixMs
from streams.replay.positions import Offset, Position, Time, parse_position

NOW = UnixMs(10_000_000)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0", Offset(0)),
        ("-90s", Time(UnixMs(NOW - 90_000))),
        ("-1.5h", Time(UnixMs(NOW - 5_400_000))),
        ("-250ms", Time(UnixMs(NOW - 250))),
        ("1970-01-01", Time(UnixMs(0))),
        ("1970-01-01T01:00:00+01:00", Time(UnixMs(0))),
        ("1970-01-01 00:00:01", Time(UnixMs(1_000))),
    ],
)
def test_offsets_times_and_spans_are_understood(text: str, place: Position) -> None:
    assert parse_position(text, now_unix_ms=NOW) == place


@pytest.mark.parametrize("text", ["", "now", "-5", "5m", "-5y", "1.5", "2026-13-01"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UserError, match=r"(?s)names no place in the log.*-5m"):
        parse_position(text, now_unix_ms=NOW)
