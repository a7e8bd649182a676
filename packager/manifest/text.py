"""Times as manifests write them."""

from datetime import UTC, datetime, timedelta

from schemas.units import UnixMs


def decimal(ticks: int, timescale: int) -> str:
    """
    Ticks as seconds with six digits, rounded in integers.

    >>> decimal(25_000, 12_800)
    '1.953125'
    """
    micros = (ticks * 2_000_000 + timescale) // (2 * timescale)
    return f"{micros // 1_000_000}.{micros % 1_000_000:06}"


def date_time(unix_ms: UnixMs) -> str:
    """
    Wall time as RFC 3339 in UTC.

    >>> date_time(UnixMs(1_700_000_000_123))
    '2023-11-14T22:13:20.123Z'
    """
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=unix_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
