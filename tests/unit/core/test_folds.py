"""Each fold keeps what decisions need, bounded, and survives a table."""

from typing import Any

import pytest

from schemas.codec import from_plain, to_plain
from schemas.errors import RejectedError
from schemas.records import ChannelDemand, Fault, Level, PackagerState
from schemas.units import UnixMs
from streams.core.folds import FAILURES_MAX, LIVES_MAX
from streams.core.state import FOLDS, State
from tests.builders_control import (
    T0,
    a_demand,
    a_forecast,
    a_gop,
    a_heartbeat,
    a_period,
    a_period_end,
    a_report,
    gops,
    some_forecasts,
)

RECORDS: dict[str, list[Any]] = {
    "channels": [a_period(idle_level=Level.PARTS), a_period_end(ended=False), a_period(period=1)],
    "gops": list(gops(count=9)),
    "demand": [a_demand(channels=[ChannelDemand(channel="news", whole_sessions=2, first_request=True)])],
    "heartbeats": [a_heartbeat(), a_heartbeat(life="l2", state=PackagerState.DRAINING)],
    "forecasts": [some_forecasts(a_forecast(sessions=2.0))],
    "reports": [a_report(msns=range(3)), a_report(msns=[3], fault=Fault.STORE)],
}


def rows(title: str, records: list[Any], *, step_ms: int = 100) -> State:
    state = State(0)
    for offset, record in enumerate(records):
        state.fold(title, record, offset=offset, at=UnixMs(T0 + offset * step_ms))
    return state


@pytest.mark.parametrize("title", RECORDS)
def test_a_row_survives_a_table(title: str) -> None:
    state = rows(title, RECORDS[title])
    restored = State(0)
    for key, row in state.rows(title).items():
        restored.put(title, key, from_plain(FOLDS[title].row, to_plain(row)))
    assert restored.rows(title) == state.rows(title)
    assert restored.next_offset(title) == state.next_offset(title) == len(RECORDS[title])


@pytest.mark.parametrize("title", RECORDS)
def test_a_record_that_a_row_includes_changes_nothing(title: str) -> None:
    state = rows(title, RECORDS[title])
    before = dict(state.rows(title))
    for offset, record in enumerate(RECORDS[title]):
        key = FOLDS[title].key(record)
        assert state.fold(title, record, offset=offset, at=UnixMs(T0 + 10**9)) is before[key]


def test_a_segment_grows_with_its_gops() -> None:
    (first, second, third) = rows("gops", list(gops(count=9))).rows("gops")["news"].segments
    assert (first.msn, first.seen_gops, first.is_whole, first.first_offset, first.tail_offset) == (0, 4, True, 0, 48)
    assert (third.msn, third.seen_gops, third.is_whole, third.size, third.chunk_count) == (2, 1, False, 400_000, 16)
    assert second.durable_unix_ms == T0 + 8_000


def test_a_gop_indexed_twice_counts_once() -> None:
    twice = [a_gop(gop=0, msn=0), a_gop(gop=0, msn=0), a_gop(gop=1, msn=0, first_gop=0)]
    (segment,) = rows("gops", twice).rows("gops")["news"].segments
    assert segment.seen_gops == 2


def test_a_segment_whose_beginning_was_not_read_stays_unknown() -> None:
    assert [s.msn for s in rows("gops", [a_gop(gop=3, msn=0, first_gop=0), a_gop(gop=4, msn=1)]).rows("gops")["news"].segments] == [1]


def test_a_number_left_empty_by_a_period_belongs_to_the_next_one() -> None:
    (segment,) = rows("gops", [a_gop(gop=4, msn=1), a_gop(gop=0, msn=1, period=1)]).rows("gops")["news"].segments
    assert (segment.msn, segment.period) == (1, 1)


def test_segments_reported_in_a_row_are_one_run() -> None:
    (row,) = rows("reports", [a_report(msns=[n]) for n in range(9)]).rows("reports").values()
    assert [(run.first_msn, run.last_msn) for run in row.runs] == [(0, 8)]


def test_rows_are_bounded() -> None:
    failing = rows("reports", [a_report(msns=[n], fault=Fault.OWN) for n in range(300)], step_ms=1)
    assert len(failing.rows("reports")["p1"].failures) == FAILURES_MAX
    lives = rows("heartbeats", [a_heartbeat(life=f"l{n}") for n in range(20)])
    assert [p.heartbeat.life for p in lives.rows("heartbeats")["p1"].pulses] == [f"l{n}" for n in range(20 - LIVES_MAX, 20)]


def test_what_is_older_than_memory_is_forgotten_and_can_be_pruned() -> None:
    state = State(0, 300_000)
    state.fold("heartbeats", a_heartbeat(), offset=0, at=T0)
    state.fold("heartbeats", a_heartbeat("p2"), offset=1, at=UnixMs(T0 + 300_001))
    state.fold("channels", a_period(), offset=0, at=T0)
    assert state.recent("heartbeats", UnixMs(T0 + 300_000))
    assert list(state.recent("heartbeats", UnixMs(T0 + 300_001))) == ["p2"]
    assert state.prune("heartbeats", UnixMs(T0 + 300_001)) == ("p1",)
    assert state.prune("channels", UnixMs(T0 + 300_001)) == ()
    assert state.next_offset("heartbeats") == 2
    assert list(state.rows("channels")) == ["news"]


def test_a_life_that_speaks_again_after_the_memory_is_new_whether_its_row_was_pruned_or_not() -> None:
    kept, pruned, at = State(0, 300_000), State(0, 300_000), UnixMs(T0 + 400_000)
    for state in (kept, pruned):
        state.fold("heartbeats", a_heartbeat(), offset=0, at=T0)
    assert pruned.prune("heartbeats", at) == ("p1",)
    for state in (kept, pruned):
        state.fold("heartbeats", a_heartbeat(number=1), offset=1, at=at)
    assert kept.rows("heartbeats") == pruned.rows("heartbeats")


def test_periods_are_kept_without_the_bytes_of_their_init_segments() -> None:
    row = rows("channels", RECORDS["channels"]).rows("channels")["news"]
    assert [(period.period, period.tracks[0].init) for period in row.periods] == [(0, b""), (1, b"")]
    assert row.channel_end is None


def test_a_channel_whose_gops_are_longer_than_its_target_is_refused() -> None:
    state = State(0)
    with pytest.raises(RejectedError, match="longer than the target"):
        state.fold("channels", a_period(gop_frames=250), offset=0, at=T0)
    assert not state.rows("channels")
    assert state.next_offset("channels") == 1


def test_of_no_segment_in_the_index_the_reports_are_forgotten() -> None:
    state = State(0, 60_000)
    for second in range(90):
        at = UnixMs(T0 + 1_000 * second)
        state.fold("gops", a_gop(gop=second, msn=second, gop_count=1, durable=at), offset=second, at=at)
        state.fold("reports", a_report(msns=[second]), offset=second, at=at)
    for now in range(T0 + 89_000, T0 + 110_000, 1_700):
        (index,) = state.recent("gops", UnixMs(now)).values()
        (told,) = state.recent("reports", UnixMs(now)).values()
        assert index.segments[0].msn >= min(run.first_msn for run in told.runs)
