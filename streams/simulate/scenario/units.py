"""Spans of time as people write them: a number and a unit."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

UNITS_MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
SPAN = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|min|h|d)")


def span_ms(value: Any) -> int:
    """
    Milliseconds of a span such as ``90 s``.

    Raises:
        ValueError: It is no number with a unit, or no whole number of milliseconds.

    >>> span_ms("1.5 h")
    5400000
    """
    found = SPAN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected a time with its unit (ms, s, min, h, d), such as '500 ms' or '24 h'")
    ms = float(found[1]) * UNITS_MS[found[2]]
    if ms != int(ms):
        raise ValueError("expected whole milliseconds")
    return int(ms)


Span = Annotated[int, BeforeValidator(span_ms), Field(gt=0)]
"""Longer than nothing."""
Moment = Annotated[int, BeforeValidator(span_ms), Field(ge=0)]
"""Since the beginning."""
