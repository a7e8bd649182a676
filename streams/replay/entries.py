"""A record read back with its place in the log, as an object and as a line of JSON; what of it speaks of one channel."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from schemas.codec import RECORDS, from_json, to_json
from schemas.records import Chunk
from schemas.topics import TOPICS, Topic
from schemas.units import UnixMs

TYPES = {record.__name__: record for record in RECORDS}
TITLES = {topic.title: topic for topic in TOPICS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """
    One record of the log.

    Attributes:
        topic: Its topic.
        partition: Its partition.
        offset: Its offset.
        at_unix_ms: When the broker appended it.
        key: Its key.
        record: What it says; None when it is a tombstone or could not be read.
        payload_size: Bytes of a chunk's payload, also where the payload itself was left out.
        error: Why it could not be read.
    """

    topic: Topic
    partition: int
    offset: int
    at_unix_ms: UnixMs
    key: str
    record: Any
    payload_size: int = 0
    error: str = ""


def to_line(entry: Entry) -> str:
    """
    An entry as one line of JSON.

    >>> from schemas.records import MarkKind, MediaMark
    >>> mark = MediaMark(channel="a", life="x", kind=MarkKind.PERIOD_START, period=0)
    >>> entry = Entry(topic=TITLES["media"], partition=0, offset=7, at_unix_ms=UnixMs(1), key="a", record=mark)
    >>> from_line(to_line(entry)) == entry
    True
    """
    plain: dict[str, Any] = {
        "topic": entry.topic.title,
        "partition": entry.partition,
        "offset": entry.offset,
        "at_unix_ms": entry.at_unix_ms,
        "key": entry.key,
        "type": type(entry.record).__name__ if entry.record is not None else None,
    }
    if entry.error:
        plain["error"] = entry.error
    if isinstance(entry.record, Chunk):
        plain["payload_size"] = entry.payload_size
    head = json.dumps(plain, separators=(",", ":"))
    body = to_json(entry.record).decode() if entry.record is not None else "null"
    return f'{head[:-1]},"record":{body}}}'


def from_line(line: str) -> Entry:
    """The entry of a line made by `to_line`."""
    plain = json.loads(line)
    kind = TYPES[plain["type"]] if plain["type"] else None
    return Entry(
        topic=TITLES[plain["topic"]],
        partition=plain["partition"],
        offset=plain["offset"],
        at_unix_ms=UnixMs(plain["at_unix_ms"]),
        key=plain["key"],
        record=from_json(kind, plain["record"]) if kind else None,
        payload_size=plain.get("payload_size", 0),
        error=plain.get("error", ""),
    )


def narrow(record: Any, channel: str) -> Any:
    """
    What of a record speaks of a channel: the record itself if it is the channel's, else a copy with only the channel's items, else None.

    >>> from schemas.records import ChannelDemand, Demand
    >>> demand = Demand(origin_id="o", at_unix_ms=UnixMs(0), channels=(ChannelDemand(channel="a"), ChannelDemand(channel="b")))
    >>> [item.channel for item in narrow(demand, "b").channels]
    ['b']
    >>> narrow(demand, "c") is None
    True
    """
    if hasattr(record, "channel"):
        return record if record.channel == channel else None
    kept: dict[str, tuple[Any, ...]] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if isinstance(value, tuple):
            kept[field.name] = tuple(item for item in value if _owner(item) in {channel, None})
    if not any(_owner(item) == channel for items in kept.values() for item in items):
        return None
    return dataclasses.replace(record, **kept)


def _owner(item: Any) -> str | None:
    """Channel that an item of a record belongs to; None when it belongs to none."""
    if hasattr(item, "channel"):
        return str(item.channel)
    slice_id = item if isinstance(item, str) else getattr(item, "slice_id", None)
    return slice_id.split("/")[0] if slice_id else None
