"""The smallest packager, beside a client that hands out what a test puts in."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from packager import minimal
from packager.client import Arrival, Assigned, Event, Media
from schemas.records import Assignment, Chunk, Level, MediaMark, Outcome, Period, Reason, SegmentReport
from schemas.settings import Settings, StoreSettings
from schemas.units import Epoch, Msn, UnixMs
from tests.builders import make_chunks, make_period, make_start

KEY = "news/all/0/0"


def given(period: Period) -> Assignment:
    return Assignment(
        slice_id=f"{period.channel}/all/0", copy=0, epoch=Epoch(1), packager_id="p1", life="l1", channel=period.channel,
        tracks=tuple(track.track for track in period.tracks), turn=0, turns=1, level=Level.SEGMENTS, from_msn=Msn(0), media_partition=0,
        first_offset=0, decision=1, reason=Reason.PLACED,
    )  # fmt: skip


@dataclass
class Log:
    """A channel's partition, read in batches as `Client` reads it; its period becomes known after some of them."""

    period: Period
    records: list[Chunk | MediaMark]
    known_after: int
    next_offset: int | None = None
    polls: int = 0
    periods: dict[str, dict[int, Period]] = field(default_factory=dict)
    reports: list[SegmentReport] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def poll(self, _: float) -> Iterator[Event]:
        self.polls += 1
        if self.polls > self.known_after:
            self.periods = {self.period.channel: {self.period.period: self.period}}
        if self.next_offset is None:
            yield Assigned(key=KEY, assignment=given(self.period))
            return
        first, self.next_offset = self.next_offset, min(self.next_offset + 5, len(self.records))
        for offset in range(first, self.next_offset):
            arrival = Arrival(slices=(KEY,), partition=0, offset=offset, durable_unix_ms=UnixMs(0), key=b"news", data=b"")
            yield Media(arrival=arrival, record=self.records[offset])

    def follow(self, key: str, assignment: Assignment, *, offset: int | None = None) -> None:
        self.next_offset = assignment.first_offset if offset is None else offset

    def announce(self, _: object) -> None: ...

    def report(self, segments: tuple[SegmentReport, ...]) -> None:
        self.reports += segments


def test_nothing_is_lost_of_a_batch_whose_period_becomes_known_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    period = make_period()
    records: list[Chunk | MediaMark] = [make_start(period), *make_chunks(period, (1, 1))]
    log = Log(period, records, known_after=4)
    made: Any = lambda *_, **__: log  # noqa: E731
    monkeypatch.setattr(minimal, "Client", made)
    settings = Settings(store=StoreSettings(directory=tmp_path))
    minimal.serve(settings, "p1", must_stop=lambda: log.polls > 4 and log.next_offset == len(records))
    told = sorted((report.track, report.msn, report.outcome) for report in log.reports)
    assert told == sorted((track.track, msn, Outcome.PUBLISHED) for track in period.tracks for msn in (0, 1))
