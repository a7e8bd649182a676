"""A packager on a real Kafka, fed by hand: what it stores, says, and does when something is wrong."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.kafka import LocalBroker
from packager.boxes import check_chunk
from packager.cutter import CutPart, CutSegment, Scope
from packager.slicing import SliceCutter
from schemas.records import Chunk, MediaMark, Outcome, PackagerState, Period
from schemas.units import Msn, UnixMs
from tests.broker.packaging import Hall, until
from tests.builders import make_chunks, make_period, make_start


@pytest.fixture
def hall(kafka: LocalBroker, tmp_path: Path) -> Iterator[Hall]:
    made = Hall(kafka, tmp_path)
    yield made
    made.close()


def cut(period: Period, records: list[Chunk | MediaMark]) -> dict[str, bytes]:
    """The objects that the log asks for."""
    cutter = SliceCutter(Scope(tracks=frozenset(t.track for t in period.tracks), from_msn=Msn(0)), check=check_chunk)
    cuts = [
        cut
        for offset, record in enumerate(records)
        for cut in cutter.feed(record, offset=offset, durable_unix_ms=UnixMs(0), periods={period.period: period})
    ]
    return {cut.name: b"".join(cut.pieces) for cut in cuts if isinstance(cut, CutPart | CutSegment)}


def test_a_packager_publishes_what_it_is_given_and_says_so(hall: Hall) -> None:
    period = make_period(first_offset=0)
    log: list[Chunk | MediaMark] = [make_start(period), *make_chunks(period, (1, 2, 4))]
    hall.configure(period)
    hall.start("p1")
    hall.assign(period, hall.registered("p1"))
    hall.encode(period, log)
    reports = hall.wait_for_reports(6)
    assert hall.objects() == cut(period, log)
    assert [(r.track, r.msn, r.part_count, r.chunk_count, r.outcome) for r in reports] == [
        (track, msn, 2 * gops, 4 * gops, Outcome.PUBLISHED) for msn, gops in enumerate((1, 2, 4)) for track in ("v0", "a0")
    ]
    parts = hall.parts()
    assert [(p.track, p.msn, p.index) for p in parts] == [
        (track, msn, index) for msn, gops in enumerate((1, 2, 4)) for index in range(2 * gops) for track in ("v0", "a0")
    ]
    assert all(part.durable_unix_ms > 0 and len(part.digest) == 16 for part in parts)
    assert until(lambda: [b for b in hall.beats("p1") if b.slices and b.slices[0].next_msn == 3], what="progress")
    assert hall.rejects() == []


def test_a_packager_that_drains_finishes_its_segment_and_leaves(kafka: LocalBroker, tmp_path: Path) -> None:
    hall = Hall(kafka, tmp_path, drain_ms=3_000)
    period = make_period()
    chunks = make_chunks(period, (2, 2))
    hall.configure(period)
    process = hall.start("p1")
    hall.assign(period, hall.registered("p1"))
    hall.encode(period, [make_start(period), *chunks[:20]])
    hall.wait_for_reports(2)
    process.send_signal(signal.SIGTERM)
    until(lambda: hall.state_of("p1") is PackagerState.DRAINING, what="drain")
    hall.encode(period, chunks[20:])
    assert process.wait(10) == 0
    assert len(hall.reports()) == 4
    assert hall.state_of("p1") is PackagerState.GONE
