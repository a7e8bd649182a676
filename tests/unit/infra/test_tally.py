"""What a summary counts, from a handful of records."""

from dataclasses import replace
from typing import Any

from infra.summary import Outside, figures, is_clean
from infra.tally import Tally
from schemas import topics
from schemas.records import (
    Action,
    Assignment,
    Fault,
    Gop,
    GopTrack,
    Level,
    Outcome,
    Packaging,
    Part,
    Parts,
    Period,
    PeriodEnd,
    Reason,
    Reports,
    SegmentReport,
    TrackKind,
    Void,
)
from schemas.records import Track as Line
from schemas.timeline import make_grid
from schemas.topics import Topic
from schemas.units import Epoch, GopOrdinal, Ms, Msn, Ticks, Timescale, UnixMs
from streams.replay.entries import Entry

TRACKS = ("v0", "a0")


def entry(record: Any, *, topic: Topic = topics.REPORTS, key: str = "a", at: int = 0, offset: int = 0) -> Entry:
    return Entry(topic=topic, partition=0, offset=offset, at_unix_ms=UnixMs(at), key=key, record=record)


def tallied(*entries: Entry) -> Tally:
    tally = Tally()
    for each in entries:
        tally.absorb(each)
    return tally


def period() -> Period:
    lines = tuple(
        Line(
            track=name,
            kind=TrackKind.VIDEO if name[0] == "v" else TrackKind.AUDIO,
            codec="x",
            timescale=Timescale(25),
            frame_ticks=Ticks(1),
            start_ticks=Ticks(0),
            bandwidth_bps=1,
            init=b"",
        )
        for name in TRACKS
    )
    return Period(
        channel="a",
        period=0,
        life="w",
        pool=0,
        media_partition=0,
        tracks=lines,
        frame_rate_num=25,
        frame_rate_den=1,
        grid=make_grid(25, part_frames=13, chunks_per_part=2),
        anchor_unix_ms=UnixMs(0),
        zero_unix_ms=UnixMs(0),
        first_msn=Msn(0),
        discontinuity=0,
        target_duration_ms=Ms(4_000),
        part_target_ms=Ms(520),
        publish_allowance_ms=Ms(100),
        idle_level=Level.PARTS,
        time_shift_ms=Ms(60_000),
        first_offset=0,
    )


def gop(number: int, msn: int, count: int) -> Gop:
    tracks = tuple(GopTrack(track=name, start_ticks=Ticks(0), duration_ticks=Ticks(25), size=1, chunk_count=4) for name in TRACKS)
    return Gop(
        channel="a",
        period=0,
        life="w",
        gop=GopOrdinal(number),
        msn=Msn(msn),
        first_gop=GopOrdinal(number),
        gop_count=count,
        tracks=tracks,
        first_offset=0,
        last_offset=0,
        durable_unix_ms=UnixMs(0),
    )


def word(action: Action, msn: int, decision: int = 1) -> Packaging:
    return Packaging(channel="a", action=action, from_msn=Msn(msn), level=Level.PARTS, decision=decision, reason=Reason.IDLE_LEVEL)


def report(msn: int, track: str = "v0", *, digest: bytes = b"same") -> SegmentReport:
    return SegmentReport(
        channel="a",
        period=0,
        track=track,
        msn=Msn(msn),
        slice_id="a/all/0",
        epoch=Epoch(1),
        outcome=Outcome.PUBLISHED,
        start_ticks=Ticks(msn),
        duration_ticks=Ticks(1),
        part_count=1,
        chunk_count=1,
        size=1,
        digest=digest,
        durable_unix_ms=UnixMs(0),
    )


def reports(*segments: SegmentReport, packager: str = "p1") -> Reports:
    return Reports(packager_id=packager, life="l", segments=segments)


def whole(*msns: int) -> Entry:
    return entry(reports(*(report(msn, track) for msn in msns for track in TRACKS)))


def given(epoch: int, packager: str, *, cause: int = 0) -> Assignment:
    return Assignment(
        slice_id="a/all/0",
        copy=0,
        epoch=Epoch(epoch),
        packager_id=packager,
        life="l",
        channel="a",
        tracks=TRACKS,
        turn=0,
        turns=1,
        level=Level.PARTS,
        from_msn=Msn(0),
        media_partition=0,
        first_offset=0,
        decision=epoch,
        reason=Reason.PLACED,
        cause_unix_ms=UnixMs(cause),
    )


def parts(packager: str, start: int, durable: int) -> Parts:
    part = Part(
        channel="a",
        period=0,
        track="v0",
        msn=Msn(0),
        index=0,
        segment_start_ticks=Ticks(0),
        segment_ticks=Ticks(100),
        start_ticks=Ticks(start),
        duration_ticks=Ticks(12),
        independent=True,
        size=1,
        digest=b"d",
        durable_unix_ms=UnixMs(durable),
    )
    return Parts(packager_id=packager, life="l", parts=(part,))


LIVE = (entry(period(), topic=topics.CHANNELS), *(entry(gop(n, n, 1), topic=topics.GOPS) for n in range(4)))
ENDED = entry(PeriodEnd(channel="a", period=0, parts_reached=8, next_msn=Msn(4), channel_ended=True), topic=topics.CHANNELS)


def test_segments_between_start_and_the_channel_s_end_are_all_wanted() -> None:
    tally = tallied(*LIVE, ENDED, entry(word(Action.START, 1)), whole(1, 2), entry(reports(report(3))))
    assert tally.lost() == [("a", 3, "a0")]


def test_what_was_not_packaged_is_not_lost() -> None:
    tally = tallied(
        *LIVE,
        ENDED,
        entry(word(Action.START, 1)),
        entry(word(Action.START, 1, 2)),
        entry(word(Action.STOP, 2)),
        entry(word(Action.START, 3)),
        whole(1, 3),
    )
    assert tally.lost() == []


def test_the_open_segment_of_a_channel_that_goes_on_is_not_lost_yet() -> None:
    assert tallied(*LIVE, entry(word(Action.START, 0)), whole(0, 1, 2)).lost() == []


def test_a_void_segment_is_lost_even_if_it_was_published_later() -> None:
    void = Void(
        channel="a", period=0, track="v0", msn=Msn(2), start_ticks=Ticks(2), duration_ticks=Ticks(1), decision=1, reason=Reason.LATE
    )
    assert tallied(*LIVE, ENDED, entry(word(Action.START, 0)), entry(void), whole(0, 1, 2, 3)).lost() == [("a", 2, "v0")]


def test_the_same_object_twice_is_no_conflict_and_other_bytes_are() -> None:
    assert not tallied(entry(reports(report(1))), entry(reports(report(1), packager="p2"))).conflicts
    assert tallied(entry(reports(report(1))), entry(reports(report(1, digest=b"other")))).conflicts == {"a/0/v0/1.m4s"}


def test_failures_are_counted_by_fault_and_publish_nothing() -> None:
    failed = replace(report(1), outcome=Outcome.FAILED, fault=Fault.STORE, error="full")
    tally = tallied(entry(reports(failed)))
    assert (dict(tally.failures), tally.published) == ({"store": 1}, set())


def test_lengths_are_told_as_they_changed() -> None:
    stamps = [(0, 0, 4), (4, 1, 4), (8, 2, 1), (9, 3, 1), (10, 4, 2)]
    tally = tallied(LIVE[0], *(entry(gop(n, msn, count)) for n, msn, count in stamps))
    assert tally.segment_lengths_s("a") == [4.0, 1.0, 2.0]


def test_a_slice_that_passes_on_is_a_move_and_a_restatement_is_none() -> None:
    def assigned(assignment: Assignment, at: int) -> Entry:
        return entry(assignment, topic=topics.ASSIGNMENTS, key="a/all/0/0", at=at)

    tally = tallied(
        assigned(given(1, "p1", cause=90), 100),
        assigned(given(1, "p1", cause=90), 160),
        entry(parts("p1", 0, 150), topic=topics.PARTS, at=155),
        assigned(given(2, "p2"), 300),
        entry(parts("p2", 12, 200), topic=topics.PARTS, at=320),
        entry(parts("p2", 24, 330), topic=topics.PARTS, at=334),
        entry(parts("p1", 24, 330), topic=topics.PARTS, at=340),
    )
    assert [(move.before[0], move.after[0]) for move in tally.moves] == [("p1", "p2")]
    assert tally.assignment_ms == [10]
    assert tally.takeovers_ms(("p1", "l"), killed_unix_ms=UnixMs(200)) == [120]
    assert tally.part_latencies_ms() == ([5, 4], [120])


def test_a_summary_has_every_figure_that_was_promised() -> None:
    found = figures(tallied(*LIVE, ENDED, entry(word(Action.START, 0)), whole(0, 1, 2, 3)), Outside(startup_s=1, seconds=4, usage={}))
    promised = {
        "chunks_in",
        "segments_out",
        "parts_out",
        "lost",
        "conflicting_objects",
        "discontinuities",
        "decisions",
        "reassignments",
        "takeover_ms",
        "part_latency_ms",
        "assignment_latency_ms",
        "raw_latency_ms",
        "forecast",
        "segment_length_s",
        "viewers",
        "cpu_s",
        "rss_mb",
        "startup_s",
    }
    assert promised <= set(found)
    assert (found["chunks_in"], found["segments_out"], found["lost"]) == (32, 8, 0)
    assert {"mae", "mae_last_value"} <= set(found["forecast"])
    assert {"sessions", "stalls"} <= set(found["viewers"])
    assert is_clean(found)
