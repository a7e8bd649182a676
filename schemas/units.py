"""Integers with a meaning, and their only conversions; rounding is stated at each."""

from typing import NewType

UnixMs = NewType("UnixMs", int)
"""Wall time in milliseconds since the epoch; from the broker's clock wherever a decision depends on it."""
Ms = NewType("Ms", int)
"""A span of time in milliseconds."""
Ticks = NewType("Ticks", int)
"""Media time in units of one track's timescale, counted from the channel's first instant (tick 0)."""
Timescale = NewType("Timescale", int)
"""Ticks per second of one track."""
GopOrdinal = NewType("GopOrdinal", int)
"""Number of an IDR instant within a period, from 0."""
Msn = NewType("Msn", int)
"""Media sequence number: counts the segments of a channel over all its periods, from 0."""
Epoch = NewType("Epoch", int)
"""Number of a slice's assignment; only rises."""


def ticks_from_ms(span: int, timescale: Timescale) -> Ticks:
    """
    Ticks nearest to a span of milliseconds; halves round up.

    >>> ticks_from_ms(1_500, Timescale(90_000))
    135000
    """
    return Ticks((span * timescale * 2 + 1_000) // 2_000)


def ms_from_ticks(ticks: int, timescale: Timescale) -> Ms:
    """
    Milliseconds nearest to a span of ticks; halves round up.

    >>> ms_from_ticks(1_001, Timescale(30_000))
    33
    """
    return Ms((ticks * 2_000 + timescale) // (2 * timescale))


def ms_from_ticks_up(ticks: int, timescale: Timescale) -> Ms:
    """
    The smallest whole number of milliseconds not shorter than a span of ticks.

    >>> ms_from_ticks_up(25_600, Timescale(48_000))
    534
    """
    return Ms(-(-ticks * 1_000 // timescale))
