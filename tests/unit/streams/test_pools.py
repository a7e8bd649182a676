"""What a worker knows of a pool, in memory and in the tables; the tables are dictionaries."""

from dataclasses import replace
from typing import Any

import pytest

from schemas import topics
from schemas.records import Heartbeat, Load, PackagerState
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.units import Ms, UnixMs
from streams.core.state import State
from streams.metrics import Metrics
from streams.pools import Pools
from streams.rows import Rows, Tables
from streams.shell import Arrival
from tests.builders import make_period

START = 1_700_000_000_000
BEAT = Heartbeat(packager_id="p1", life="l", state=PackagerState.READY, number=0, interval_ms=Ms(500), capacity=Load(), use=Load())
SETTINGS = Settings()
MEMORY_MS, RESTATE_MS = SETTINGS.planner.memory_ms, SETTINGS.planner.restate_ms


class FakeRows(Rows):
    """A table in memory."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.held: dict[tuple[int, str], Any] = {}

    def put(self, pool: int, key: str, row: Any) -> None:
        self.held[pool, key] = row

    def remove(self, pool: int, key: str, offset: int) -> None:
        del self.held[pool, key]

    def of(self, pool: int) -> Any:
        return [(key, row) for (number, key), row in self.held.items() if number == pool]

    def drop(self, pool: int) -> None:
        return

    def forget(self, pool: int) -> None:
        self.held = {place: row for place, row in self.held.items() if place[0] != pool}


class FakeTables(Tables):
    """Tables in memory."""

    def __init__(self) -> None:
        self.by_title = {topic.title: FakeRows(topic.title) for topic in topics.INPUTS}

    def keys(self, topic: Topic) -> list[str]:
        return [key for key, _ in self.by_title[topic.title].of(0)]


@pytest.fixture
def tables() -> FakeTables:
    return FakeTables()


def fold(pools: Pools, topic: Topic, record: Any, *, offset: int, at_ms: int) -> None:
    arrival = Arrival(topic=topic, pool=0, offset=offset, at_unix_ms=UnixMs(START + at_ms), cause="", record=record)
    pools.fold(arrival, urges=lambda record, row: False)


def test_what_no_decision_can_read_any_more_leaves_memory_and_tables(tables: FakeTables) -> None:
    pools = Pools(SETTINGS, tables, Metrics())
    fold(pools, topics.CHANNELS, make_period("news"), offset=0, at_ms=0)
    for number in range(5):
        fold(pools, topics.HEARTBEATS, replace(BEAT, packager_id=f"p{number}"), offset=number, at_ms=number)
    for offset, at_ms in ((5, MEMORY_MS), (6, MEMORY_MS + RESTATE_MS)):
        fold(pools, topics.HEARTBEATS, replace(BEAT, packager_id="p9"), offset=offset, at_ms=at_ms)
    assert list(pools.of(0).state.rows("heartbeats")) == tables.keys(topics.HEARTBEATS) == ["p9"]
    assert tables.keys(topics.CHANNELS) == ["news"]


def test_rows_are_looked_through_once_per_restatement(tables: FakeTables) -> None:
    pools = Pools(SETTINGS, tables, Metrics())
    fold(pools, topics.HEARTBEATS, BEAT, offset=0, at_ms=0)
    fold(pools, topics.HEARTBEATS, replace(BEAT, packager_id="p2"), offset=1, at_ms=MEMORY_MS)
    fold(pools, topics.HEARTBEATS, replace(BEAT, packager_id="p2"), offset=2, at_ms=MEMORY_MS + RESTATE_MS - 1)
    assert tables.keys(topics.HEARTBEATS) == ["p1", "p2"]
    fold(pools, topics.HEARTBEATS, replace(BEAT, packager_id="p2"), offset=3, at_ms=MEMORY_MS + RESTATE_MS)
    assert tables.keys(topics.HEARTBEATS) == ["p2"]


def test_a_restart_goes_on_at_the_offsets_it_had_reached(tables: FakeTables) -> None:
    pools = Pools(SETTINGS, tables, Metrics())
    for number in range(3):
        fold(pools, topics.HEARTBEATS, replace(BEAT, packager_id=f"p{number}"), offset=number, at_ms=number * 2 * MEMORY_MS)
    assert tables.keys(topics.HEARTBEATS) == ["p2"]
    assert Pools(SETTINGS, tables, Metrics()).of(0).state.inputs() == pools.of(0).state.inputs()


def test_after_a_recovery_what_another_worker_folded_meanwhile_is_read_from_the_tables_and_not_remembered(tables: FakeTables) -> None:
    ours, theirs = Pools(SETTINGS, tables, Metrics()), Pools(SETTINGS, tables, Metrics())
    fold(ours, topics.HEARTBEATS, BEAT, offset=0, at_ms=0)
    fold(theirs, topics.HEARTBEATS, replace(BEAT, packager_id="p2"), offset=1, at_ms=1)
    ours.recovered({0})
    fold(ours, topics.HEARTBEATS, replace(BEAT, packager_id="p3"), offset=2, at_ms=2)
    assert set(ours.of(0).state.rows("heartbeats")) == {"p1", "p2", "p3"}


def test_after_a_recovery_nothing_is_held_of_pools_that_are_others(tables: FakeTables) -> None:
    pools = Pools(SETTINGS, tables, Metrics())
    fold(pools, topics.HEARTBEATS, BEAT, offset=0, at_ms=0)
    pools.recovered({1})
    assert tables.keys(topics.HEARTBEATS) == []
    assert pools.of(0).is_empty


def test_of_rows_written_one_after_the_other_those_that_were_not_reached_are_made_up_for_after_a_kill(tables: FakeTables) -> None:
    killed = Pools(SETTINGS, tables, Metrics())
    records = [replace(BEAT, packager_id=f"p{number % 2}", number=number) for number in range(4)]
    for offset, record in enumerate(records):
        fold(killed, topics.HEARTBEATS, record, offset=offset, at_ms=offset)
    whole = dict(killed.of(0).state.rows("heartbeats"))
    tables.by_title["heartbeats"].put(0, "p0", State(0).fold("heartbeats", records[0], offset=0, at=UnixMs(START)))
    successor = Pools(SETTINGS, tables, Metrics())
    for offset, record in enumerate(records):
        fold(successor, topics.HEARTBEATS, record, offset=offset, at_ms=offset)
    assert dict(successor.of(0).state.rows("heartbeats")) == whole
