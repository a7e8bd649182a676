"""A packager on a real Kafka, fed by hand: what it stores, says, and does when something is wrong."""

import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.kafka import LocalBroker
from packager.boxes import check_chunk
from packager.cutter import CutPart, CutSegment, Scope
from packager.minimal import serve
from packager.slicing import SliceCutter
from schemas import topics
from schemas.records import Chunk, Fault, MediaMark, Outcome, PackagerState, Period
from schemas.units import Msn, UnixMs
from tests.broker.packaging import Hall, until
from tests.builders import make_chunks, make_period, make_start

MakeHall = Callable[..., Hall]


@pytest.fixture
def make_hall(kafka: LocalBroker, tmp_path: Path) -> Iterator[MakeHall]:
    """`make_hall(**packager_settings)`: at the end its packagers are stopped."""
    halls: list[Hall] = []

    def make(**options: Any) -> Hall:
        halls.append(Hall(kafka, tmp_path, **options))
        return halls[-1]

    yield make
    for hall in halls:
        hall.close()


def cut(period: Period, records: list[Chunk | MediaMark]) -> dict[str, bytes]:
    """The objects that the log asks for."""
    cutter = SliceCutter(Scope(tracks=frozenset(t.track for t in period.tracks), from_msn=Msn(0)), check=check_chunk)
    cuts = [
        cut
        for offset, record in enumerate(records)
        for cut in cutter.feed(record, offset=offset, durable_unix_ms=UnixMs(0), periods={period.period: period})
    ]
    return {cut.name: b"".join(cut.pieces) for cut in cuts if isinstance(cut, CutPart | CutSegment)}


def test_a_packager_publishes_what_it_is_given_and_says_so(make_hall: MakeHall) -> None:
    hall, period = make_hall(), make_period()
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


def test_a_packager_that_drains_finishes_its_segment_and_leaves(make_hall: MakeHall) -> None:
    hall, period = make_hall(drain_ms=3_000), make_period()
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
    assert [told.next_msn for told in hall.beats("p1")[-1].slices] == [2], "its farewell says how far it was"


def test_after_a_kill_the_next_packager_goes_on_byte_for_byte(make_hall: MakeHall) -> None:
    hall, period = make_hall(), make_period(tracks=("v0", "v1", "a0"))
    log: list[Chunk | MediaMark] = [make_start(period), *make_chunks(period, (2, 1, 4, 2))]
    hall.configure(period)
    first = hall.start("p1")
    hall.start("p2")
    hall.assign(period, hall.registered("p1"))
    hall.encode(period, log[:50])
    reported = hall.wait_for_reports(6)
    first.kill()
    hall.encode(period, log[50:70])
    hall.assign(period, hall.registered("p2"), epoch=2, from_msn=Msn(max(r.msn for r in reported)), first_offset=1)
    hall.encode(period, log[70:])
    reports = hall.wait_for_reports(6 + 9)
    assert hall.objects() == cut(period, log)
    assert {(r.track, r.msn) for r in reports} == {(track.track, msn) for track in period.tracks for msn in range(4)}
    assert {r.outcome for r in reports} == {Outcome.PUBLISHED}
    assert hall.rejects() == []


def test_a_slice_that_moves_is_handed_over_at_its_segment(make_hall: MakeHall) -> None:
    hall, period = make_hall(), make_period()
    log: list[Chunk | MediaMark] = [make_start(period), *make_chunks(period, (1, 1, 1, 1))]
    hall.configure(period)
    hall.start("p1")
    hall.start("p2")
    hall.assign(period, hall.registered("p1"))
    hall.encode(period, log[:12])
    hall.wait_for_reports(2)
    hall.assign(period, hall.registered("p2"), epoch=2, from_msn=Msn(2), first_offset=1)
    hall.encode(period, log[12:])
    reports = hall.wait_for_reports(8)
    assert sorted((r.msn, r.epoch) for r in reports) == [(msn, 1 if msn < 2 else 2) for msn in range(4) for _ in ("v0", "a0")]
    until(lambda: not hall.beats("p1")[-1].slices, what="empty hands")
    assert hall.objects() == cut(period, log)


def test_what_is_no_chunk_goes_to_rejects_with_its_bytes_and_costs_its_segment_alone(make_hall: MakeHall) -> None:
    hall, period = make_hall(), make_period()
    chunks = make_chunks(period, (1, 1))
    truncated, foreign = replace(chunks[2], payload=chunks[2].payload[:-7]), replace(chunks[2], payload=chunks[3].payload)
    unknown, half = b"\xc3\x01" + bytes(20), hall.codec.encode(chunks[2])[:-9]
    bad: list[Chunk | bytes] = [truncated, foreign, unknown, half]
    hall.configure(period)
    hall.start("p1")
    hall.assign(period, hall.registered("p1"))
    offsets = hall.encode(period, [make_start(period), *chunks[:2], *bad, *chunks[3:]])
    reports = hall.wait_for_reports(4)
    assert {(r.track, r.msn): (r.outcome, r.fault) for r in reports} == {
        ("v0", 0): (Outcome.FAILED, Fault.INPUT),
        ("a0", 0): (Outcome.PUBLISHED, None),
        ("v0", 1): (Outcome.PUBLISHED, None),
        ("a0", 1): (Outcome.PUBLISHED, None),
    }
    rejects = sorted(hall.rejects(), key=lambda r: r.source_offset)
    assert [r.source_offset for r in rejects] == [*offsets[3:7], offsets[8]]
    assert [r.payload for r in rejects[:4]] == [x if isinstance(x, bytes) else hall.codec.encode(x) for x in bad]
    for reject, text in zip(rejects, ("truncated chunk", "contradicts", "unknown schema", "not a whole Chunk", "are missing"), strict=True):
        assert text in reject.error


def test_a_full_store_is_reported_in_words_and_what_it_refused_is_made_once_there_is_room(make_hall: MakeHall) -> None:
    hall, period = make_hall(publish_retry_ms=300), make_period()
    log: list[Chunk | MediaMark] = [make_start(period), *make_chunks(period, (1, 1))]
    hall.configure(period)
    process = hall.start("p1")
    hall.assign(period, hall.registered("p1"))
    hall.encode(period, log[:9])
    hall.wait_for_reports(2)
    hall.fill_store()
    hall.encode(period, log[9:])
    refused = hall.wait_for_reports(4)[2:]
    assert {(r.track, r.msn, r.outcome, r.fault) for r in refused} == {(t, 1, Outcome.FAILED, Fault.STORE) for t in ("v0", "a0")}
    assert "is full" in refused[0].error
    assert process.poll() is None
    hall.free_store()
    hall.assign(period, hall.registered("p1"), epoch=2, from_msn=Msn(1), first_offset=9)
    again = hall.wait_for_reports(6)[4:]
    assert {(r.track, r.msn, r.epoch, r.outcome) for r in again} == {(t, 1, 2, Outcome.PUBLISHED) for t in ("v0", "a0")}
    assert hall.objects() == cut(period, log)


def test_a_slow_store_makes_reading_wait_not_memory_grow(make_hall: MakeHall) -> None:
    limit = 4 * 2**20
    hall, period = make_hall(tail_bytes_max=limit, fetch_bytes_max=2**20), make_period()
    chunks = make_chunks(period, (1,) * 45, frame_bytes=24_000)
    hall.configure(period)
    hall.fill(period, [make_start(period), *chunks])
    hall.start("p1", store_delay_s=0.1)
    hall.assign(period, hall.registered("p1"))
    reports = hall.wait_for_reports(90)
    assert {r.outcome for r in reports} == {Outcome.PUBLISHED}
    used = [beat.use.memory_bytes for beat in hall.beats("p1")]
    # What is held, fetched ahead and on its way to the store; the log is many times that.
    assert max(used) - used[0] < 4 * limit < sum(len(chunk.payload) for chunk in chunks) // 4
    assert len(used) >= 4, "it beats while the store is slow"


def test_a_record_of_another_kind_among_the_assignments_is_put_aside_and_takes_no_work_away(make_hall: MakeHall) -> None:
    hall, period = make_hall(), make_period()
    log: list[Chunk | MediaMark] = [make_start(period), *make_chunks(period, (1, 1))]
    hall.configure(period)
    hall.start("p1")
    given = hall.assign(period, hall.registered("p1"))
    hall.encode(period, log[:9])
    hall.wait_for_reports(2)
    hall.send(topics.ASSIGNMENTS, topics.slice_key(given.slice_id, given.copy), period)
    (reject,) = until(hall.rejects, what="reject")
    assert (reject.source_topic, reject.source_key) == (topics.ASSIGNMENTS.name(hall.settings.kafka), b"news/all/0/0")
    assert "is no assignment" in reject.error
    hall.encode(period, log[9:])
    hall.wait_for_reports(4)
    assert hall.objects() == cut(period, log)


def test_of_two_packagers_of_one_name_the_older_ends_and_says_why(make_hall: MakeHall) -> None:
    hall = make_hall()
    older = hall.start("p1")
    hall.registered("p1")
    younger = hall.start("p1")
    hall.registered("p1", lives=2)
    assert older.wait(10) == 2
    assert "started a second time" in hall.log(older, "p1")
    assert younger.poll() is None


def test_a_packager_that_died_of_a_pause_comes_back_as_another_life_that_is_given_work(make_hall: MakeHall) -> None:
    hall = make_hall()
    period = make_period()
    log: list[Chunk | MediaMark] = [make_start(period), *make_chunks(period, (1, 1, 1, 1))]
    hall.configure(period)
    paused = hall.start("p1")
    hall.start("p2")
    first = hall.registered("p1")
    hall.assign(period, first)
    hall.encode(period, log[:12])
    hall.wait_for_reports(2)
    paused.send_signal(signal.SIGSTOP)
    hall.encode(period, log[12:17])
    hall.assign(period, hall.registered("p2"), epoch=2, from_msn=Msn(1), first_offset=1)
    hall.wait_for_reports(4)
    hall.send(topics.ASSIGNMENTS, topics.life_key("p1", first.life), None)
    paused.send_signal(signal.SIGCONT)
    again = hall.registered("p1", lives=2)
    assert again.life != first.life
    hall.assign(period, again, epoch=3, from_msn=Msn(2), first_offset=1)
    hall.encode(period, log[17:])
    until(lambda: {3} == {r.epoch for r in hall.reports() if r.msn == 3}, what="what the new life makes")
    assert hall.objects() == cut(period, log)
    assert paused.poll() is None
    after = [beat.life for beat in hall.beats("p1")]
    assert after == sorted(after, key=lambda life: life != first.life), "the old life says nothing more"


def test_a_packager_that_is_told_of_its_death_comes_back_as_another_life_though_it_holds_nothing(make_hall: MakeHall) -> None:
    hall = make_hall()
    process = hall.start("p1")
    life = hall.registered("p1").life
    hall.send(topics.ASSIGNMENTS, topics.life_key("p1", "another"), None)
    hall.send(topics.ASSIGNMENTS, topics.life_key("p1", life), None)
    assert hall.registered("p1", lives=2).life != life
    assert f"life {life} of packager p1 was declared dead" in hall.log(process, "p1")


def test_a_period_that_becomes_known_late_is_packaged_all_the_same(make_hall: MakeHall) -> None:
    hall, period = make_hall(), make_period()
    log: list[Chunk | MediaMark] = [make_start(period), *make_chunks(period, (1, 1))]
    hall.start("p1")
    hall.assign(period, hall.registered("p1"))
    hall.encode(period, log)
    until(lambda: [b for b in hall.beats("p1") if b.slices], what="slice in hand")
    hall.configure(period)
    hall.wait_for_reports(4)
    assert hall.objects() == cut(period, log)


def test_kafka_may_go_away_and_come_back(own_kafka: LocalBroker, tmp_path: Path) -> None:
    hall, period = Hall(own_kafka, tmp_path), make_period()
    log: list[Chunk | MediaMark] = [make_start(period), *make_chunks(period, (1, 1, 1))]
    try:
        hall.configure(period)
        process = hall.start("p1")
        hall.assign(period, hall.registered("p1"))
        hall.encode(period, log[:10])
        hall.wait_for_reports(2)
        own_kafka.kill()
        own_kafka.start()
        hall.encode(period, log[10:])
        hall.wait_for_reports(6)
        assert hall.objects() == cut(period, log)
        assert process.poll() is None
    finally:
        hall.close()


def test_the_smallest_packager_leaves_when_told_to_although_it_never_had_work(make_hall: MakeHall) -> None:
    hall, over = make_hall(), threading.Event()
    thread = threading.Thread(target=serve, args=(hall.settings, "idle"), kwargs={"must_stop": over.is_set}, daemon=True)
    thread.start()
    until(lambda: hall.beats("idle"), what="registration")
    over.set()
    thread.join(10)
    assert not thread.is_alive()
    assert hall.beats("idle")[-1].state is PackagerState.GONE


def test_the_smallest_packager_publishes_announces_and_says_goodbye(make_hall: MakeHall) -> None:
    hall, period = make_hall(), make_period()
    hall.configure(period)
    hall.encode(period, [make_start(period), *make_chunks(period, (1, 1))])
    over = threading.Event()
    thread = threading.Thread(target=serve, args=(hall.settings, "mine"), kwargs={"must_stop": over.is_set})
    thread.start()
    try:
        until(lambda: hall.beats("mine"), what="registration")
        hall.assign(period, hall.registered("mine"))
        until(lambda: len(hall.reports()) == 2 * len(period.tracks), what="reports")
    finally:
        over.set()
        thread.join()
    assert {report.outcome for report in hall.reports()} == {Outcome.PUBLISHED}
    assert hall.beats("mine")[-1].state is PackagerState.GONE
