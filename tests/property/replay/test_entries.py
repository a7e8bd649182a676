"""Any record survives the way out of the log and back."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import from_plain, to_plain
from schemas.records import Chunk
from schemas.topics import TOPICS, Topic
from schemas.units import UnixMs
from streams.replay.entries import Entry, from_line, narrow, to_line
from streams.replay.tables import schema_of, write_tables
from tests.strategies import IDS, of_record

CASES = [(topic, record) for topic in TOPICS for record in topic.records]
EXAMPLES = 15  # of each record; all of them together are many
NAMES = [f"{topic.title}-{record.__name__}" for topic, record in CASES]


def entry_of(topic: Topic, record: Any) -> Entry:
    size = len(record.payload) if isinstance(record, Chunk) else 0
    return Entry(topic=topic, partition=3, offset=7, at_unix_ms=UnixMs(1_700_000_000_123), key="k/é", record=record, payload_size=size)


@pytest.mark.parametrize(("topic", "kind"), CASES, ids=NAMES)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_a_line_of_json_holds_the_whole_record(topic: Topic, kind: type[Any], data: st.DataObject) -> None:
    entry = entry_of(topic, data.draw(of_record(kind)))
    line = to_line(entry)
    assert "\n" not in line
    assert from_line(line) == entry


@pytest.mark.parametrize(("topic", "kind"), CASES, ids=NAMES)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_a_row_of_a_table_holds_the_whole_record(topic: Topic, kind: type[Any], data: st.DataObject) -> None:
    record = data.draw(of_record(kind))
    schema = schema_of(topic, payloads=True)
    row = pa.Table.from_pylist([to_plain(record)], schema=schema).to_pylist()[0]
    assert from_plain(kind, {name: value for name, value in row.items() if name in kind.__dataclass_fields__}) == record


@given(record=st.sampled_from(CASES).flatmap(lambda case: of_record(case[1])), channel=IDS)
def test_what_speaks_of_a_channel_speaks_of_no_other(record: Any, channel: str) -> None:
    kept = narrow(record, channel)
    if kept is None:
        return
    assert type(kept) is type(record)
    assert narrow(kept, channel) == kept


def test_a_table_per_topic_is_written_with_tombstones_and_without_what_could_not_be_read(tmp_path: Path) -> None:
    plans = next(topic for topic in TOPICS if topic.title == "plans")
    tombstone, broken = (
        entry_of(plans, None),
        Entry(topic=plans, partition=0, offset=8, at_unix_ms=UnixMs(0), key="k", record=None, error="unknown schema"),
    )
    assert write_tables([tombstone, broken], tmp_path, payloads=False) == {"plans": 1}
    assert pq.read_table(tmp_path / "plans.parquet").column("offset").to_pylist() == [7]
