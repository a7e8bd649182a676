"""Where in the log reading begins or ends, as people write it: an offset, a time, or a span before now."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.errors import UserError
from schemas.units import UnixMs

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SPAN = re.compile(r"-(\d+(?:\.\d+)?)(ms|s|m|h|d)")


@dataclass(frozen=True, slots=True)
class Offset:
    """The record with this offset, in every partition."""

    value: int


@dataclass(frozen=True, slots=True)
class Time:
    """The first record appended at or after this broker time."""

    unix_ms: UnixMs


Position = Offset | Time


def parse_position(text: str, *, now_unix_ms: UnixMs) -> Position:
    """
    The position that a text names.

    Args:
        text: An offset, an ISO 8601 time (UTC unless it says otherwise), or a span before now in ms, s, m, h or d.
        now_unix_ms: What spans count from.

    Raises:
        UserError: It is none of these.

    >>> parse_position("1200", now_unix_ms=UnixMs(0))
    Offset(value=1200)
    >>> parse_position("-5m", now_unix_ms=UnixMs(1_000_000))
    Time(unix_ms=700000)
    >>> parse_position("1970-01-01T00:00:02.5", now_unix_ms=UnixMs(0))
    Time(unix_ms=2500)
    """
    if text.isdecimal():
        return Offset(int(text))
    if match := SPAN.fullmatch(text):
        return Time(UnixMs(now_unix_ms - round(float(match[1]) * UNITS_MS[match[2]])))
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(
            f"{text!r} names no place in the log", do="write an offset (1200), a time (2026-01-31T18:00:00) or a span (-5m)"
        ) from error
    return Time(UnixMs(round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000)))
