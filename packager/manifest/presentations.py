"""The presentations of all channels: gives each record to the channels it speaks of."""

from packager.manifest.known import ALL, UNTOLD, Reading
from packager.manifest.presentation import Presentation
from schemas.records import Packaging, Part, Parts, Period, PeriodEnd, Reports, Void
from schemas.units import UnixMs


class Presentations:
    """All channels."""

    def __init__(self, reading: Reading = ALL) -> None:
        """
        Args:
            reading: What of `parts` and `reports` is read.
        """
        self._reading = reading
        self.channels: dict[str, Presentation] = {}

    def apply(self, record: object, at: UnixMs = UNTOLD) -> set[str]:
        """
        Folds one record.

        Args:
            record: It.
            at: Broker time of it; without it a period is no evidence of what is known.

        Returns:
            Channels it may have changed.

        Raises:
            TypeError: The record is none of those a presentation is made of.
        """
        match record:
            case Period():
                self._of(record.channel).add_period(record, at)
            case PeriodEnd():
                self._of(record.channel).add_end(record)
            case Parts():
                return {part.channel for part in self.add_parts(record)}
            case Reports():
                for report in record.segments:
                    self._of(report.channel).add_report(report)
                return {report.channel for report in record.segments}
            case Packaging():
                self._of(record.channel).add_packaging(record)
            case Void():
                self._of(record.channel).add_void(record)
            case _:
                raise TypeError(f"a {type(record).__name__} is no part of a presentation")
        return {record.channel}

    def add_parts(self, record: Parts) -> list[Part]:
        """Folds parts; those that are news."""
        return [part for part in record.parts if self._of(part.channel).add_part(part)]

    def forget(self, channel: str, period: int, *, is_end: bool) -> set[str]:
        """A record of ``channels`` was deleted; a channel without any period is gone."""
        held = self.channels.get(channel)
        if held is None:
            return set()
        held.forget(period, is_end=is_end)
        if not held.periods:
            del self.channels[channel]
        return {channel}

    def _of(self, channel: str) -> Presentation:
        return self.channels.setdefault(channel, Presentation(channel, self._reading))

    def get(self, channel: str) -> Presentation | None:
        """The channel's presentation, None if no period of it is known."""
        held = self.channels.get(channel)
        return held if held is not None and held.periods else None
