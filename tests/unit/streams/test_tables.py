"""Rows of the tables as bytes and back, and the broker's clock."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from schemas import topics
from schemas.records import Forecasts, Heartbeat, Load, PackagerState, PeriodEnd
from schemas.settings import ControlSettings, KafkaSettings, Settings
from schemas.topics import Topic
from schemas.units import Ms, Msn, UnixMs
from streams.app import new_app
from streams.core.rows import HeartbeatRow
from streams.core.state import FOLDS, State
from streams.models.pool import PoolForecaster
from streams.pools import BrokerClock
from streams.rows import Rows
from streams.tables import NAMES, changelog_topics, decode_row, encode_row
from tests.builders import make_period

BEAT = Heartbeat(packager_id="p1", life="l", state=PackagerState.READY, number=0, interval_ms=Ms(500), capacity=Load(), use=Load())
RECORDS: dict[Topic, list[Any]] = {
    topics.CHANNELS: [make_period(), PeriodEnd(channel="news", period=0, parts_reached=3, next_msn=Msn(2), channel_ended=True)],
    topics.HEARTBEATS: [BEAT, replace(BEAT, life="m")],
    topics.FORECASTS: [Forecasts(pool=0, at_unix_ms=UnixMs(1), channels=())],
}


def test_a_row_is_equal_after_it_was_kept_in_a_table() -> None:
    state = State(0)
    for topic, records in RECORDS.items():
        for offset, record in enumerate(records):
            row = state.fold(topic.title, record, offset=offset, at=UnixMs(1_000 + offset))
            assert decode_row(FOLDS[topic.title].row, encode_row(row)) == row


def test_the_forecasts_of_a_big_pool_take_thirty_bytes_a_horizon_in_their_table() -> None:
    pool = PoolForecaster()
    for second in range(30):
        pool.learn(UnixMs(second * 1_000), {f"channel-{n:03d}": (7.3 * n + (second * n) % 11, (second * n) % 7) for n in range(100)})
    forecasts = Forecasts(pool=0, at_unix_ms=UnixMs(1), channels=pool.forecast())
    row = State(0).fold(topics.FORECASTS.title, forecasts, offset=0, at=UnixMs(1_000))
    kept = encode_row(row)
    assert decode_row(FOLDS[topics.FORECASTS.title].row, kept) == row
    assert len(kept) < 30 * 5 * 100


def test_every_input_has_a_table_and_every_table_a_changelog_with_the_partitions_of_the_pools() -> None:
    kafka = KafkaSettings(pool_count=3)
    assert set(NAMES) == {topic.title for topic in topics.INPUTS}
    specs = changelog_topics(kafka)
    assert {spec.name for spec in specs} == {f"finecut.control-{name}-changelog" for name in NAMES.values()}
    assert {(spec.partition_count, spec.configuration["cleanup.policy"]) for spec in specs} == {(3, "compact")}


def test_the_brokers_clock_never_goes_back() -> None:
    seconds = 100.0
    clock = BrokerClock(lambda: seconds)
    clock.appended(UnixMs(50_000))
    assert clock.now() == 50_000
    clock.appended(UnixMs(40_000))
    assert clock.now() == 50_000


def test_records_that_waited_do_not_hold_the_clock_back() -> None:
    seconds = 100.0
    clock = BrokerClock(lambda: seconds)
    clock.observe(UnixMs(50_000))
    seconds = 101.0
    clock.observe(UnixMs(20_000))
    assert clock.now() == 51_000


@dataclass
class Change:
    """A record of a changelog, as Faust gives it."""

    key: bytes
    value: bytes | None

    @property
    def message(self) -> Any:
        return SimpleNamespace(key=self.key, value=self.value, partition=0, offset=0, headers=())


async def test_a_row_that_a_worker_wrote_late_does_not_take_the_place_of_one_that_includes_more(tmp_path: Path) -> None:
    app = new_app(Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"), control=ControlSettings(data_dir=tmp_path)))
    rows = Rows(app, topics.HEARTBEATS, KafkaSettings())
    state, table = State(0), rows._table
    old, new, newest = (
        encode_row(state.fold(topics.HEARTBEATS.title, replace(BEAT, number=n), offset=99 + n, at=UnixMs(1_000 + n))) for n in range(3)
    )
    table.apply_changelog_batch([Change(b"0/p1", new), Change(b"0/p1", old), Change(b"0/p2", old)])
    table.apply_changelog_batch([Change(b"0/p1", old), Change(b"0/p2", newest)])
    assert dict(rows.of(0)) == {"p1": decode_row(HeartbeatRow, new), "p2": decode_row(HeartbeatRow, newest)}
    table.apply_changelog_batch([Change(b"0/p2", None)])
    assert set(dict(rows.of(0))) == {"p1"}
