"""Reading a real log back."""

import json
import time
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer

from infra.kafka import LocalBroker
from infra.rawlatency import measure
from infra.topics import ensure, reach, wanted_topics
from schemas import topics
from schemas.codec import Codec
from schemas.errors import UserError
from schemas.records import ChannelDemand as Seen
from schemas.records import Chunk, Demand, Level, Plan
from schemas.settings import KafkaSettings, Settings
from schemas.topics import Topic
from schemas.units import GopOrdinal, Msn, Ticks, UnixMs
from streams.replay.entries import Entry, from_line, to_line
from streams.replay.positions import Offset, Time
from streams.replay.reader import follow, read, stretches
from streams.replay.tables import write_tables

Write = Callable[..., None]


@pytest.fixture(scope="module")
def replayed(kafka: LocalBroker) -> KafkaSettings:
    section = KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix="replay.", pool_count=2, media_partition_count=2)
    settings = Settings(kafka=section)
    ensure(reach(settings.kafka), wanted_topics(settings), replication_factor=1)
    return settings.kafka


@pytest.fixture(scope="module")
def written(replayed: KafkaSettings) -> KafkaSettings:
    write(replayed, topics.PLANS, "a", plan("a", 1), plan("a", 2), None)
    write(replayed, topics.PLANS, "b", plan("b", 3), partition=1)
    write(replayed, topics.MEDIA, "a", *(chunk("a", index) for index in range(4)))
    write(replayed, topics.DEMAND, "o", Demand(origin_id="o", at_unix_ms=UnixMs(1), channels=(Seen(channel="a"), Seen(channel="b"))))
    write(replayed, topics.REJECTS, "x", b"no record at all")
    return replayed


def test_entries_come_back_in_the_order_of_their_partition_tombstones_included(written: KafkaSettings) -> None:
    entries = [entry for entry in entries_of(written, topics.PLANS) if entry.partition == 0]
    assert [(entry.offset, entry.record) for entry in entries] == [(0, plan("a", 1)), (1, plan("a", 2)), (2, None)]


def test_a_stretch_between_two_offsets_is_read_and_nothing_else(written: KafkaSettings) -> None:
    entries = entries_of(written, topics.MEDIA, begin=Offset(1), end=Offset(3))
    assert [entry.record.index for entry in entries] == [1, 2]


def test_times_before_and_after_everything_read_all_and_nothing(written: KafkaSettings) -> None:
    now = UnixMs(time.time_ns() // 1_000_000)
    assert len(entries_of(written, topics.MEDIA, begin=Time(UnixMs(now - 3_600_000)), end=Time(UnixMs(now + 3_600_000)))) == 4
    assert entries_of(written, topics.MEDIA, begin=Time(UnixMs(now + 3_600_000))) == []


def test_payloads_are_left_out_unless_asked_and_their_size_is_told(written: KafkaSettings) -> None:
    bare, whole = (entries_of(written, topics.MEDIA, payloads=payloads) for payloads in (False, True))
    assert {(entry.record.payload, entry.payload_size) for entry in bare} == {(b"", 5)}
    assert {entry.record.payload for entry in whole} == {b"bytes"}


def test_a_channel_is_picked_out_of_what_speaks_of_several(written: KafkaSettings) -> None:
    entries = entries_of(written, topics.DEMAND, topics.PLANS, channel="b")
    assert [(entry.topic.title, entry.key) for entry in entries] == [("demand", "o"), ("plans", "b")]
    assert [seen.channel for seen in entries[0].record.channels] == ["b"]


def test_what_cannot_be_read_is_told_not_dropped(written: KafkaSettings) -> None:
    entries = entries_of(written, topics.REJECTS)
    assert [(entry.record, entry.error) for entry in entries] == [(None, "unknown schema: the record begins with 6e6f207265636f726420")]


def test_progress_ends_with_all_that_there_was(written: KafkaSettings) -> None:
    told: list[tuple[int, int]] = []
    list(read(written, stretches(written, topics.TOPICS), progress=lambda seen, total: told.append((seen, total))))
    assert told[-1] == (10, 10)


def test_lines_and_tables_hold_the_same_records(written: KafkaSettings, tmp_path: Path) -> None:
    entries = entries_of(written, *topics.TOPICS)
    assert [from_line(to_line(entry)) for entry in entries] == entries
    rows = write_tables(entries, tmp_path, payloads=False)
    assert rows == {"media": 4, "demand": 1, "plans": 4}
    table = pq.read_table(tmp_path / "media.parquet")
    assert table.column("index").to_pylist() == [0, 1, 2, 3]
    assert "payload" not in table.column_names
    assert str(table.schema.field("at").type) == "timestamp[ms, tz=UTC]"
    levels = pq.read_table(tmp_path / "plans.parquet").column("level").to_pylist()
    assert levels == ["parts", "parts", None, "parts"]


def test_following_shows_what_is_written_from_now_on(written: KafkaSettings) -> None:
    following = follow(written, [topics.SCALING])
    assert next(following) is None
    write(written, topics.SCALING, "0", b"news")
    assert next(entry.error for entry in following if entry is not None) == "unknown schema: the record begins with 6e657773"


def test_following_from_the_start_shows_what_is_there_first(written: KafkaSettings) -> None:
    entries = list(takewhile(lambda entry: entry is not None, follow(written, [topics.PLANS, topics.DEMAND], from_start=True)))
    assert len(entries) == 5


def test_a_topic_that_does_not_exist_is_named(kafka: LocalBroker) -> None:
    with pytest.raises(UserError, match=r"topic nowhere\.plans does not exist"):
        stretches(KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix="nowhere."), [topics.PLANS])


def test_the_broker_alone_is_measured(replayed: KafkaSettings) -> None:
    figures = measure(replayed, seconds=1)
    assert figures["records"] == 20
    assert 0 < figures["p50"] <= figures["p99"]


def entries_of(kafka: KafkaSettings, *chosen: Topic, begin: Any = None, end: Any = None, **options: Any) -> list[Entry]:
    return list(read(kafka, stretches(kafka, chosen, begin=begin, end=end), **options))


def write(kafka: KafkaSettings, topic: Topic, key: str, *values: Any, partition: int = 0) -> None:
    producer, codec = Producer({**kafka.client(), "acks": "all"}), Codec()
    for value in values:
        data = value if value is None or isinstance(value, bytes) else codec.encode(value)
        producer.produce(topic.name(kafka), data, key, partition)
    assert producer.flush(30) == 0


def plan(channel: str, number: int) -> Plan:
    return Plan(channel=channel, level=Level.PARTS, gops_per_segment=2, decision=number)


def chunk(channel: str, index: int) -> Chunk:
    return Chunk(
        channel=channel, period=0, track="v0", life="x", gop=GopOrdinal(index), msn=Msn(index), first_gop=GopOrdinal(index), gop_count=1,
        index=index, part=0, ends_part=True, ends_gop=True, independent=True, start_ticks=Ticks(index), duration_ticks=Ticks(1),
        produced_unix_ms=UnixMs(0), payload=b"bytes",
    )  # fmt: skip


def test_lines_are_json(written: KafkaSettings) -> None:
    for entry in entries_of(written, topics.MEDIA, topics.PLANS):
        assert json.loads(to_line(entry))["topic"] in {"media", "plans"}
