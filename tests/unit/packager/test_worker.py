"""The loop of a packager between a log and a store that can be told to wait: the past never holds up the live edge."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from structlog.testing import capture_logs

from packager.capacity import Meter
from packager.client import Client, Media
from packager.clock import BrokerClock
from packager.holding import Assigned
from packager.source import Arrival
from packager.store import Publication, Store
from packager.worker import Worker
from schemas.records import Assignment, Chunk, Fault, Level, Outcome, PackagerState, Part, Period, Reason, SegmentReport, SliceProgress
from schemas.settings import PackagerSettings, Settings
from schemas.timeline import PART_SUFFIX, SEGMENT_SUFFIX, gop_start, object_name
from schemas.units import Epoch, Msn, UnixMs
from tests.builders import make_chunks, make_period

WAIT_S = 20.0
LIVE, PAST = make_period("live"), make_period("past")
LIMIT_BYTES = 400_000
FRAME_BYTES = 400
# What the second segment of its video and the first part of that are called, but for their suffixes.
SECOND = object_name("live", 0, "v0", gop_start(LIVE, LIVE.tracks[0], 1), "")


def given(period: Period) -> Assigned:
    tracks = tuple(track.track for track in period.tracks)
    assignment = Assignment(
        slice_id=f"{period.channel}/all/0", copy=0, epoch=Epoch(1), packager_id="p1", life="l1", channel=period.channel, tracks=tracks,
        turn=0, turns=1, level=Level.PARTS, from_msn=Msn(0), media_partition=0, first_offset=0, decision=1, reason=Reason.PLACED,
    )  # fmt: skip
    return Assigned(key=f"{period.channel}/all/0/0", assignment=assignment)


def arrivals(period: Period, segments: int, *, is_live: bool) -> list[Media]:
    """Chunks as they come by one of the two readers."""
    return [
        Media(
            arrival=Arrival(
                slices=(f"{period.channel}/all/0/0",), partition=0, offset=offset, durable_unix_ms=UnixMs(0), key=b"", data=b"",
                is_live=is_live,
            ),
            record=chunk,
        )
        for offset, chunk in enumerate(make_chunks(period, (1,) * segments, frame_bytes=FRAME_BYTES))
    ]  # fmt: skip


@dataclass
class Log:
    """What the worker asks of its client; hands out a little at a time, if it may."""

    live: list[Media]
    past: list[Media]
    given: list[Assigned] = field(default_factory=lambda: [given(LIVE), given(PAST)])
    has_tail: bool = True
    state: PackagerState = PackagerState.READY
    meter: Meter = field(default_factory=Meter)
    clock: BrokerClock = field(default_factory=lambda: BrokerClock(monotonic_s=lambda: 0.0, wall=lambda: UnixMs(0)))
    periods: dict[str, dict[int, Period]] = field(default_factory=lambda: {p.channel: {0: p} for p in (LIVE, PAST)})
    parts: list[Part] = field(default_factory=list)
    reports: list[SegmentReport] = field(default_factory=list)
    told: dict[str, SliceProgress] = field(default_factory=dict)
    polls: int = 0

    def poll(self, timeout_s: float, *, read_live: bool, read_past: bool) -> Iterator[Assigned | Media]:
        self.polls += 1
        if self.polls == 1:
            return iter(self.given)
        batch: list[Assigned | Media] = []
        for queue, may in ((self.live, read_live), (self.past, read_past)):
            batch += queue[:4] if may else []
            del queue[: 4 if may else 0]
        if not batch:
            time.sleep(timeout_s)
        return iter(batch)

    def announce(self, parts: tuple[Part, ...]) -> None:
        self.parts += parts

    def report(self, segments: tuple[SegmentReport, ...]) -> None:
        self.reports += segments

    def progress(self, key: str, progress: SliceProgress) -> None:
        self.told[key] = progress

    def flush(self, timeout_s: float) -> bool:
        return True

    def beat(self) -> None: ...
    def follow(self, key: str, assignment: Assignment) -> None: ...
    def leave(self, key: str) -> None: ...
    def pause(self, key: str) -> None: ...
    def pass_over(self, arrival: Arrival) -> None: ...


@dataclass
class Shelf:
    """A store in memory whose door for one channel is shut until told otherwise."""

    shut: str
    opened: threading.Event = field(default_factory=threading.Event)
    names: list[str] = field(default_factory=list)
    broken: dict[str, Exception] = field(default_factory=dict)

    def create_if_absent(self, name: str, pieces: Sequence[bytes]) -> Publication:
        if name.startswith(f"{self.shut}/"):
            assert self.opened.wait(WAIT_S)
        if name in self.broken:
            raise self.broken[name]
        self.names.append(name)
        return Publication.CREATED


def run(log: Log, shelf: Shelf, *, until: Callable[[], bool], retry_ms: int = 30_000) -> None:
    """The worker at work until something is so; then the door of the store opens and it leaves."""
    settings = Settings(packager=PackagerSettings(tail_bytes_max=LIMIT_BYTES, drain_ms=100, publish_retry_ms=retry_ms))
    deadline = time.monotonic() + WAIT_S

    def is_over() -> bool:
        assert time.monotonic() < deadline, (len(log.parts), len(log.reports))
        if until():
            shelf.opened.set()
        return shelf.opened.is_set()

    Worker(settings, cast(Client, log), cast(Store, shelf)).run(must_drain=lambda: False, must_leave=is_over)


def test_the_live_edge_goes_on_while_the_store_keeps_the_past_waiting() -> None:
    log, shelf = Log(arrivals(LIVE, 20, is_live=True), arrivals(PAST, 40, is_live=False)), Shelf("past")
    run(log, shelf, until=lambda: len(log.reports) == 2 * 20)
    assert {report.channel for report in log.reports} == {"live"}
    assert len(log.parts) == 2 * 2 * 20
    assert log.told["live/all/0/0"].next_msn == 20


def test_the_past_reads_on_within_its_own_share_of_memory() -> None:
    log, shelf = Log(arrivals(LIVE, 2, is_live=True), arrivals(PAST, 40, is_live=False)), Shelf("past")
    segment_bytes = sum(len(cast(Chunk, media.record).payload) for media in log.past) // 40
    polls = 200
    run(log, shelf, until=lambda: log.polls > polls)
    taken = 40 * 8 - len(log.past)
    # Parts and segments of what was read are on their way: twice its bytes, and what one hand-over brings beyond the limit.
    assert 0 < taken // 8 * 2 * segment_bytes <= LIMIT_BYTES // 4 + 4 * segment_bytes
    assert log.past, "it waits"


def test_the_past_is_not_bounded_in_time_when_nothing_is_live() -> None:
    log, shelf = Log([], arrivals(PAST, 10, is_live=False), has_tail=False), Shelf("none")
    run(log, shelf, until=lambda: len(log.reports) == 2 * 10)
    assert {report.msn for report in log.reports} == set(range(10))


def test_without_parts_there_is_no_announcement_and_no_part_work() -> None:
    whole = replace(given(LIVE).assignment, level=Level.SEGMENTS)
    log, shelf = Log(arrivals(LIVE, 2, is_live=True), [], given=[Assigned(key="live/all/0/0", assignment=whole)]), Shelf("none")
    run(log, shelf, until=lambda: len(log.reports) == 4)
    assert log.parts == []
    assert log.meter.read().part_ms == 0
    assert not [name for name in shelf.names if name.endswith(PART_SUFFIX)]


def test_a_store_that_does_not_return_is_told_of_while_the_loop_goes_on() -> None:
    log, shelf = Log(arrivals(LIVE, 12, is_live=True), arrivals(PAST, 4, is_live=False)), Shelf("live")
    run(log, shelf, until=lambda: sum(report.channel == "live" for report in log.reports) >= 4, retry_ms=50)
    assert {(report.outcome, report.fault) for report in log.reports if report.channel == "live"} == {(Outcome.FAILED, Fault.STORE)}
    assert "does not answer" in next(report.error for report in log.reports if report.channel == "live")
    assert log.told["live/all/0/0"].next_msn == 0, "nobody is told that it was made"
    assert log.polls > 5, "it is polled, so it beats"


def test_what_nobody_foresaw_is_a_failed_segment_and_not_the_end_of_the_packager() -> None:
    log, shelf = Log(arrivals(LIVE, 4, is_live=True), [], given=[given(LIVE)]), Shelf("none")
    shelf.broken = {SECOND + PART_SUFFIX: IndexError("of a library"), SECOND + SEGMENT_SUFFIX: TypeError("of another")}
    with capture_logs() as told:
        run(log, shelf, until=lambda: len(log.reports) == 2 * 4)
    failed = [report for report in log.reports if report.outcome is Outcome.FAILED]
    assert [(report.track, report.msn, report.fault, report.error) for report in failed] == [
        ("v0", 1, Fault.OWN, "TypeError('of another')")
    ]
    assert log.told["live/all/0/0"].next_msn == 1, "another makes it"
    assert len(log.parts) == 2 * 2 * 4 - 1
    unforeseen = {entry["name"]: entry["exc_info"] for entry in told if entry["event"] == "unforeseen"}
    assert unforeseen == shelf.broken
    assert all(error.__traceback__ for error in unforeseen.values())


def test_a_hand_that_lacks_memory_ends_the_packager() -> None:
    log, shelf = Log(arrivals(LIVE, 4, is_live=True), [], given=[given(LIVE)]), Shelf("none")
    shelf.broken = {SECOND + SEGMENT_SUFFIX: MemoryError()}
    with pytest.raises(MemoryError):
        run(log, shelf, until=lambda: len(log.reports) == 2 * 4)
