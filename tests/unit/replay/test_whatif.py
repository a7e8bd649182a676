"""A recorded stretch measured, and two policies run over it."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from schemas.errors import UserError
from schemas.records import ChannelDemand
from schemas.topics import DECISIONS, DEMAND, HEARTBEATS
from schemas.units import UnixMs
from streams.core.policy import Policy
from streams.replay.crowd import Replayed
from streams.replay.entries import Entry
from streams.replay.positions import Offset, Position, Time
from streams.replay.recorded import Recorded, recorded
from streams.replay.sources import FileSource
from streams.replay.whatif import Comparison, whatif
from streams.simulate.scenario.audience import PARTS, WHOLE
from tests.builders_control import T0, a_demand
from tests.unit.replay.logs import DEATH_S, SECONDS, a_log, written

HOUR_S = 3_600


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> FileSource:
    return FileSource(written(a_log(), tmp_path_factory.mktemp("log") / "log.jsonl"))


@cache
def compared(log: FileSource, *, idle_ms: int, fixed: int | None = None) -> Comparison:
    happened = recorded(log)
    granularity = happened.policy.granularity.model_copy(update={"idle_ms": idle_ms})
    return whatif(happened, replace(happened.policy, granularity=granularity), fixed=fixed)


def test_what_happened_is_measured_from_the_topics(log: FileSource) -> None:
    happened: Recorded = recorded(log)
    was = happened.measured
    assert happened.packagers == was.packagers_most == 2
    assert was.packager_hours == pytest.approx((SECONDS + DEATH_S) / HOUR_S, rel=0.02)
    assert list(happened.kills_ms) == pytest.approx([DEATH_S * 1_000], abs=1_500)
    assert not happened.restarts
    assert [part.channel for part in happened.parts] == ["news", "sport"]
    assert happened.parts[0].bytes_per_s == (100_000.0,) * 4
    assert was.decisions == sum(entry.topic is DECISIONS for entry in a_log()) - 1, "the first tells what was in force"
    assert was.moves.total() >= 1
    assert was.viewer_hours == pytest.approx((5 * SECONDS + (SECONDS - 30)) / HOUR_S, rel=0.05)
    assert was.segments > 0
    assert was.packaged_hours == pytest.approx((SECONDS + SECONDS - 30) / HOUR_S, rel=0.02)


@pytest.mark.parametrize("begin", [Offset(2), Time(UnixMs(T0 + 60_000))])
def test_a_stretch_is_measured_from_its_own_beginning(log: FileSource, begin: Position) -> None:
    happened = recorded(log, begin=begin, end=Time(UnixMs(T0 + 90_000)))
    assert happened.begin_unix_ms >= T0 + 30_000
    assert happened.duration_ms == T0 + 90_000 - happened.begin_unix_ms
    assert happened.measured.packager_hours == pytest.approx(2 * happened.duration_ms / 3_600_000, rel=0.05)
    assert happened.kills_ms == ()


def test_a_stretch_that_reaches_beyond_the_log_is_the_log(log: FileSource) -> None:
    wide = recorded(log, begin=Time(UnixMs(T0 - 3_600_000)), end=Time(UnixMs(T0 + 3_600_000)))
    assert wide == recorded(log)


def test_two_runs_of_one_comparison_are_equal(log: FileSource) -> None:
    once, again = (whatif(recorded(log), Policy()) for _ in range(2))
    assert once.before == again.before
    assert once.after == again.after


def test_the_same_policy_makes_no_difference(log: FileSource) -> None:
    same = compared(log, idle_ms=30_000)
    assert {row.difference for row in same.rows} == {"="}


def test_viewers_and_their_joins_are_those_recorded(log: FileSource) -> None:
    same = compared(log, idle_ms=30_000)
    assert sum(viewers.viewer_hours for viewers in same.before.viewers.values()) == pytest.approx(
        same.recorded.measured.viewer_hours, rel=0.05
    )


def test_another_policy_comes_to_other_figures_and_says_what_differs(log: FileSource) -> None:
    granularity = Policy().granularity.model_copy(update={"wait_price_cores": 1e-6})
    other = whatif(recorded(log), replace(Policy(), granularity=granularity))
    assert other.after.segments < other.before.segments, "nobody's waiting counts: segments stay long"
    told = other.table("lazy.toml")
    assert "granularity.wait_price_cores: 0.02 -> 1e-06" in told
    assert "lazy.toml, simulated" in told
    assert "Simulated: packagers, their queues" in told
    assert all(row.name in told for row in other.rows)


def test_a_pool_may_be_held_in_both(log: FileSource) -> None:
    held = compared(log, idle_ms=30_000, fixed=3)
    assert held.before.packagers_most == held.after.packagers_most == 3
    assert "3 packagers all the time" in held.table("x")


@pytest.mark.parametrize(
    ("pool", "begin", "end", "told"),
    [
        (7, None, None, "pool 7 has nothing in this stretch"),
        (0, Time(UnixMs(T0 + 10**9)), None, "has nothing in this stretch"),
        (0, Offset(999), None, "no decision at offset 999"),
        (0, Time(UnixMs(T0 + 5_000)), Time(UnixMs(T0 + 5_500)), "shorter than a second"),
    ],
)
def test_a_stretch_with_nothing_to_simulate_is_refused(
    log: FileSource, pool: int, begin: Position | None, end: Position | None, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        recorded(log, pool=pool, begin=begin, end=end)


def test_a_log_without_decisions_or_channels_is_refused(tmp_path: Path) -> None:
    beats = [entry for entry in a_log() if entry.topic is HEARTBEATS]
    with pytest.raises(UserError, match="no decision of pool 0"):
        recorded(FileSource(written(beats, tmp_path / "a.jsonl")))
    decided = [entry for entry in a_log() if entry.topic in {HEARTBEATS, DECISIONS}]
    with pytest.raises(UserError, match="no channel of pool 0 was live"):
        recorded(FileSource(written(decided, tmp_path / "b.jsonl")))


def test_sessions_of_origins_add_up_and_those_of_one_that_fell_silent_fade() -> None:
    def entry(second: int, origin: str, *, whole: int = 0, parts: int = 0, joins: int = 0) -> Entry:
        record = a_demand(origin, [ChannelDemand(channel="news", whole_sessions=whole, part_sessions=parts, joins=joins)])
        return Entry(topic=DEMAND, partition=0, offset=second, at_unix_ms=UnixMs(T0 + second * 1_000), key=origin, record=record)

    told = [entry(1, "o1", whole=2, joins=2), entry(1, "o2", parts=1, joins=1)]
    told += [entry(second, "o2", parts=1) for second in range(2, 9)]
    crowd = Replayed(told, ["chess", "news"], begin_unix_ms=T0, duration_ms=10_000, step_ms=1_000)
    spans = [crowd.advance(second * 1_000.0, second * 1_000.0 + 1_000) for second in range(8)]
    assert [int(span.sessions[1, WHOLE]) for span in spans] == [2, 2, 2, 2, 0, 0, 0, 0]
    assert [int(span.sessions[1, PARTS]) for span in spans] == [1] * 8
    assert sum(int(span.joins.sum()) for span in spans) == 3
    assert int(spans[0].sessions[0].sum()) == 0
