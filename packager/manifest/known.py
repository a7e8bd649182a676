"""
From which segment on nothing that was said of a channel can be missing.

Origins read ``parts`` and ``reports`` from some time on. Of a segment made around that time they may have heard of one track and
not of another, which they could wait for in vain.
"""

from typing import NamedTuple

from schemas.records import Packaging, Part, Period, SegmentReport
from schemas.units import UnixMs


class Reading(NamedTuple):
    """
    What of ``parts`` and ``reports`` is read, in broker time.

    Attributes:
        from_unix_ms: Everything appended from then on.
        began_unix_ms: When the reading began: since then nothing can have been missed of what starts.
    """

    from_unix_ms: UnixMs
    began_unix_ms: UnixMs


UNTOLD = UnixMs(0)
ALL = Reading(UNTOLD, UNTOLD)


class Known:
    """
    What follows from the facts of one channel, in whatever order they come.

    The chunks of all tracks lie in `media` in the order of time, and nothing is said of a segment before its last chunk is there.
    So once a chunk became durable after reading went back to, all is known of every segment that ends behind it.

    Attributes:
        from_msn: Number of the first segment of which nothing can be missing; None while no evidence was heard.
    """

    def __init__(self, reading: Reading) -> None:
        """
        Args:
            reading: What is read.
        """
        self._reading = reading
        self.from_msn: int | None = None if reading.from_unix_ms else 0

    def hear_period(self, period: Period, at: UnixMs) -> None:
        """A period, appended before anything that is said of its segments."""
        if at >= self._reading.from_unix_ms:
            self._lower(period.first_msn)

    def hear_part(self, part: Part) -> None:
        """A part, made once its last chunk was durable: its segment ends behind it, or with it."""
        if part.durable_unix_ms >= self._reading.from_unix_ms:
            is_last = part.start_ticks + part.duration_ticks >= part.segment_start_ticks + part.segment_ticks
            self._lower(part.msn + is_last)

    def hear_report(self, report: SegmentReport) -> None:
        """A segment that was published."""
        if report.durable_unix_ms >= self._reading.from_unix_ms:
            self._lower(report.msn + 1)

    def hear_start(self, start: Packaging) -> None:
        """A start: what is not made from then on was reported within the planner's memory, which the reading goes back by."""
        if start.since_unix_ms >= self._reading.began_unix_ms:
            self._lower(start.from_msn)

    def _lower(self, msn: int) -> None:
        if self.from_msn is None or msn < self.from_msn:
            self.from_msn = msn
